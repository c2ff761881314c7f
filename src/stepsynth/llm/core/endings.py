"""Endings of answers, in the words of all providers: only what the LLM finished is whole."""

from typing import Any, Literal

Ending = Literal["whole", "cut", "filtered", "failed"]

_WHOLE = (
    *("stop", "eos", "eos_token", "stop_sequence", "stop_token", "end_turn"),
    *("complete", "completed", "done", "finished"),
)
_FILTERED = (
    *("content_filter", "content-filter", "refusal", "safety", "recitation", "blocklist"),
    *("prohibited_content", "spii", "sensitive", "guardrail_intervened"),
)
_FAILED = (
    *("error", "abort", "aborted", "cancelled", "canceled", "timeout", "network_error"),
    *("insufficient_system_resource", "malformed_function_call"),
)


def ending_of(word: str) -> Ending:
    """Return what a provider's stop word means; "" counts as whole, an unknown word as cut."""
    word = word.strip().casefold()
    if not word or word in _WHOLE:
        return "whole"
    return "filtered" if word in _FILTERED else "failed" if word in _FAILED else "cut"


def stop_word(reason: Any) -> str:
    """Return a provider's stop word; "" if it gave none."""
    return "" if reason is None else str(reason)[:80]
