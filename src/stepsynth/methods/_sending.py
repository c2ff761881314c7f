"""Sending of a method's requests, within its budget and without held-out texts."""

from collections.abc import Iterable, Sequence

from stepsynth.errors import ProviderError
from stepsynth.llm import LLM, Completion, Failed, Request
from stepsynth.methods._method import Setup, Unused
from stepsynth.methods._written import count_by_reason

BUDGET = "budget"
"""Failure reason of requests that were not sent because the budget was used up."""
FEWEST_TO_STOP = 10
"""Fewest requests of a phase that end the run if all fail, once others have been answered."""


def send(requests: Sequence[Request], setup: Setup, *, phase: str) -> list[Completion | Failed]:
    """Send as many requests as the spending limit allows; the rest fail as `budget`."""
    answers: list[Completion | Failed] = []
    while len(answers) < len(requests):
        taken = setup.spending.take(len(requests) - len(answers))
        if not taken:
            break
        batch = requests[len(answers) : len(answers) + taken]
        answers += _generate(batch, setup, phase)
    unpaid = Failed(BUDGET, "not sent: the budget is used up")
    return answers + [unpaid] * (len(requests) - len(answers))


def _generate(
    requests: Sequence[Request], setup: Setup, phase: str
) -> Sequence[Completion | Failed]:
    """Send requests, except those whose prompt holds a held-out text: they fail unsent."""
    stopped = [setup.curator.gate.stop_prompt(request.prompt) for request in requests]
    allowed = [each for each, reason in zip(requests, stopped, strict=True) if reason is None]
    answers = iter(setup.llm.generate(allowed, phase=phase))
    return [
        next(answers) if reason is None else Failed(reason, "not sent: it holds a held-out text")
        for reason in stopped
    ]


def check_answered(answers: Sequence[Completion | Failed], llm: LLM, *, phase: str) -> None:
    """Check that a phase had requests answered.

    Raises:
        ProviderError: None was; it carries the provider's last message.
    """
    sent = [answer for answer in answers if answer.request_id]
    failed = [answer for answer in sent if isinstance(answer, Failed)]
    if len(failed) < len(sent) or not llm.settings.stores_completions:
        return
    if len(failed) < (FEWEST_TO_STOP if llm.has_answered else 2):
        return
    last = failed[-1]
    raise ProviderError(
        f"none of {len(failed)} requests was answered ({phase}); the last failed as "
        f"{last.reason}: {last.message}",
        hint=last.hint or "the same command asks for them again",
    )


def warn_of_failed(unused: Iterable[Unused], setup: Setup, *, phase: str, asked: int) -> None:
    """Warn of failed requests, if there are any."""
    if failed := count_by_reason(unused, failed=True):
        listed = ", ".join(f"{count} {reason}" for reason, count in failed.items())
        setup.warn(f"{phase}: {sum(failed.values())} of {asked} requests failed: {listed}")


def warn_of_thoughts(answers: Iterable[Completion | Failed], setup: Setup, *, phase: str) -> None:
    """Warn if over a tenth of answers were cut off while a reasoning LLM was still thinking."""
    said = [answer for answer in answers if isinstance(answer, Completion)]
    cut = sum(each.truncated and not each.is_filtered and not each.text.strip() for each in said)
    if cut > len(said) / 10:
        setup.warn(
            f"{phase}: {cut} of {len(said)} answers were cut off before their text began: the LLM "
            "thinks first; set llm.max_tokens to what its thoughts take"
        )
