"""A recorded LLM: answers come from files and no network is used.

A recording is a JSON line with one completion: `kind` and `completion`, and `label`, `context`,
`source` where they are known. A line answers a request when they agree on every one of these keys
that the line carries. A request with a source takes a line recorded for it (else see `fallback`).
An exported store carries `draw` and `request` too, so that replaying it gives each request its own
answer again. `context` and `source` may be digests, as `store export --hide-gold` writes them.
A recording is handed out once in a run, unless `reuse` is set.
"""

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from stepsynth._util.hashing import hidden
from stepsynth._util.rng import make_rng
from stepsynth._util.text import clean
from stepsynth.errors import ConfigError, DataError
from stepsynth.llm.core.backend import Backend, LLMSettings
from stepsynth.llm.core.errors import GiveUpError
from stepsynth.llm.core.types import Completion, Request
from stepsynth.llm.store.recording import request_digest

_OPTIONAL = ("label", "context", "source")


class Replay(LLMSettings):
    """Settings of the recordings."""

    backend: str = "replay"
    recordings: tuple[str, ...] = Field(
        min_length=1,
        description="JSON lines, gzipped or not; one or a list.",
        json_schema_extra={"type": ["array", "string"]},
    )
    fallback: Literal["none", "nearest"] = Field(
        default="none",
        description="Where no line has the `source` asked for: `nearest` takes the most similar "
        "unused text of the same kind and label.",
    )
    reuse: bool = Field(default=False, description="Hand a recording out more than once.")

    identity_keys: ClassVar[tuple[str, ...]] = ("backend", "model", "fallback", "reuse")

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the answers, the recordings by their content."""
        return super().identity() | {"recordings": [_file_digest(p) for p in self.recordings]}


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded completion, and what it answers to; None where the line does not say.

    Context and source are digests: they are only compared, and the file may hold digests too.
    """

    kind: str
    label: str | None
    context: str | None
    source: str | None
    draw: int | None
    request: str | None
    completion: Completion


