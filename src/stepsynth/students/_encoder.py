"""Loading of pretrained encoders and their tokenizers, with plain errors for unusable ones."""

from typing import Any

from stepsynth._util.pretrained import ensure_padding, hub_options, loading, need
from stepsynth._util.pretrained import quiet as quiet
from stepsynth.errors import ConfigError


def load_tokenizer(name: str) -> Any:
    """Return a tokenizer that knows the position of each token in its text.

    Raises:
        ConfigError: There is none, or only a slow one.
    """
    need("transformers", "transformers")
    need("torch", "transformers")
    from transformers import AutoTokenizer

    with loading(name):
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_options(name))
    if not tokenizer.is_fast:
        raise ConfigError(
            f"student.model: the tokenizer of {name!r} does not tell where its tokens stand",
            hint="take a model with a tokenizer.json",
        )
    ensure_padding(tokenizer, name)
    return tokenizer


def check_encoder(name: str) -> None:
    """Check that a model is an encoder, without reading its weights.

    Raises:
        ConfigError: It is missing, or it is a generator or an encoder-decoder.
    """
    need("transformers", "transformers")
    need("torch", "transformers")
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    with loading(name):
        config = AutoConfig.from_pretrained(name, **hub_options(name))
    is_encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if not is_encoder or getattr(config, "is_encoder_decoder", False):
        raise ConfigError(
            f"student.model: {name!r} is a {config.model_type!r} model, which is no encoder",
            hint="take one like distilbert-base-uncased, microsoft/deberta-v3-small or "
            "answerdotai/ModernBERT-base",
        )


def most_tokens(model: Any) -> int:
    """Return the most tokens per row that a model accepts."""
    import torch

    positions = int(getattr(model.config, "max_position_embeddings", 0) or 512)
    for module in model.modules():
        is_table = isinstance(module, torch.nn.Embedding) and module.num_embeddings == positions
        if is_table and module.padding_idx is not None:
            # RoBERTa and its kin count positions from the padding token's id on.
            return positions - module.padding_idx - 1
    return positions


def load_model(name: str, label_names: tuple[str, ...], *, has_sets: bool = False) -> Any:
    """Return a pretrained encoder with a new head: for labels, or for answers if there are none.

    Args:
        name: A name on the hub, or a folder.
        label_names: The order of the head's outputs.
        has_sets: A row has a set of the labels, so that each output has a sigmoid.

    Raises:
        ConfigError: It cannot be loaded.
    """
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

    options = hub_options(name) | {"use_safetensors": True, "dtype": torch.float32}
    with loading(name):
        if not label_names:
            return AutoModelForQuestionAnswering.from_pretrained(name, **options)
        return AutoModelForSequenceClassification.from_pretrained(
            name,
            num_labels=len(label_names),
            problem_type=f"{'multi' if has_sets else 'single'}_label_classification",
            id2label=dict(enumerate(label_names)),
            label2id={label: i for i, label in enumerate(label_names)},
            ignore_mismatched_sizes=True,  # an existing head has other labels
            **options,
        )
