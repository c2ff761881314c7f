"""Embeddings kept on disk across runs, by encoder and text.

A file holds digests of texts, never a text. It only saves time: whatever is wrong with it, texts
are embedded again.
"""

import hashlib
import os
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepsynth._util.hashing import digest

Floats = npt.NDArray[np.float32]
MOST_KEPT = 2_000_000
"""Embeddings kept of an encoder, about 4.2 GB at 384 dimensions; then the file is begun anew."""

WAIT_S = 5.0
"""Seconds to wait for another process that writes."""

# WITHOUT ROWID would put most of each vector on a page of its own, and fill twice the disk.
_SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB)"
_AT_ONCE = 500
_HARMLESS = (OSError, sqlite3.Error, ValueError)
"""A full disk, a read-only home, a lock or damage: it costs time, not the run."""


def cache_folder() -> Path | None:
    """Return the folder of what may be deleted at any time.

    It is $STEPSYNTH_CACHE, else `stepsynth` in the user's cache folder; None if the former is
    empty, or the user has no home.
    """
    given = os.environ.get("STEPSYNTH_CACHE")
    if given is not None:
        return Path(given) if given else None
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepsynth"
    except RuntimeError:  # in a container, say, whose user has no name
        return None


def fingerprint(encoder: Any) -> str:
    """Return a digest of a sentence encoder: modules, tokenizer, weights, prompts and size."""
    import torch

    weights = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        weights.update(name.encode())
        weights.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    vocabulary = sorted(encoder.tokenizer.get_vocab().items())
    about = [str(encoder), encoder.max_seq_length, vocabulary]
    # What is put before a text, and how much of its vector is kept, is set beside the modules.
    given = [encoder.prompts, encoder.default_prompt_name, encoder.truncate_dim]
    return digest([*about, *given, weights.hexdigest()])


class KeptVectors:
    """The embeddings of one encoder on disk.

    Args:
        encoder: A sentence-transformers model.
    """

    def __init__(self, encoder: Any) -> None:
        folder = cache_folder()
        self._path = folder and folder / "embeddings" / f"{fingerprint(encoder)}.sqlite"

    def read(self, texts: Sequence[str]) -> dict[str, Floats]:
        """Return the embeddings that are kept of these texts."""
        found: dict[str, Floats] = {}
        if self._path is None or not self._path.exists():
            return found
        keys = {_key(text): text for text in texts}
        asked = list(keys)
        with suppress(*_HARMLESS), self._connect() as connection:
            for start in range(0, len(asked), _AT_ONCE):
                some = asked[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT text, vector FROM vectors WHERE text IN ({marks})"
                for key, data in connection.execute(query, some):
                    found[keys[key]] = np.frombuffer(data, np.float32)
        return found

    def write(self, vectors: Mapping[str, Floats]) -> None:
        """Keep embeddings of texts."""
        if self._path is None:
            return
        with suppress(*_HARMLESS):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._connect() as connection:
                (count,) = connection.execute("SELECT COUNT(*) FROM vectors").fetchone()
                if count + len(vectors) > MOST_KEPT:
                    connection.execute("DELETE FROM vectors")
                connection.executemany(
                    "INSERT OR IGNORE INTO vectors VALUES (?, ?)",
                    [(_key(text), vector.tobytes()) for text, vector in vectors.items()],
                )

    @contextmanager
    def _connect(self) -> Generator[sqlite3.Connection]:
        assert self._path is not None
        connection = sqlite3.connect(self._path, timeout=WAIT_S)
        try:
            with connection:
                connection.execute(_SCHEMA)
                yield connection
        finally:
            connection.close()


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
