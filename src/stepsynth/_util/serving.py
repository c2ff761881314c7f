"""What the HTTP servers have in common: how requests of anybody are read."""

import logging
from collections.abc import Mapping
from typing import Any

HANDLER: Mapping[str, Any] = {
    # A few kilobytes may unpack to gigabytes, in memory before anybody looks at the request.
    "auto_decompress": False,
    # What is no HTTP is answered; a log of it would show texts and tokens.
    "logger": logging.Logger("stepsynth.http", logging.CRITICAL),
}
"""`handler_args` of an `aiohttp` application."""

PACKED = "a body must be sent as it is, without a Content-Encoding"


def is_packed(headers: Mapping[str, str]) -> bool:
    """Return whether the body of a request is compressed."""
    return headers.get("Content-Encoding", "identity").lower() != "identity"
