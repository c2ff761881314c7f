"""The one place that speaks HTTP: post JSON, get JSON, and say what went wrong in our terms.

aiohttp, since it was the faster of the two that were measured (`python -m benchmarks.http`).
"""

import asyncio
import json
import ssl
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import aiohttp

from stepsynth.errors import ProviderError, StepsynthError
from stepsynth.llm._errors import GiveUpError, RetryLaterError
from stepsynth.llm._rate_headers import RateLimits, read_rate_limits, retry_after_s

CONNECT_S = 4.0
"""Seconds for a connection with its TLS handshake."""
FILE_S = 300.0
"""Seconds to wait for the next part of a file, and for the answer to one."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_QUOTA = ("insufficient_quota", "billing_hard_limit", "credit balance is too low")
"""What providers say, with a status that else means "later", when nothing will come any more."""
SHORTEST_SECRET = 8
"""A shorter value of a header is no key, and a message without it would be garbled."""
RAW_CHARACTERS = 4000
"""So much of an answer that could not be read is kept."""


class NotFoundError(ProviderError):
    """There is nothing at that URL, or no such model."""


class JsonClient:
    """Posts JSON to one endpoint over connections that are kept open.

    Args:
        base_url: What every path is appended to.
        headers: Sent with each request; they may hold a key and never appear in an error.
        timeout_s: Longest time for one answer; our own queue is no part of it.
        key_hint: What to do about a refused key.
    """

    def __init__(
        self, base_url: str, *, headers: Mapping[str, str], timeout_s: float, key_hint: str
    ) -> None:
        self.base_url = base_url
        self.on_rate_limits: Callable[[RateLimits], None] = lambda _limits: None
        self._headers = {"User-Agent": f"stepsynth/{version('stepsynth')}", **headers}
        values = (value.rsplit(" ", 1)[-1] for value in headers.values())
        self._secrets = [value for value in values if len(value) >= SHORTEST_SECRET]
        self._timeout_s = timeout_s
        self._timeout = aiohttp.ClientTimeout(total=None, connect=min(CONNECT_S, timeout_s))
        # Files of batches are large: a time-out between two parts of one, none for the whole.
        self._long_timeout = aiohttp.ClientTimeout(
            connect=min(CONNECT_S, timeout_s), sock_read=max(FILE_S, timeout_s)
        )
        self._key_hint = key_hint
        self._proxy = _find_proxy(base_url)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object of a 200 answer.

        Raises:
            RetryLaterError: 408, 409, 429, 5xx, time-outs, broken connections, unreadable bodies.
            GiveUpError: Another 4xx: this request is refused, whatever the next one is.
            ProviderError: The key, the URL or the model is refused, or TLS fails.
        """
        sent = json.dumps(body).encode("ascii")
        raw, kind = await self._send("POST", path, data=sent, headers=_JSON)
        return self._read(path, raw, kind)

    async def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object of a 200 answer to a GET; raises as `post` does."""
        raw, kind = await self._send("GET", path)
        return self._read(path, raw, kind)

    async def upload(self, path: str, fields: Mapping[str, str], file: BinaryIO) -> dict[str, Any]:
        """Send a form with a file `batch.jsonl` and return the JSON object; raises as `post`."""
        form = aiohttp.FormData(dict(fields))
        form.add_field("file", file, filename="batch.jsonl", content_type="application/jsonl")
        raw, kind = await self._send("POST", path, data=form, timeout=self._long_timeout)
        return self._read(path, raw, kind)

    async def post_file(self, path: str, file: BinaryIO) -> dict[str, Any]:
        """Post JSON from a file of any size, read as it is sent; raises as `post` does."""
        raw, kind = await self._send(
            "POST", path, data=file, headers=_JSON, timeout=self._long_timeout
        )
        return self._read(path, raw, kind)

    async def lines(self, path: str) -> AsyncGenerator[bytes]:
        """Yield the lines of an answer of any size as they come; raises as `post` does."""
        url, rest = self._url(path), b""
        try:
            async with self._open("GET", url, timeout=self._long_timeout) as response:
                if response.status != 200:
                    raw = await response.read()
                    raise self._error(url, response.status, response.headers, raw)
                async for part in response.content.iter_any():
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        yield line
        except (aiohttp.ClientError, OSError) as error:
            raise _explain(url, error) from None
        yield rest

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, verb: str, path: str, **options: Any) -> tuple[bytes, str]:
        """Return the body of a 200 answer and its content type."""
        url = self._url(path)
        try:
            # Read inside the block: a body may hang or break off after its 200.
            # A time-out around it all costs half of what one of aiohttp's own does.
            timeout = asyncio.timeout(None if "timeout" in options else self._timeout_s)
            async with timeout, self._open(verb, url, **options) as response:
                status, headers, raw = response.status, response.headers, await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _explain(url, error) from None
        if limits := read_rate_limits(headers):
            self.on_rate_limits(limits)
        if status in (200, 201):  # 201: a file was made
            return raw, headers.get("Content-Type", "")
        raise self._error(url, status, headers, raw)

    def _url(self, path: str) -> str:
        return path if path.startswith(("http://", "https://")) else self.base_url + path

    def _open(
        self, verb: str, url: str, **options: Any
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=self._timeout,
            )
        # Not to another place: aiohttp would take the headers along, and our key with them.
        return self._session.request(verb, url, proxy=self._proxy, allow_redirects=False, **options)

    def _read(self, path: str, raw: bytes, kind: str) -> dict[str, Any]:
        url = self._url(path)
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            is_page = "html" in kind or raw.lstrip().startswith(b"<")
            said = "a web page" if is_page else "no JSON" if raw else "empty"
            raise RetryLaterError(
                "malformed" if raw else "empty_body",
                f"{url}: the answer is {said}",
                raw=self.mask(raw.decode("utf-8", "replace"))[:RAW_CHARACTERS],
            ) from error
        if not isinstance(value, dict):
            raw_text = self.mask(raw.decode("utf-8", "replace"))[:RAW_CHARACTERS]
            raise RetryLaterError("malformed", f"{url}: the answer is no JSON object", raw=raw_text)
        return value

    def _error(self, url: str, status: int, headers: Mapping[str, str], raw: bytes) -> Exception:
        # Masked before it is cut: half a key would not be found.
        said = self.mask(raw.decode("utf-8", "replace"))
        text, message = said[:RAW_CHARACTERS], f"{url} answered {status}: {_message(said)}"
        if 300 <= status < 400:
            place = self.mask(headers.get("Location", "another place").split("?")[0])
            return ProviderError(
                f"{url} answered {status}: it is at {place}", hint="correct llm.base_url"
            )
        if status in (401, 403):
            return ProviderError(message, hint=self._key_hint)
        if status in (404, 405):
            return NotFoundError(message, hint="check llm.base_url (usually .../v1) and llm.model")
        if status == 402 or any(words in text for words in _QUOTA):
            return ProviderError(message, hint="the provider wants to be paid: see your account")
        if status == 429:
            wait = retry_after_s(headers)
            return RetryLaterError("rate_limit", message, retry_after_s=wait, raw=text)
        if status >= 500 or status in (408, 409, 425):
            wait = retry_after_s(headers)
            return RetryLaterError("server_error", message, retry_after_s=wait, raw=text)
        return GiveUpError("refused_request", message, raw=text)

    def mask(self, text: str) -> str:
        """Return a provider's words without our key, which some repeat when they refuse it."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


