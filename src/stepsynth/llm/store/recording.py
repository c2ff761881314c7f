"""Recordings: completions of a store as lines that the backend `replay` answers from.

In a line, `request` is a digest of the request it answered. So runs that share a store (a
comparison, several random seeds) get their own answers again, and no prompt is disclosed.
"""

import re
from collections.abc import Mapping
from typing import Any

from stepsynth._util.hashing import digest, hidden
from stepsynth.llm.store.read import Stored

_SHORTEST = 20  # characters: shorter lines stand in other people's texts too
_WORD = re.compile(r"\w+")


def request_digest(asked: Mapping[str, Any], random_seed: int) -> str:
    """Return a digest of a request, its draw and its random seed.

    Args:
        asked: `prompt`, `stream`, `draw` and, for a correction, `turns`.
        random_seed: Seed of the run.
    """
    turns = list(asked.get("turns") or ())
    parts = [asked.get("prompt"), asked.get("stream"), asked.get("draw"), turns, random_seed]
    return digest(parts, length=16)


def bounded(settings: Mapping[str, Any], longest: int | None) -> dict[str, Any]:
    """Return the settings with the `max_tokens` of a request, where it has its own."""
    sampling = settings.get("sampling", {})
    if longest is None or "max_tokens" not in sampling:
        return dict(settings)
    return {**settings, "sampling": {**sampling, "max_tokens": longest}}


def to_recording(stored: Stored, *, hide_gold: bool) -> dict[str, Any]:
    """Return a completion's recording: with its prompt, or with digests where gold is hidden."""
    row: dict[str, Any] = {"kind": stored.kind}
    row |= {k: stored.tags[k] for k in ("label", "context", "source") if k in stored.tags}
    if hide_gold:
        row |= {k: hidden(row[k]) for k in ("context", "source") if k in row}
    row["draw"] = stored.request.get("draw", 0)
    if (random_seed := stored.request.get("random_seed")) is not None:
        row["request"] = request_digest(stored.request, random_seed)
    if stored.completion.get("truncated"):
        row["truncated"] = True
    row |= {
        key: stored.completion[key]
        for key in ("prompt_tokens", "completion_tokens")
        if stored.completion.get(key) is not None
    }
    row["completion"] = stored.completion["text"]
    if hide_gold:
        return row
    row["prompt"] = stored.request.get("prompt", "")
    return row | ({"turns": turns} if (turns := stored.request.get("turns")) else {})


def repeats_prompt(stored: Stored) -> bool:
    """Return whether an answer repeats a line of what was asked, or lies wholly within it.

    What is asked holds gold texts: sources, contexts, examples. Items of a list do not count: they
    are the LLM's own words (rationales) or names of labels.
    """
    asked = [str(stored.request.get("prompt", "")), *map(str, stored.request.get("turns") or ())]
    answer = _plain(str(stored.completion.get("text", "")))
    told = [line for text in asked for line in text.splitlines() if not line.startswith("- ")]
    if len(answer) >= _SHORTEST and answer in _plain("\n".join(told)):
        return True
    return any(len(line) >= _SHORTEST and line in answer for line in map(_plain, told))


def _plain(text: str) -> str:
    """Return the words alone, since LLMs vary quotation marks and spaces."""
    return " ".join(_WORD.findall(text.casefold()))
