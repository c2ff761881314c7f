"""Digests of JSON-able values, the same in every process and on every machine."""

import hashlib
import json
from pathlib import Path
from typing import Any

# Made once: `json.dumps` makes an encoder for every call that sets an option.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
_HIDDEN = "sha256:"


def digest(value: Any, *, length: int = 32) -> str:
    """Return `length` hexadecimal characters of the value's SHA-256.

    Args:
        value: Anything that `json.dumps` takes; the order of keys does not matter.
        length: Hexadecimal characters to keep (32 = 128 bits).
    """
    text = _CANONICAL.encode(value)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def compact_digest(value: Any) -> bytes:
    """Return the 16 bytes of a digest, which take half the memory of its characters."""
    return bytes.fromhex(digest(value))


def hidden(text: str) -> str:
    """Return a digest in place of a secret text; hiding it again changes nothing."""
    return text if text.startswith(_HIDDEN) else f"{_HIDDEN}{digest(text, length=24)}"


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def derive_seed(*parts: Any) -> int:
    """Return a 31-bit seed that is a function of the parts (fits every provider's `seed`)."""
    return int(digest(list(parts), length=8), 16) & 0x7FFF_FFFF