_JSON = {"Content-Type": "application/json"}


def _explain(url: str, error: Exception) -> StepsynthError:
    """Return what went wrong with a connection, in our terms."""
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        hint = "check llm.base_url (http?)"
        return ProviderError(f"{url}: no secure connection: {error}", hint=hint)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        # Its own words hold the proxy's URL, and that may hold a password.
        hint = "check HTTPS_PROXY and its password"
        return ProviderError(f"{url}: the proxy answered {error.status}", hint=hint)
    if isinstance(error, aiohttp.InvalidURL):
        return ProviderError(f"{url!r} is no URL", hint="check llm.base_url")
    if isinstance(error, aiohttp.ClientConnectorError):
        said = f"{url} cannot be reached: {error}"
        return RetryLaterError("unreachable", said, is_unreachable=True)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        said = f"{url}: no connection in {CONNECT_S:g} s"
        return RetryLaterError("unreachable", said, is_unreachable=True)
    if isinstance(error, TimeoutError):
        return RetryLaterError("timeout", f"{url}: no answer in time")
    return RetryLaterError("connection", f"{url}: {error}")


def _find_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL. Looked up once, not per request."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _message(text: str) -> str:
    """Return what a provider says of an error, on one line."""
    try:
        value = json.loads(text)
        error = value.get("error", value)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        pass
    return " ".join(text[:2000].split())[:300] or "(no message)"
