"""The one place that speaks HTTP: JSON requests, and failures as the engine's errors.

aiohttp, since it was the faster of the two clients measured (`python -m benchmarks.http`).
"""

import asyncio
import base64
import json
import re
import ssl
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import aiohttp

from stepsynth.errors import ConfigError, ProviderError, StepsynthError
from stepsynth.llm.chat.body import ENCODINGS, MOST_OF_AN_ERROR, read_body, read_json
from stepsynth.llm.chat.replicas import Replica, Replicas
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.rate_headers import RateLimits, read_rate_limits, retry_after_s

CONNECT_S = 4.0
"""Seconds for a connection, TLS handshake included."""
FILE_S = 300.0
"""Seconds to wait for the next part of a batch's file, and for the answer to an upload."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_QUOTA = (
    *("insufficient_quota", "billing_hard_limit", "credit balance is too low"),
    *("insufficient balance", "insufficient_balance", "exceeded your current quota"),
)
"""Words for a used-up account, which providers send with a status that else means "later"."""
SHORTEST_SECRET = 8
"""Characters. A shorter secret is no key, and masking it would garble texts."""
TELLING = 12
"""Characters at the beginning of a key that are masked too: some endpoints repeat only these."""
RAW_CHARACTERS = 4000
"""Characters kept of an answer that could not be read."""
UNPAID = "the provider wants to be paid: see your account"

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_AS_IT_IS = {"Accept-Encoding": "identity"}
_TOO_MANY = re.compile(r"rate.?limit|too many|concurren", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|maximum context|max_model_len|n_ctx|too many tokens|"
    r"prompt is too long|exceed\w* the (?:model|context)|input length",
    re.IGNORECASE,
)
_SHORTER = "prompt and answer together must fit the model's context: lower llm.max_tokens"


class NotFoundError(ProviderError):
    """There is nothing at that URL, or no such model."""


class JsonClient:
    """A client of the servers of one LLM, with connections that are kept open.

    Args:
        urls: What every path is appended to, a URL for each server; a query stays at the end
            (`?api-version=...`).
        headers: Sent with each request.
        secrets: Keys among them, masked in errors and answers.
        timeout_s: Longest time for one answer, in seconds; our own queue is no part of it.
        most_bytes: Most bytes of an answer, unpacked.
        key_hint: What to do about a refused key.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        headers: Mapping[str, str],
        secrets: Iterable[str] = (),
        timeout_s: float,
        most_bytes: int,
        key_hint: str,
    ) -> None:
        self.base_url = urls[0].partition("?")[0]
        self._replicas = Replicas(urls)
        self.on_rate_limits: Callable[[RateLimits], None] = lambda _limits: None
        self._headers = {"User-Agent": f"stepsynth/{version('stepsynth')}", **ENCODINGS, **headers}
        self._secrets = _secret_pattern(secrets)
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes
        self._timeout = aiohttp.ClientTimeout(total=None, connect=min(CONNECT_S, timeout_s))
        # Files of batches are large: the time-out is between two parts, not for the whole.
        self._long_s = max(FILE_S, timeout_s)
        self._long_timeout = aiohttp.ClientTimeout(
            connect=min(CONNECT_S, timeout_s), sock_read=self._long_s
        )
        self._key_hint = key_hint
        self._proxy = _find_proxy(urls[0])
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object of a 200 answer.

        Raises:
            RetryLaterError: 408, 409, 429, 5xx, time-outs, broken connections, unreadable bodies.
            GiveUpError: Another 4xx: this request is refused, others may not be.
            ProviderError: The key, the URL or the model is refused, or TLS fails.
        """
        return await self._ask("POST", path, data=json.dumps(body).encode("ascii"), headers=_JSON)

    async def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object of a 200 answer to a GET; raises as `post` does."""
        return await self._ask("GET", path)

    async def upload(self, path: str, fields: Mapping[str, str], file: BinaryIO) -> dict[str, Any]:
        """Send a form with a file `batch.jsonl` and return the JSON object; raises as `post`."""
        form = aiohttp.FormData(dict(fields))
        form.add_field("file", file, filename="batch.jsonl", content_type="application/jsonl")
        return await self._ask("POST", path, data=form, timeout=self._long_timeout)

    async def post_file(self, path: str, file: BinaryIO) -> dict[str, Any]:
        """Post JSON from a file of any size, read as it is sent; raises as `post` does."""
        options = {"headers": _JSON, "timeout": self._long_timeout}
        return await self._ask("POST", path, data=file, **options)

    async def lines(self, path: str) -> AsyncGenerator[bytes]:
        """Yield the lines of an answer of any size as they come; raises as `post` does.

        A line of more than `most_bytes` is left out.
        """
        url, rest, is_over = _join(self._replicas.all[0].url, path), b"", False
        options: dict[str, Any] = {"timeout": self._long_timeout, "headers": _AS_IT_IS}
        try:
            async with self._open("GET", url, **options) as response:
                if response.status != 200:
                    raw = await read_body(response, MOST_OF_AN_ERROR, is_cut=True)
                    said = self._words(raw)
                    raise self.explain(url, response.status, said, response.headers)
                async for part in response.content.iter_any():
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        if not is_over and len(line) <= self._most_bytes:
                            yield line
                        is_over = False
                    if len(rest) > self._most_bytes:
                        rest, is_over = b"", True
        except (aiohttp.ClientError, OSError) as error:
            raise _explain(url, error, self._long_s) from None
        if not is_over:
            yield rest

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, verb: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the JSON object of a 200 answer, of a server that is up."""
        tried: list[Replica] = []
        while True:
            replica = self._replicas.next(tried)
            assert replica is not None
            url = _join(replica.url, path)
            try:
                with replica.asked():
                    raw, kind = await self._send_to(url, verb, **options)
                break
            except RetryLaterError as error:
                # Any error: a server that fails at once would else be the least busy one.
                replica.fail()
                tried.append(replica)
                # Another time-out is not waited for here: the engine asks again.
                if error.reason == "timeout" or self._replicas.next(tried) is None:
                    raise
        return self._read(url, raw, kind)

    async def _send_to(self, url: str, verb: str, **options: Any) -> tuple[bytes, str]:
        is_long = "timeout" in options
        try:
            # Read inside the block: a body may hang or break off after its 200.
            # One time-out around it all costs half of what aiohttp's own does.
            timeout = asyncio.timeout(None if is_long else self._timeout_s)
            async with timeout, self._open(verb, url, **options) as response:
                status, headers = response.status, response.headers
                if is_fine := 200 <= status < 300:
                    raw = await read_body(response, self._most_bytes)
                else:
                    raw = await read_body(response, MOST_OF_AN_ERROR, is_cut=True)
        except (aiohttp.ClientError, OSError) as error:
            waited_s = self._long_s if is_long else self._timeout_s
            raise _explain(url, error, waited_s) from None
        if limits := read_rate_limits(headers):
            self.on_rate_limits(limits)
        if is_fine:
            return raw, headers.get("Content-Type", "")
        raise self.explain(url, status, self._words(raw), headers)

    def _open(
        self, verb: str, url: str, **options: Any
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=self._timeout,
                auto_decompress=False,  # it would unpack any body whole; see `read_body`
            )
        # No redirects: aiohttp would send the headers along, and our key with them.
        return self._session.request(verb, url, proxy=self._proxy, allow_redirects=False, **options)

    def _read(self, url: str, raw: bytes, kind: str) -> dict[str, Any]:
        try:
            value = read_json(raw, kind)
        except (ValueError, RecursionError) as error:
            is_page = "html" in kind or raw.lstrip().startswith(b"<")
            said = "a web page" if is_page else "no JSON" if raw else "empty"
            raise RetryLaterError(
                "malformed" if raw else "empty_body",
                f"{url}: the answer is {said}",
                is_no_api=is_page,
                raw=self._words(raw)[:RAW_CHARACTERS],
                hint="check llm.base_url (usually .../v1)",
            ) from error
        if not isinstance(value, dict):
            message = f"{url}: the answer is no JSON object"
            raise RetryLaterError("malformed", message, raw=self._words(raw)[:RAW_CHARACTERS])
        return value

    def _words(self, raw: bytes) -> str:
        # Whoever cuts it does so afterwards: half a key would not be found.
        return self.mask(raw.decode("utf-8", "replace"))

    def explain(
        self, url: str, status: int, said: str, headers: Mapping[str, str] = _NO_HEADERS
    ) -> StepsynthError:
        """Return the error that a provider's status and body, with masked keys, stand for."""
        text, message = said[:RAW_CHARACTERS], f"{url} answered {status}: {_message(said)}"
        if 300 <= status < 400:
            place = self.mask(headers.get("Location", "another place").split("?")[0])
            return ProviderError(
                f"{url} answered {status}: it is at {place}", hint="correct llm.base_url"
            )
        if status == 401 or (status == 403 and not _TOO_MANY.search(said)):
            return ProviderError(message, hint=self._key_hint)
        if status in (404, 405):
            return NotFoundError(message, hint="check llm.base_url (usually .../v1) and llm.model")
        if status == 402 or is_unpaid(text):
            return ProviderError(message, hint=UNPAID)
        if status >= 500 or status in (403, 408, 409, 425, 429):
            return RetryLaterError(
                "rate_limit" if status in (403, 429) else "server_error",
                message,
                retry_after_s=retry_after_s(headers),
                is_unavailable=status in (502, 503),
                raw=text,
            )
        if _TOO_LONG.search(said):
            return GiveUpError("too_long", message, raw=text, hint=_SHORTER)
        return GiveUpError("refused_request", message, raw=text)

    def mask(self, text: str) -> str:
        """Return a text from an endpoint with our keys masked, since some repeat them."""
        return self._secrets.sub("***", text) if self._secrets is not None else text


