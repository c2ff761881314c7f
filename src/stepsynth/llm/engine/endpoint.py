"""One LLM of a run: its backend, pace and price, and the identity of its requests."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from json.encoder import encode_basestring
from typing import Any

from stepsynth._util.hashing import derive_seed, digest
from stepsynth.errors import ProviderError
from stepsynth.llm.core.backend import Backend
from stepsynth.llm.core.types import Completion, Request
from stepsynth.llm.core.usage import Spent, cost
from stepsynth.llm.engine.limits import Most
from stepsynth.llm.pacing.pace import Pace
from stepsynth.llm.pacing.timeouts import TimeOuts

_OVERHEAD_TOKENS = 64
"""A message's tokens beside its text: role marks and the like."""
_PROMPT, _STREAM, _DRAW = "<<the prompt>>", "<<the stream>>", "<<the draw>>"


class Endpoint:
    """An LLM of a run.

    Attributes:
        closed: Why nothing more is sent to it: it asked for a longer wait than it is given.
    """

    def __init__(
        self,
        backend: Backend[Any],
        random_seed: int,
        now: Callable[[], float],
        on_notice: Callable[[str], None],
    ) -> None:
        self.backend = backend
        self.settings = backend.settings
        self.price = self.settings.known_price()
        self.live = self.settings.live()
        self.pace = Pace(self.live, now, on_notice)
        self.timeouts = TimeOuts(self.live.timeout_s, self.live.concurrency, on_notice)
        self.has_answered = False
        self.closed: ProviderError | None = None
        self.say = on_notice
        self.refused_in_a_row = 0
        self.is_stored = self.settings.stores_completions
        self.is_batched = self.settings.is_batched
        self.settings_id = digest(self.settings.request_identity(), length=12)
        backend.on_rate_limits = self.pace.told
        backend.on_notice = on_notice
        self.random_seed = random_seed
        self._moulds: dict[tuple[str, int | None], Sequence[str]] = {}

    @property
    def note(self) -> str:
        """Why it is slow or silent, in words; "" if there is nothing to say."""
        cause = self.timeouts.note
        # Advice on time-outs says more than that all requests time out.
        return cause if cause and self.pace.down_by == "timeout" else self.pace.note or cause

    def request_id(self, request: Request) -> str:
        """Return the digest of a request as it is sent, with its draw.

        Equal to `digest` of the whole identity, but faster: only the prompt, the stream and the
        draw are new each time.
        """
        if request.turns:
            return digest(self._identity(request) | {"turns": list(request.turns)})
        schema = "" if request.schema is None else json.dumps(request.schema)
        form = schema, request.max_tokens
        if form not in self._moulds:
            self._moulds[form] = self._mould(request)
        before, between, later, after = self._moulds[form]
        prompt, stream = encode_basestring(request.prompt), encode_basestring(request.stream)
        text = f"{before}{request.draw}{between}{prompt}{later}{stream}{after}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _identity(self, request: Request) -> dict[str, Any]:
        has_schema = request.schema is not None
        sent = self.settings.request_identity(has_schema=has_schema)
        if has_schema and sent != self.settings.request_identity():
            sent["schema"] = digest(request.schema)
        if "max_tokens" in sent["sampling"]:
            sent["sampling"] = {**sent["sampling"], "max_tokens": self.live.longest(request)}
        return {
            **sent,
            "prompt": request.prompt,
            "random_seed": self.random_seed,
            "stream": request.stream,
            "draw": request.draw,
        }

    def _mould(self, request: Request) -> Sequence[str]:
        """Return the identity's canonical JSON, cut at the draw, the prompt and the stream."""
        like = replace(request, prompt=_PROMPT, stream=_STREAM)
        identity = self._identity(like) | {"draw": _DRAW}
        text = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        before, text = text.split(f'"{_DRAW}"')
        between, text = text.split(f'"{_PROMPT}"')
        later, after = text.split(f'"{_STREAM}"')
        return before, between, later, after

    def most(self, requests: Sequence[Request]) -> Most:
        """Return the most that a group of draws can cost, sent as one request.

        Each byte counts as a token, since none is shorter, and each answer as its allowed length.
        """
        first = requests[0]
        texts = [first.prompt, *first.turns]
        if first.schema is not None:
            texts.append(json.dumps(first.schema))
        prompt = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        prompt += _OVERHEAD_TOKENS * (1 + len(first.turns))
        written = len(requests) * self.live.longest(first)
        usd = 0.0 if self.price is None else self.price.usd(prompt, written)
        return Most(usd, prompt + written)

    def spent(self, most: Most, completions: Sequence[Completion]) -> Spent:
        """Return what an answered attempt cost; the most it can, if tokens were not counted."""
        usd, tokens = 0.0, 0
        for each in completions:
            if each.prompt_tokens is None or each.completion_tokens is None:
                return Spent(1, most.usd, most.tokens)
            tokens += each.prompt_tokens + each.completion_tokens
            if self.price is not None:
                usd += cost(self.price, each) or 0.0
        return Spent(1, usd, tokens)


class Endpoints:
    """The LLMs of a run: one for all requests, or others for some kinds, several in turn."""

    def __init__(self, main: Endpoint, phases: Mapping[str, Sequence[Endpoint]]) -> None:
        self.main = main
        self.all = [main]
        self._phases: dict[str, range] = {}
        for kind, several in phases.items():
            self._phases[kind] = range(len(self.all), len(self.all) + len(several))
            self.all += several
        self._turns: Counter[str] = Counter()

    def next(self, request: Request) -> int:
        """Return the place in `all` of the one whose turn it is; requests come in their order.

        A request without a stream goes to the same one each time, or it would be paid for anew.
        """
        kind = request.tags.get("kind", "") if self._phases else ""
        several = self._phases.get(kind)
        if not several:
            return 0
        if not request.stream:
            return several[derive_seed(request.prompt) % len(several)]
        self._turns[kind] += 1
        return several[(self._turns[kind] - 1) % len(several)]
