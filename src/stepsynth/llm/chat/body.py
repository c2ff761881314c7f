"""The body of an answer: read up to a bound, unpacked, and parsed as JSON."""

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from stepsynth.llm.core.errors import GiveUpError, RetryLaterError

if TYPE_CHECKING:
    import aiohttp

ENCODINGS = {"Accept-Encoding": "gzip, deflate"}
"""Compressions that are unpacked here."""
MOST_OF_AN_ERROR = 65_536
"""Bytes that are read of an error's body."""

_EITHER = 32 + zlib.MAX_WBITS
"""gzip or zlib, as the first bytes say."""
_CHARSET = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)


async def read_body(
    response: "aiohttp.ClientResponse", most: int, *, is_cut: bool = False
) -> bytes:
    """Return a body, unpacked as it arrives: a small one may unpack to gigabytes.

    Args:
        response: Does not decompress by itself.
        most: Most bytes of the body, unpacked.
        is_cut: Return the first bytes of a longer body, in place of an error.

    Raises:
        GiveUpError: It is longer.
        RetryLaterError: Its compression is not what its header says, or was not asked for.
    """
    packing = response.headers.get("Content-Encoding", "identity").strip().casefold()
    length = response.content_length
    if packing in ("identity", "") and length is not None and length <= most:
        return await response.read()
    if packing not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise RetryLaterError(
            "malformed",
            f"{response.url}: the answer is packed with {packing[:20]!r}, which was not asked for",
            is_no_api=True,
        )
    unpacker = None if packing in ("identity", "") else zlib.decompressobj(_EITHER)
    parts = bytearray()
    async for chunk in response.content.iter_any():
        try:
            # One byte more than there is room for shows that there is more.
            parts += (
                chunk if unpacker is None else unpacker.decompress(chunk, most + 1 - len(parts))
            )
        except zlib.error as error:
            raise RetryLaterError(
                "malformed",
                f"{response.url}: the answer is no {packing}, as its header says: {error}",
                is_no_api=True,
            ) from error
        if len(parts) > most:
            if is_cut:
                return bytes(parts[:most])
            raise GiveUpError(
                "too_large_answer",
                f"{response.url}: the answer has more than {most:,} bytes",
                hint="a lower llm.max_tokens bounds what a working endpoint sends",
            )
    return bytes(parts)


def read_json(raw: bytes, kind: str) -> Any:
    """Return the JSON of an unpacked body of a content type; a stream of events is put together.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return json.loads(raw)
    except ValueError:
        charset = _CHARSET.search(kind)
    try:
        text = raw.decode(charset[1] if charset else "utf-8-sig", "replace")
    except LookupError:
        text = raw.decode("utf-8-sig", "replace")
    lines = text.strip("\0 \r\n\t").split("\n")
    # Some endpoints send comments first, to keep the connection open.
    while lines and (lines[0].startswith(":") or not lines[0].strip()):
        del lines[0]
    if lines and lines[0].startswith("data:"):
        return _join_events(lines)
    return json.JSONDecoder().raw_decode("\n".join(lines))[0]


def _join_events(lines: list[str]) -> dict[str, Any]:
    """Return a streamed chat completion as if it had come whole."""
    whole: dict[str, Any] = {}
    texts: dict[int, list[str]] = {}
    ends: dict[int, Any] = {}
    for line in lines:
        data = line[5:].strip() if line.startswith("data:") else ""
        if not data.startswith("{"):
            continue
        event: dict[str, Any] = json.loads(data)
        choices: Any = event.pop("choices", None)
        whole |= {key: value for key, value in event.items() if value is not None}
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict) or "message" in choice:
                return whole | {"choices": choices}  # it did come whole
            place, delta = choice.get("index", 0), choice.get("delta")
            said = delta.get("content") if isinstance(delta, dict) else None
            texts.setdefault(place, []).append(said if isinstance(said, str) else "")
            if choice.get("finish_reason") is not None:
                ends[place] = choice["finish_reason"]
    if texts:
        whole["choices"] = [
            # A stream without a finish reason broke off.
            {
                "index": i,
                "message": {"content": "".join(parts)},
                "finish_reason": ends.get(i, "error"),
            }
            for i, parts in texts.items()
        ]
    return whole
