"""Sending of one job: pacing, budget, attempts and their outcomes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from stepsynth.errors import PromptError, ProviderError
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Completion, Failed, Request
from stepsynth.llm.core.usage import Spent, Usage
from stepsynth.llm.engine.endpoint import Endpoint
from stepsynth.llm.engine.limits import Budget, Most
from stepsynth.llm.engine.queue import Flow, Item, Job
from stepsynth.llm.store.store import Entry, Lost, Store

BACK_OFF_S = 0.5
LONGEST_BACK_OFF_S, LONGEST_RETRY_AFTER_S = 60.0, 300.0
"""Seconds. A provider that asks for more than the latter and `llm.patience_s` is not waited for."""
REFUSED_IN_A_ROW = 20
"""Consecutive refused requests after which no other one is expected to be taken."""
REFUSED = 0.25
"""Part of an attempt that a refusal for the rate limit counts as: it says little of a request."""
_ANSWERED = ("malformed", "empty_body", "empty", "broken_off", "too_large_answer")
"""Reasons of attempts that brought a 200 and no text: these may have been charged in full."""


@dataclass
class Sender:
    """A sender of jobs.

    Attributes:
        budget: What may still be spent.
        usage: Counts what is used.
        store: Where completions go; None for nowhere.
        run: Digest of the run's identity, under which the store keeps what was spent.
    """

    budget: Budget
    usage: Usage
    store: Store | None
    run: str

    async def answer(self, flow: Flow, job: Job) -> None:
        """Send a job once; what has to be sent again goes back to the flow.

        Raises:
            LimitReachedError: A cap would have been crossed.
            ProviderError: The LLM cannot be used.
        """
        endpoint = job[0].endpoint
        if endpoint.closed is not None:
            flow.set_aside(job, endpoint.closed)
            return
        try:
            left = await self._attempt(flow, endpoint, job)
        except RetryLaterError as error:
            self.usage.setbacks[error.reason] += 1
            self._check_provider(endpoint, error)
            if endpoint.closed is not None:
                flow.set_aside(job, endpoint.closed)
            else:
                self._try_again(flow, endpoint, job, error)
        except GiveUpError as refused:
            self.give_up(flow, job, refused)
            self._check_refused(endpoint, refused)
        else:
            if left:
                flow.retry(left, 0.0)

    def _try_again(self, flow: Flow, endpoint: Endpoint, job: Job, error: RetryLaterError) -> None:
        """Schedule a retry of a job after a backoff, unless its attempts are used up."""
        place = job[0].place
        before = flow.attempts.pop(place, 0.0)
        # While nothing answers at all, a failure is not the request's own.
        is_refused = error.reason == "rate_limit"
        is_others = endpoint.pace.is_down or error.is_unreachable
        own = 0.0 if is_others else REFUSED if is_refused else 1.0
        if before + own >= endpoint.live.max_attempts:
            self.give_up(flow, job, error)
            return
        flow.attempts[place] = before + own
        self.usage.retries += 1
        # A slot is free as soon as another request is answered; other failures last longer.
        first_s = min(BACK_OFF_S, endpoint.pace.usual_s) if is_refused else BACK_OFF_S
        flow.retry(job, _back_off_s(first_s, before, error.retry_after_s))

    async def _attempt(self, flow: Flow, endpoint: Endpoint, job: Job) -> Job:
        """Send a job once, and return the part that is still to be answered."""
        requests = [item.request for item in job]
        if not endpoint.is_stored:
            completion = await endpoint.backend.complete(requests[0])
            self.usage.replayed += 1
            self._landed(flow, job, [_as_answer(job[0], completion)], None)
            return []
        most = endpoint.most(requests)
        if not await endpoint.pace.enter(len(requests[0].prompt)):
            return job
        is_reserved = False
        try:
            is_reserved = not flow.is_stopped and await self.budget.enter(most)
        finally:
            if not is_reserved:
                endpoint.pace.left()
        if not is_reserved:
            return job
        self.usage.requests += 1
        completions = await self._send(flow, endpoint, requests, most)
        if flow.attempts:
            flow.attempts.pop(job[0].place, None)
        await self.keep(flow, job[: len(completions)], completions, most)
        return job[len(completions) :]

    async def keep(
        self, flow: Flow, items: Sequence[Item], completions: Sequence[Completion], most: Most
    ) -> None:
        """Store the completions of an attempt, and hand them over once they are on disk.

        Returns when another request may be sent, which may be before that.
        """
        spent = items[0].endpoint.spent(most, completions)
        self.budget.settle(most, spent)
        answers = [_as_answer(*pair) for pair in zip(items, completions, strict=True)]
        if self.store is None:
            self._landed(flow, items, answers, None)
            return
        entries = [
            Entry(item.id, _asked(item), answer.to_stored(), item.endpoint.settings_id)
            for item, answer in zip(items, answers, strict=True)
        ]
        self.store.put(
            entries, self.run, spent, lambda error: self._landed(flow, items, answers, error)
        )
        await self.store.room()

    async def _send(
        self, flow: Flow, endpoint: Endpoint, requests: Sequence[Request], most: Most
    ) -> list[Completion]:
        """Return what the backend answers; report the outcome to the pace and the budget."""
        sent = monotonic()
        try:
            if len(requests) == 1:
                completions = [await endpoint.backend.complete(requests[0])]
            else:
                completions = await endpoint.backend.complete_group(requests)
            if not completions:
                raise RetryLaterError("malformed", f"{endpoint.settings.model} sent no completion")
        except BaseException as error:
            is_charged = False
            if isinstance(error, RetryLaterError | GiveUpError):
                is_charged = error.reason in _ANSWERED
            if isinstance(error, RetryLaterError):
                endpoint.pace.failed(error)
                if error.reason == "timeout":
                    endpoint.timeouts.timed_out()
                    error.hint = error.hint or endpoint.timeouts.advice
            elif isinstance(error, GiveUpError):
                endpoint.pace.refused()
            else:
                endpoint.pace.left()
            self.fail(flow, most, is_charged=is_charged)
            raise
        latency_s = monotonic() - sent
        read = [c.prompt_tokens for c in completions if c.prompt_tokens is not None]
        written = [c.completion_tokens for c in completions if c.completion_tokens is not None]
        endpoint.pace.answered(
            latency_s,
            len(requests[0].prompt),
            sum(read) if read else None,
            sum(written) if written else None,
        )
        endpoint.timeouts.answered(latency_s)
        endpoint.has_answered = True
        endpoint.refused_in_a_row = 0
        return completions

    def fail(self, flow: Flow, most: Most, *, is_charged: bool = False) -> None:
        """Count an attempt that brought nothing, and may still have been charged in full."""
        spent = Spent(1, most.usd, most.tokens) if is_charged else Spent(1)
        self.budget.settle(most, spent)
        if self.store is not None:
            self.store.put((), self.run, spent, lambda error: error and flow.stop(error))

    def _landed(
        self,
        flow: Flow,
        items: Sequence[Item],
        answers: Sequence[Completion],
        error: Exception | None,
    ) -> None:
        """Count answers that are on disk, and hand them over."""
        if error is not None:
            flow.stop(error)
            return
        for item, answer in zip(items, answers, strict=True):
            self._hand_over(flow, item, answer)

    def found(self, flow: Flow, item: Item, value: dict[str, Any]) -> None:
        """Count a completion that the store had, and hand it over."""
        self.usage.from_store += 1
        flow.found += 1
        self.take(flow, item, value)

    def take(self, flow: Flow, item: Item, value: dict[str, Any]) -> None:
        """Hand over a completion as the store has it."""
        known: dict[str, Any] = {"draw": item.request.draw, "model": item.endpoint.settings.model}
        self._hand_over(flow, item, Completion(request_id=item.id, **known, **value))

    def _hand_over(self, flow: Flow, item: Item, answer: Completion) -> None:
        self.usage.count(answer, item.endpoint.price)
        flow.deliver(item.place, answer)

    def give_up(self, flow: Flow, job: Job, error: RetryLaterError | GiveUpError) -> None:
        """Deliver a job as failed, and store what the provider sent."""
        for item in job:
            self.usage.failures[error.reason] += 1
            said = error.reason, error.message
            failed = Failed(*said, item.id, item.request.draw, error.raw, error.hint)
            flow.deliver(item.place, failed)
            if self.store is not None:
                lost = Lost(item.id, _asked(item), *said, error.raw)
                self.store.put_lost(lost, lambda failed: failed and flow.stop(failed))

    def _check_provider(self, endpoint: Endpoint, error: RetryLaterError) -> None:
        """Stop the run where no other request would fare better.

        Raises:
            ProviderError: The endpoint was never reached, or is down for too long.
        """
        hint = "the same command goes on where this stopped"
        if error.is_unreachable and not endpoint.has_answered:
            raise ProviderError(
                error.message, hint=f"is the server running, and is llm.base_url right? {hint}"
            )
        if error.is_no_api and not endpoint.has_answered:
            raise ProviderError(error.message, hint=error.hint)
        asked_s = error.retry_after_s or 0.0
        if asked_s > max(endpoint.live.patience_s, LONGEST_RETRY_AFTER_S):
            endpoint.closed = ProviderError(
                f"the provider asks to wait {_duration(asked_s)}: {error.message}",
                hint="the same command goes on then; or raise llm.patience_s above that",
            )
            endpoint.say(endpoint.closed.message)
            return
        if endpoint.pace.out_of_patience:
            waited = f"the provider answered nothing for {endpoint.live.patience_s:g} s"
            raise ProviderError(
                f"{waited} (llm.patience_s); the last failure: {error.message}",
                hint=f"{error.hint}; {hint}" if error.hint else hint,
            )

    def _check_refused(self, endpoint: Endpoint, error: GiveUpError) -> None:
        if not endpoint.is_stored:
            return
        endpoint.refused_in_a_row += 1
        if endpoint.refused_in_a_row >= REFUSED_IN_A_ROW:
            # Another method's prompts may be shorter: the LLM is not to blame.
            raise (PromptError if error.reason == "too_long" else ProviderError)(
                f"{endpoint.settings.model} refused {endpoint.refused_in_a_row} requests in a row; "
                f"the last: {error.message}",
                hint=error.hint or "is llm.model right? the same command goes on where it stopped",
            )


def _duration(seconds: float) -> str:
    """Return a time in words, roughly."""
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} seconds"


def _back_off_s(first_s: float, attempts: float, retry_after_s: float | None) -> float:
    """Return the seconds to wait: what the provider asks for, else an exponential backoff."""
    # Jitter keeps clients that failed together from coming back together.
    if retry_after_s:
        return min(retry_after_s, LONGEST_RETRY_AFTER_S) + BACK_OFF_S * random.random()
    return min(first_s * 2**attempts, LONGEST_BACK_OFF_S) * random.uniform(0.5, 1.0)


def _as_answer(item: Item, c: Completion) -> Completion:
    """Return a backend's completion, with what the engine knows of it."""
    return c.placed(item.id, item.request.draw, c.model or item.endpoint.settings.model)


def _asked(item: Item) -> dict[str, object]:
    request, live = item.request, item.endpoint.live
    asked: dict[str, object] = {
        "prompt": request.prompt,
        "stream": request.stream,
        "draw": request.draw,
        "random_seed": item.endpoint.random_seed,
        "tags": dict(request.tags),
    }
    if (longest := live.longest(request)) != live.max_tokens:
        asked["max_tokens"] = longest
    return asked | ({"turns": list(request.turns)} if request.turns else {})
