"""Loading of pretrained models, with plain errors for those that cannot be used.

Students, retrievers and studies all need this, and none of them may import another.
"""

import hashlib
import importlib
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from stepsynth.errors import ConfigError

HUB_S = 5.0
"""Seconds to wait for an answer of the Hugging Face hub."""
MOST_DIGESTED = 1 << 28
"""Bytes of a model's file above which samples stand for it."""
SAMPLES, SAMPLE = 256, 1 << 20
"""Number of samples, evenly spaced from the first byte to the last, and bytes of each."""


class UnusableModelError(ConfigError, ValueError):
    """A pretrained model is missing, or cannot be read."""


def need(module: str, extra: str, where: str = "") -> Any:
    """Return a library of an extra.

    Args:
        module: Its name.
        extra: The extra that installs it.
        where: What needs it, if that has to be said.

    Raises:
        ConfigError: It is not installed; the hint is the install command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{where}{where and ': '}the library {module} is not installed ({error})",
            hint=f"pip install 'stepsynth[{extra}]'",
        ) from error


@contextmanager
def loading(name: str, where: str = "student.model") -> Generator[None]:
    """Turn errors of loading a pretrained model into one line.

    Args:
        name: The model, as the user gave it.
        where: The key of the task file that names it.

    Raises:
        UnusableModelError: The model is missing, or cannot be read.
    """
    from safetensors import SafetensorError

    try:
        with quiet():
            yield
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UnusableModelError(
            f"{where}: {name!r} cannot be loaded: {reason[:300]}",
            hint="give a name on the Hugging Face hub (is the network there? HF_TOKEN set for a "
            "private one?) or a folder with config.json, the tokenizer and safetensors",
        ) from error


def is_on_hub(name: str) -> bool:
    """Say whether the hub can be asked for a model; never for a folder."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if Path(name).is_dir():
        return False
    try:
        HfApi().model_info(name, timeout=HUB_S)
    except HfHubHTTPError:
        return True  # it answered: transformers explains best what is wrong
    except Exception:  # network errors differ by version
        return False
    return True


def hub_options(name: str) -> dict[str, Any]:
    """Return what `from_pretrained` gets for any model: no code of its own, no hub that is away.

    Of such a hub transformers asks again and again for half a minute, even for a cached model.
    """
    return {"trust_remote_code": False, "local_files_only": not is_on_hub(name)}


def is_here(name: str) -> bool:
    """Say whether a model is a folder, or its weights were downloaded; no network is asked."""
    if Path(name).is_dir():
        return True
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return False
    try:
        weights = try_to_load_from_cache(name, "model.safetensors")
    except HFValidationError:
        return False
    return isinstance(weights, str)


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
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if has_bars:
            logging.enable_progress_bar()


def digest_folder(name: str | None) -> str | None:
    """Return a digest of the files of a local model; None for a hub name or no model.

    What is kept of a model must be kept by it: the files may be others later. Of a file that would
    take seconds to read, samples are read.
    """
    if not name or not Path(name).is_dir():
        return None
    files = sorted(path for path in Path(name).rglob("*") if path.is_file())
    stats = [(file, file.stat()) for file in files]
    return _digest_files(name, tuple((file, s.st_size, s.st_mtime_ns) for file, s in stats))


@lru_cache(maxsize=64)
def _digest_files(folder: str, files: tuple[tuple[Path, int, int], ...]) -> str:
    found = hashlib.sha256()
    for file, size, _ in files:
        found.update(file.relative_to(folder).as_posix().encode())
        found.update(_digest_file(file, size))
    return found.hexdigest()[:32]


def _digest_file(file: Path, size: int) -> bytes:
    with file.open("rb") as opened:
        if size <= MOST_DIGESTED:
            return hashlib.file_digest(opened, "sha256").digest()
        found = hashlib.sha256(str(size).encode())
        step = (size - SAMPLE) // (SAMPLES - 1)  # the last one ends where the file does
        for at in (*range(0, step * (SAMPLES - 1), step), size - SAMPLE):
            opened.seek(at)
            found.update(opened.read(SAMPLE))
    return found.digest()


def load_sentence_encoder(
    name: str, *, where: str, extra: str, is_shared: bool = True, files: str | None = None
) -> Any:
    """Return a sentence-transformers model; the last two are cached.

    Args:
        name: A name on the Hugging Face hub, or a folder.
        where: The key of the task file that names it, for messages.
        extra: Our extra that installs the library.
        is_shared: Others may get the same object; if not, it may be changed.
        files: The `digest_folder` that is wanted; default: what it is now.

    Raises:
        ConfigError: The library or the model is missing.
    """
    need("sentence_transformers", extra)
    load = _sentence_encoder if is_shared else _sentence_encoder.__wrapped__
    with loading(name, where):
        encoder = load(name, files or digest_folder(name))
    if not encoder.tokenizer:
        raise ConfigError(f"{where}: {name} has no tokenizer")
    ensure_padding(encoder.tokenizer, name, where)
    return encoder


def ensure_padding(tokenizer: Any, name: str, where: str = "student.model") -> None:
    """Give a tokenizer without a padding token one of its other tokens.

    Padding is masked, so no model sees which it is.

    Raises:
        ConfigError: It has no suitable token.
    """
    if getattr(tokenizer, "pad_token", "") is not None:  # an odd tokenizer pads in its own way
        return
    others = (tokenizer.sep_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.cls_token)
    found = next(filter(None, others), None)
    if found is None:
        raise ConfigError(
            f"{where}: the tokenizer of {name!r} has no token for padding",
            hint='set "pad_token" in its tokenizer_config.json, or take another model',
        )
    tokenizer.pad_token = found


@lru_cache(maxsize=2)
def _sentence_encoder(name: str, _files: str | None) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(name, model_kwargs={"use_safetensors": True}, **hub_options(name))
