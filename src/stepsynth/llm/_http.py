"""The one place that speaks HTTP: post JSON, get JSON, and say what went wrong in our terms."""

import json
import ssl
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from stepsynth.errors import ProviderError
from stepsynth.llm._errors import GiveUpError, RetryLaterError

CONNECT_S = 10.0
"""Seconds for a connection with its TLS handshake."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class JsonClient:
    """Posts JSON to one endpoint over connections that are kept open.

    Args:
        url: The endpoint.
        headers: Sent with each request; they may hold a key and never appear in an error.
        timeout_s: Longest time for one answer; waiting for a free connection is not part of it.
        key_hint: What to do about a refused key.
    """

    def __init__(
        self, url: str, *, headers: dict[str, str], timeout_s: float, key_hint: str
    ) -> None:
        self.url = url
        self._headers = headers
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_S, timeout_s))
        self._key_hint = key_hint
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object of a 200 answer.

        Raises:
            RetryLaterError: 408, 409, 429, 5xx, time-outs, broken connections, unreadable bodies.
            GiveUpError: Another 4xx: this request is refused, whatever the next one is.
            ProviderError: The key, the URL or the model is refused, or TLS fails.
        """
        if self._session is None:
            proxies = urlsplit(self.url).hostname not in _LOOPBACK
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                headers=self._headers,
                timeout=self._timeout,
                trust_env=proxies,
            )
        try:
            # Read inside the block: a body may hang or break off after its 200.
            async with self._session.post(self.url, json=body) as response:
                status, headers, raw = response.status, response.headers, await response.read()
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise ProviderError(
                f"{self.url}: no secure connection: {error}", hint="check llm.base_url (http?)"
            ) from error
        except aiohttp.InvalidURL as error:
            raise ProviderError(f"{self.url!r} is no URL", hint="check llm.base_url") from error
        except aiohttp.ClientConnectorError as error:
            raise RetryLaterError(
                "unreachable", f"{self.url} cannot be reached: {error}", is_unreachable=True
            ) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise RetryLaterError(
                "unreachable", f"{self.url}: no connection in {CONNECT_S:g} s", is_unreachable=True
            ) from error
        except TimeoutError as error:
            raise RetryLaterError("timeout", f"{self.url}: no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise RetryLaterError("connection", f"{self.url}: {error}") from error
        if status == 200:
            return self._read(raw)
        raise self._error(status, headers.get("Retry-After"), raw)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _read(self, raw: bytes) -> dict[str, Any]:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise RetryLaterError("malformed", f"{self.url}: the answer is no JSON") from error
        if not isinstance(value, dict):
            raise RetryLaterError("malformed", f"{self.url}: the answer is no JSON object")
        return value

    def _error(self, status: int, retry_after: str | None, raw: bytes) -> Exception:
        # Providers repeat a refused key in their messages.
        said = _message(raw)
        for secret in self._headers.values():
            said = said.replace(secret.removeprefix("Bearer "), "***")
        message = f"{self.url} answered {status}: {said}"
        if status in (401, 403):
            return ProviderError(message, hint=self._key_hint)
        if status == 404:
            return ProviderError(message, hint="check llm.base_url (usually .../v1) and llm.model")
        if status == 429:
            return RetryLaterError("rate_limit", message, retry_after_s=_seconds(retry_after))
        if status >= 500 or status in (408, 409, 425):
            return RetryLaterError("server_error", message, retry_after_s=_seconds(retry_after))
        return GiveUpError("refused_request", message)


def _message(raw: bytes) -> str:
    """Return what a provider says of an error, on one line."""
    text = raw[:2000].decode("utf-8", "replace")
    try:
        value = json.loads(raw)
        error = value.get("error", value)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:300] or "(no message)"


def _seconds(retry_after: str | None) -> float | None:
    """Return Retry-After in seconds; its date form is rare and treated as not given."""
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
