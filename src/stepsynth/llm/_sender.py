"""One job on its way: its endpoint's pace, the budget, attempts, and what comes of them."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from time import monotonic

from stepsynth.errors import ProviderError
from stepsynth.llm._errors import GiveUpError, RetryLaterError
from stepsynth.llm._flow import Flow, Item, Job
from stepsynth.llm._teacher import Teacher
from stepsynth.llm._types import Completion, Failed, Request
from stepsynth.llm.limits import Budget, Most
from stepsynth.llm.store import Entry, Lost, Spent, Store
from stepsynth.llm.usage import Usage

BACK_OFF_S = 0.5
LONGEST_BACK_OFF_S, LONGEST_RETRY_AFTER_S = 60.0, 300.0
REFUSED_IN_A_ROW = 20
"""So many refused requests with no answer between them: no other one will be taken either."""
_ANSWERED = ("malformed", "empty_body", "empty")
"""Attempts that brought a 200 and no text: these may have been charged in full."""


class Sender:
    """Has jobs answered.

    Args:
        budget: What may still be spent.
        usage: Counts what is used.
        store: Where completions go; None: nowhere.
        run: Digest of the run's identity, under which the store keeps what was spent.
    """

    def __init__(self, budget: Budget, usage: Usage, store: Store | None, run: str) -> None:
        self._budget = budget
        self._usage = usage
        self._store = store
        self._run = run
        self._settled = asyncio.Event()
        self._has_answered = False
        self._refused_in_a_row = 0

    def wake(self) -> None:
        """Let those look again who wait for the budget."""
        self._settled.set()

    async def answer(self, flow: Flow, job: Job) -> None:
        """Have a job answered: as many attempts as are allowed.

        Raises:
            LimitReachedError: A cap would have been crossed.
            ProviderError: The LLM cannot be used.
        """
        teacher, attempts = job[0].teacher, 0
        while job and not flow.is_stopped:
            try:
                job = await self._attempt(flow, teacher, job)
                continue
            except RetryLaterError as caught:
                error = caught
            except GiveUpError as refused:
                self._give_up(flow, job, refused)
                self._check_refused(teacher, refused)
                return
            self._usage.setbacks[error.reason] += 1
            self._check_provider(teacher, error)
            # While the provider is down, none of its failures is the request's own.
            attempts += not teacher.pace.is_down
            if attempts >= teacher.settings.max_attempts:
                self._give_up(flow, job, error)
                return
            self._usage.retries += 1
            await self._back_off(flow, attempts, error.retry_after_s)

    async def _attempt(self, flow: Flow, teacher: Teacher, job: Job) -> Job:
        """Send a job once, and return what of it has still to be answered."""
        requests = [item.request for item in job]
        if not teacher.settings.stores_completions:
            completion = await teacher.backend.complete(requests[0])
            self._usage.replayed += 1
            self._landed(flow, job, [_as_answer(job[0], completion)], None)
            return []
        most = teacher.most(requests)
        if not await teacher.pace.enter(len(requests[0].prompt) // 4):
            return job
        try:
            is_reserved = await self._reserve(flow, most)
        except BaseException:
            teacher.pace.refused()
            raise
        if not is_reserved:
            teacher.pace.refused()
            return job
        completions = await self._send(teacher, requests, most)
        landed, left = job[: len(completions)], job[len(completions) :]
        spent = teacher.spent(most, completions)
        self._settle(most, spent)
        answers = [_as_answer(*pair) for pair in zip(landed, completions, strict=True)]
        if self._store is None:
            self._landed(flow, landed, answers, None)
            return left
        if not self._store.has_room:
            await self._store.room()
        entries = [_entry(*pair) for pair in zip(landed, answers, strict=True)]
        self._store.put(
            entries, self._run, spent, lambda error: self._landed(flow, landed, answers, error)
        )
        return left

    async def _reserve(self, flow: Flow, most: Most) -> bool:
        """Hold back what an attempt may cost; False: the run was stopped meanwhile."""
        while self._budget.must_wait(most) and not flow.is_stopped:
            self._settled.clear()
            await self._settled.wait()
        if flow.is_stopped:
            return False
        self._budget.reserve(most)
        self._usage.requests += 1
        return True

    async def _send(
        self, teacher: Teacher, requests: Sequence[Request], most: Most
    ) -> list[Completion]:
        """Return what the backend answers, and tell the pace and the budget what came of it."""
        sent = monotonic()
        try:
            if len(requests) == 1:
                completions = [await teacher.backend.complete(requests[0])]
            else:
                completions = await teacher.backend.complete_group(requests)
        except RetryLaterError as error:
            teacher.pace.failed(error.reason, error.retry_after_s)
            is_charged = error.reason in _ANSWERED
            self._fail(most, Spent(1, most.usd, most.tokens) if is_charged else Spent(1))
            raise
        except BaseException:
            teacher.pace.refused()
            self._fail(most, Spent(1))
            raise
        written = [c.completion_tokens for c in completions if c.completion_tokens is not None]
        teacher.pace.answered(monotonic() - sent, sum(written) if written else None)
        self._has_answered = True
        self._refused_in_a_row = 0
        return completions

    def _fail(self, most: Most, spent: Spent) -> None:
        self._settle(most, spent)
        if self._store is not None:
            self._store.put((), self._run, spent, lambda _error: None)

    def _settle(self, most: Most, spent: Spent) -> None:
        self._budget.settle(most, spent)
        self._settled.set()

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
            self._usage.count(answer, item.teacher.price)
            flow.deliver(item.place, answer)

    def _give_up(self, flow: Flow, job: Job, error: RetryLaterError | GiveUpError) -> None:
        """Hand over why a job failed, and keep what the provider sent."""
        for item in job:
            self._usage.failures[error.reason] += 1
            draw = item.request.draw
            flow.deliver(item.place, Failed(error.reason, error.message, item.id, draw, error.raw))
            if self._store is not None:
                asked = _asked(item.request)
                lost = Lost(item.id, asked, error.reason, error.message, error.raw)
                self._store.put_lost(lost, lambda failed: failed and flow.stop(failed))

    def _check_provider(self, teacher: Teacher, error: RetryLaterError) -> None:
        """Stop the run where no other request would fare better.

        Raises:
            ProviderError: The endpoint was never reached, or is down for too long.
        """
        hint = "the same command goes on where this stopped"
        if error.is_unreachable and not self._has_answered:
            raise ProviderError(
                error.message, hint=f"is the server running, and is llm.base_url right? {hint}"
            )
        if "a web page" in error.message and not self._has_answered:
            raise ProviderError(error.message, hint="check llm.base_url (usually .../v1)")
        if teacher.pace.out_of_patience:
            waited = f"the provider was down for {teacher.settings.patience_s:g} s"
            raise ProviderError(
                f"{waited} (llm.patience_s); the last failure: {error.message}", hint=hint
            )

    def _check_refused(self, teacher: Teacher, error: GiveUpError) -> None:
        if not teacher.settings.stores_completions:
            return
        self._refused_in_a_row += 1
        if self._refused_in_a_row >= REFUSED_IN_A_ROW:
            raise ProviderError(
                f"the LLM refused {self._refused_in_a_row} requests in a row; "
                f"the last: {error.message}",
                hint="the same command goes on where this stopped",
            )

    @staticmethod
    async def _back_off(flow: Flow, attempts: int, retry_after_s: float | None) -> None:
        """Wait before an attempt: as long as the provider asks for, else longer each time."""
        longest = min(BACK_OFF_S * 2 ** max(attempts - 1, 0), LONGEST_BACK_OFF_S)
        # Jitter keeps clients that failed together from coming back together.
        wait_s = longest * random.uniform(0.5, 1.0)
        if retry_after_s:
            wait_s = min(retry_after_s, LONGEST_RETRY_AFTER_S) + BACK_OFF_S * random.random()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(flow.stopped.wait(), timeout=wait_s)


def _as_answer(item: Item, c: Completion) -> Completion:
    """Return what a backend answered, with what the engine knows of it."""
    return Completion(
        text=c.text,
        request_id=item.id,
        draw=item.request.draw,
        truncated=c.truncated,
        prompt_tokens=c.prompt_tokens,
        completion_tokens=c.completion_tokens,
        cached_tokens=c.cached_tokens,
        reasoning_tokens=c.reasoning_tokens,
        model=c.model or item.teacher.settings.model,
    )


def _entry(item: Item, answer: Completion) -> Entry:
    answered = {
        "text": answer.text,
        "truncated": answer.truncated,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }
    if answer.cached_tokens:
        answered["cached_tokens"] = answer.cached_tokens
    if answer.reasoning_tokens:
        answered["reasoning_tokens"] = answer.reasoning_tokens
    return Entry(item.id, _asked(item.request), answered, item.teacher.settings_id)


def _asked(request: Request) -> dict[str, object]:
    asked: dict[str, object] = {
        "prompt": request.prompt,
        "stream": request.stream,
        "draw": request.draw,
        "tags": dict(request.tags),
    }
    return asked | ({"turns": list(request.turns)} if request.turns else {})