class ReplayBackend(Backend[Replay]):
    """A backend of recordings. It never awaits, so requests are answered in their order."""

    name = "replay"
    settings_class = Replay

    def __init__(self, settings: Replay, random_seed: int) -> None:
        super().__init__(settings, random_seed)
        self._rng = make_rng(random_seed, "replay")
        self._recordings = list(_read_all(settings.recordings))
        self._is_used = np.zeros(len(self._recordings), dtype=bool)
        self._groups: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
        self._draws: dict[tuple[str | int | None, ...], int] = {}
        self._requests: dict[str, int] = {}
        self._texts_of = cache(self._index)
        for i, r in enumerate(self._recordings):
            self._groups[r.kind, r.label, r.context, r.source].append(i)
            if r.draw is not None:
                self._draws.setdefault((r.kind, r.label, r.context, r.source, r.draw), i)
            if r.request is not None:
                self._requests.setdefault(r.request, i)

    async def complete(self, request: Request) -> Completion:
        """Return a recorded completion, or give the request up as exhausted."""
        ways = (self._same_request, self._same_draw, self._draw, self._nearest)
        chosen = next((i for way in ways if (i := way(request)) is not None), None)
        if chosen is None:
            kind, label = request.tags.get("kind", ""), request.tags.get("label", "")
            raise GiveUpError(
                "exhausted", f"no unused recording of kind {kind!r} is left for label {label!r}"
            )
        self._is_used[chosen] = not self.settings.reuse
        return self._recordings[chosen].completion

    def _same_request(self, request: Request) -> int | None:
        """Return the unused recording of this very request, as an exported store carries it."""
        if not self._requests:
            return None
        asked = {key: getattr(request, key) for key in ("prompt", "stream", "draw", "turns")}
        index = self._requests.get(request_digest(asked, self.random_seed))
        return None if index is None or self._is_used[index] else index

    def _same_draw(self, request: Request) -> int | None:
        """Return the unused recording of this very draw, as an exported run carries it.

        In a store of several runs many draws share a number: there `request` tells them apart.
        """
        tags = request.tags
        given = (_hidden(tags.get("context")), _hidden(tags.get("source")), request.draw)
        for name in _or_none(tags.get("label")):
            index = self._draws.get((tags.get("kind"), name, *given))
            if index is not None and not self._is_used[index]:
                return index
        return None

    def _draw(self, request: Request) -> int | None:
        """Draw uniformly among the unused recordings that match, the source included.

        Where no line has the source, one that has the context and names no source will do.
        """
        tags = request.tags
        source, context = _hidden(tags.get("source")), _hidden(tags.get("context"))
        chosen = self._draw_from(tags, source, _or_none(context))
        if chosen is None and None not in (source, context) and self.settings.fallback == "none":
            chosen = self._draw_from(tags, None, (context,))
        return chosen

    def _draw_from(
        self, tags: Mapping[str, str], source: str | None, contexts: Iterable[str | None]
    ) -> int | None:
        groups = [
            self._groups[key]
            for label in _or_none(tags.get("label"))
            for context in contexts
            if (key := (tags.get("kind"), label, context, source)) in self._groups
        ]
        for group in groups:
            group[:] = [i for i in group if not self._is_used[i]]
        matching = [i for group in groups for i in group]
        return self._rng.choice(matching) if matching else None

    def _nearest(self, request: Request) -> int | None:
        """Return the unused recording most like the source; of equals, the earlier line."""
        tags = request.tags
        if "source" not in tags or self.settings.fallback != "nearest":
            return None
        index, vectorizer, matrix = self._texts_of(tags.get("kind", ""), tags.get("label", ""))
        contexts = _or_none(_hidden(tags.get("context")))
        fits = [not self._is_used[i] and self._recordings[i].context in contexts for i in index]
        if not any(fits):
            return None
        cosines = (matrix @ vectorizer.transform([tags["source"]]).T).toarray().ravel()
        return index[int(np.where(fits, cosines, -1.0).argmax())]

    def _index(self, kind: str, label: str) -> tuple[list[int], Any, Any]:
        """Return the recordings of a kind and label with their TF-IDF vectors."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        index = [
            i for i, r in enumerate(self._recordings) if r.kind == kind and r.label in (label, None)
        ]
        vectorizer = TfidfVectorizer(sublinear_tf=True)
        texts = [self._recordings[i].completion.text for i in index]
        # A recording without a single word has no vocabulary; one word keeps it defined.
        vectorizer.fit([*texts, "text"])
        return index, vectorizer, vectorizer.transform(texts or ["text"])


def _hidden(text: str | None) -> str | None:
    return None if text is None else hidden(text)


def _or_none(value: str | None) -> tuple[str | None, ...]:
    return (None,) if value is None else (value, None)


def _file_digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:32]
    except OSError as error:
        raise ConfigError(
            f"llm.recordings: {path} cannot be read: {error.strerror}",
            hint="paths are relative to the task file",
        ) from error


def _read_all(paths: Iterable[str]) -> Iterator[Recording]:
    for path in paths:
        _file_digest(path)
        opener = gzip.open if path.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8") as file:
            number = 0
            try:
                for line in file:
                    number += 1
                    if line.strip():
                        yield _read_line(line)
            except (ValueError, OSError, EOFError) as error:
                raise DataError(
                    f"{path}, line {max(number, 1)}: this is no recording: {error}",
                    hint='a line is {"kind": "seed", "label": "...", "completion": "..."}',
                ) from error


def _read_line(line: str) -> Recording:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, got {type(row).__name__}")
    for key in ("kind", "completion"):
        if not isinstance(row.get(key), str):
            raise ValueError(f"{key!r} must be a text, got {row.get(key)!r}")
    draw, asked = row.get("draw"), row.get("request")
    if draw is not None and not isinstance(draw, int):
        raise ValueError(f"'draw' must be a whole number, got {draw!r}")
    if not isinstance(asked, str | None):
        raise ValueError(f"'request' must be a text, got {asked!r}")
    tokens = [row.get(key) for key in ("prompt_tokens", "completion_tokens")]
    read, written = (n if isinstance(n, int) and n >= 0 else None for n in tokens)
    completion = Completion(
        clean(row["completion"]),
        truncated=row.get("truncated") is True,
        prompt_tokens=read,
        completion_tokens=written,
    )
    label, context, source = (None if row.get(k) is None else str(row[k]) for k in _OPTIONAL)
    told = (row["kind"], label, _hidden(context), _hidden(source))
    return Recording(*told, draw, asked, completion)