_JSON = {"Content-Type": "application/json"}


def _join(base_url: str, path: str) -> str:
    """Return the URL of a path below a base URL, whose query stays at the end."""
    if path.startswith(("http://", "https://")):
        return path
    base, _, query = base_url.partition("?")
    mark = "&" if "?" in path else "?"
    return base + path + (mark + query if query else "")


def is_unpaid(said: str) -> bool:
    """Return whether a provider's words mean that it answers nothing until it is paid."""
    return any(words in said.casefold() for words in _QUOTA)


def _secret_pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds secrets, also where only their beginning is repeated."""
    long = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
    forms = [form for secret in long for form in (secret, *_as_base64(secret))]
    found = "|".join(rf"{re.escape(form[:TELLING])}[\w.+/=-]*" for form in forms)
    return re.compile(found) if found else None


def _as_base64(secret: str) -> Iterator[str]:
    """Yield a secret as base64, alone and after `Bearer`."""
    for value in (secret, f"Bearer {secret}"):
        yield base64.b64encode(value.encode()).decode().rstrip("=")


def _explain(url: str, error: Exception, timeout_s: float) -> StepsynthError:
    """Return the error that a failed connection stands for."""
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
        said = f"{url} cannot be reached: {error.os_error.strerror or error}"
        return RetryLaterError("unreachable", said, is_unreachable=True)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        said = f"{url}: no connection in {CONNECT_S:g} s"
        return RetryLaterError("unreachable", said, is_unreachable=True)
    if isinstance(error, TimeoutError):
        return RetryLaterError("timeout", f"{url}: no answer in {timeout_s:g} s (llm.timeout_s)")
    return RetryLaterError("connection", f"{url}: {error}")


def _find_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL. Looked up once, not per request."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        return f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        # Its URL may hold a password.
        raise ConfigError(
            f"the environment names a {proxy.partition('://')[0]} proxy for {host}; only HTTP "
            "proxies can be used",
            hint=f"name one in {parts.scheme.upper()}_PROXY, or set NO_PROXY={host}",
        )
    return proxy


def _message(text: str) -> str:
    """Return a provider's error message, on one line."""
    with suppress(ValueError, AttributeError, RecursionError):
        value = json.loads(text)
        error = value.get("error", value)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    return " ".join(text[:2000].split())[:300] or "(no message)"
