"""Errors by which a backend tells the engine to retry a request or to give it up."""

from stepsynth.errors import StepsynthError


class RetryLaterError(StepsynthError):
    """The same request may succeed later.

    Args:
        reason: A short name for counting ("rate_limit", "timeout", ...).
        message: What the provider said.
        retry_after_s: Seconds that the provider asked us to wait, if it did.
        is_unreachable: No connection was made at all.
        is_unavailable: The endpoint cannot serve any request now: unreachable, 502, 503.
        is_no_api: What answered is no such API, so that a retry is of no use.
        raw: What the provider sent, where it could not be used.
        hint: What to do next.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        is_unreachable: bool = False,
        is_unavailable: bool = False,
        is_no_api: bool = False,
        raw: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.is_unreachable = is_unreachable
        self.is_unavailable = is_unavailable or is_unreachable
        self.is_no_api = is_no_api
        self.raw = raw


class GiveUpError(StepsynthError):
    """This request will never succeed; others may."""

    def __init__(self, reason: str, message: str, *, raw: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.raw = raw
