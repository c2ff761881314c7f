"""What is asked of the LLM for rows, and what came back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepsynth.errors import ProviderError
from stepsynth.llm import LLM, Completion, Failed, Request
from stepsynth.methods._method import Setup, Unused
from stepsynth.records import Example, Provenance, Rejected

BUDGET = "budget"
"""The reason of a request that was not sent since the purse was empty."""
FEWEST_TO_STOP = 10
"""Requests of a phase that end the run when all of them fail, where others were answered before."""


@dataclass(frozen=True)
class Wish:
    """A row to ask for.

    Attributes:
        prompt: What the LLM is sent.
        like: Has the label and the context of the row; its text is the error that is extrapolated
            ("" for seed data).
        provenance: Where the row will have come from.
        check: What a method makes of the row that was read: the row, shorter or as it is, or why
            it is none; None: it takes every row.
        shots: Gold rows that the prompt shows as examples: curation rejects copies of them.
        schema: JSON Schema of the answer; None: it is no JSON.
        note: What the method knows of the row beyond that: `Written.known` has it by request.
    """

    prompt: str
    like: Example
    provenance: Provenance
    check: Callable[[Example], Example | Rejected] | None = None
    shots: Sequence[Example] = ()
    schema: Mapping[str, Any] | None = None
    note: Mapping[str, Any] = field(default_factory=dict)

    def request(self) -> Request:
        """Return the request of this wish.

        The stream of an extrapolation is its parent's: the n-th row written from one gold row is
        one draw, whichever round or method asks for it, and never a repetition.
        """
        tags = {"kind": self.provenance.kind, "label": str(self.like.label)}
        if self.like.context is not None:
            tags["context"] = self.like.context
        if not self.like.text:
            stream = self.provenance.kind
        else:
            tags["source"] = self.like.text
            stream = f"extrapolate/{self.like.id}"
        return Request(self.prompt, stream=stream, tags=tags, schema=self.schema)


@dataclass
class Written:
    """What the LLM wrote for some wishes.

    Attributes:
        rows: Those that are kept.
        unused: Answers that became no row, and requests without an answer.
        exchanges: Id of a request -> its prompt and what the LLM wrote, verbatim.
        known: Id of a request -> what its method knew when it asked: the note of its wish.
        rationales: Label -> what its rows were written from.
        asked: What was asked for before rows, as recordings.
        notes: Name of a file -> its lines.
    """

    rows: list[Example] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    exchanges: dict[str, tuple[str, str]] = field(default_factory=dict)
    known: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rationales: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    notes: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def note(self, name: str, **values: Any) -> None:
        """Add a line to the file of that name in the round's folder."""
        self.notes.setdefault(name, []).append(values)

    def note_rows(self, name: str) -> None:
        """Add a line for each row: its request, and what was known when it was asked for."""
        for row in self.rows:
            request = row.provenance.request
            self.note(name, request=request, **self.known[request])

    def extend(self, other: "Written") -> None:
        """Add what a further call brought."""
        self.rows += other.rows
        self.unused += other.unused
        self.exchanges |= other.exchanges
        self.known |= other.known
        self.asked += other.asked
        for name, lines in other.notes.items():
            self.notes.setdefault(name, []).extend(lines)


def send(requests: Sequence[Request], setup: Setup, *, phase: str) -> list[Completion | Failed]:
    """Have requests answered, as many as the purse allows; the rest fail as `budget`."""
    answers: list[Completion | Failed] = []
    while len(answers) < len(requests):
        taken = setup.purse.take(len(requests) - len(answers))
        if not taken:
            break
        batch = requests[len(answers) : len(answers) + taken]
        answers += _generate(batch, setup, phase)
    unpaid = Failed(BUDGET, "not sent: the budget is used up")
    return answers + [unpaid] * (len(requests) - len(answers))


def _generate(
    requests: Sequence[Request], setup: Setup, phase: str
) -> Sequence[Completion | Failed]:
    """Have requests answered, but those whose prompt holds a held-out text: they fail unsent."""
    if setup.curator is None:
        return setup.llm.generate(requests, phase=phase)
    stopped = [setup.curator.gate.stop_prompt(request.prompt) for request in requests]
    allowed = [each for each, reason in zip(requests, stopped, strict=True) if reason is None]
    answers = iter(setup.llm.generate(allowed, phase=phase))
    return [
        next(answers) if reason is None else Failed(reason, "not sent: it holds a held-out text")
        for reason in stopped
    ]


def check_answered(answers: Sequence[Completion | Failed], llm: LLM, *, phase: str) -> None:
    """Stop where no request of a phase was answered.

    Raises:
        ProviderError: With what the provider said last.
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
    """Warn of requests that were given up, if there are any."""
    if failed := count_by_reason(unused, failed=True):
        listed = ", ".join(f"{count} {reason}" for reason, count in failed.items())
        setup.warn(f"{phase}: {sum(failed.values())} of {asked} requests failed: {listed}")


def warn_of_thoughts(answers: Iterable[Completion | Failed], setup: Setup, *, phase: str) -> None:
    """Warn where an LLM that thinks first was cut off before it began its answer."""
    said = [answer for answer in answers if isinstance(answer, Completion)]
    cut = sum(each.truncated and not each.is_filtered and not each.text.strip() for each in said)
    if cut > len(said) / 10:
        setup.warn(
            f"{phase}: {cut} of {len(said)} answers were cut off before their text began: the LLM "
            "thinks first; set llm.max_tokens to what its thoughts take"
        )


def count_by_reason(unused: Iterable[Unused], *, failed: bool) -> Mapping[str, int]:
    """Return how often each reason occurs, among failed requests or among rejected answers."""
    counts: dict[str, int] = {}
    for item in unused:
        if item.is_failed == failed:
            counts[item.rejected.reason] = counts.get(item.rejected.reason, 0) + 1
    return dict(sorted(counts.items()))
