"""Load pretrained encoders and their tokenizers; say plainly why one cannot be used."""

import importlib
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from stepsynth.errors import ConfigError


class UnusableModelError(ConfigError, ValueError):
    """A pretrained model is not there, or cannot be read."""


def need(module: str, extra: str) -> None:
    """Make sure that a library of an extra is installed.

    Raises:
        ConfigError: It is not; the hint is the install command.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"the library {module} is not installed ({error})",
            hint=f"pip install 'stepsynth[{extra}]'",
        ) from error


@contextmanager
def loading(name: str) -> Generator[None]:
    """Turn what goes wrong while a pretrained model is loaded into one line.

    Raises:
        UnusableModelError: The model is not there, or cannot be read.
    """
    from safetensors import SafetensorError

    try:
        with quiet():
            yield
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UnusableModelError(
            f"student.model: {name!r} cannot be loaded: {reason[:300]}",
            hint="give a name on the Hugging Face hub (is the network there? HF_TOKEN set for a "
            "private one?) or a folder with config.json, the tokenizer and safetensors",
        ) from error


@contextmanager
def quiet() -> Generator[None]:
    """Keep transformers' own notices and progress bars off stderr."""
    from transformers.utils import logging

    hub = importlib.import_module("huggingface_hub.utils.logging")
    level, hub_level = logging.get_verbosity(), hub.get_verbosity()
    has_bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    hub.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if has_bars:
            logging.enable_progress_bar()


def load_tokenizer(name: str) -> Any:
    """Return a tokenizer that knows the place of each token in its text.

    Raises:
        ConfigError: There is none, or only a slow one.
    """
    need("transformers", "transformers")
    need("torch", "transformers")
    from transformers import AutoTokenizer

    with loading(name):
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise ConfigError(
            f"student.model: the tokenizer of {name!r} does not tell where its tokens stand",
            hint="take a model with a tokenizer.json",
        )
    return tokenizer


def check_encoder(name: str) -> None:
    """Make sure that a model is an encoder, without reading its weights.

    Raises:
        ConfigError: It is not there, or it is a generator or an encoder-decoder.
    """
    need("transformers", "transformers")
    need("torch", "transformers")
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    with loading(name):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    is_encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if not is_encoder or getattr(config, "is_encoder_decoder", False):
        raise ConfigError(
            f"student.model: {name!r} is a {config.model_type!r} model, which is no encoder",
            hint="take one like distilbert-base-uncased, microsoft/deberta-v3-small or "
            "answerdotai/ModernBERT-base",
        )


def most_tokens(model: Any) -> int:
    """Return the most tokens of a row that a model takes."""
    import torch

    positions = int(getattr(model.config, "max_position_embeddings", 0) or 512)
    for module in model.modules():
        is_table = isinstance(module, torch.nn.Embedding) and module.num_embeddings == positions
        if is_table and module.padding_idx is not None:
            # RoBERTa and its kin count positions from the padding token's id on.
            return positions - module.padding_idx - 1
    return positions


def load_model(name: str, label_names: tuple[str, ...]) -> Any:
    """Return a pretrained encoder with a new head: for labels, or for answers if there are none.

    Raises:
        ConfigError: It cannot be loaded.
    """
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

    options: dict[str, Any] = {
        "trust_remote_code": False,
        "use_safetensors": True,
        "dtype": torch.float32,
    }
    with loading(name):
        if not label_names:
            return AutoModelForQuestionAnswering.from_pretrained(name, **options)
        return AutoModelForSequenceClassification.from_pretrained(
            name,
            num_labels=len(label_names),
            id2label=dict(enumerate(label_names)),
            label2id={label: i for i, label in enumerate(label_names)},
            ignore_mismatched_sizes=True,  # a head that is there already has other labels
            **options,
        )
