"""Reasons why each label could apply: the paper's topK(P_LLM(T_ration))."""

from collections.abc import Iterable

from stepsynth._util.text import normalise
from stepsynth.llm import Completion, Request
from stepsynth.methods._method import Setup
from stepsynth.methods._steps import ask
from stepsynth.methods._written import Written
from stepsynth.records import Rejected


def ask_rationales(
    labels: Iterable[str], number: int, setup: Setup, written: Written, *, method: str
) -> dict[str, tuple[str, ...]]:
    """Return `number` different rationales for each label: the paper's topK(P_LLM(T_ration)).

    A label whose answer held too few is asked again, three times at most.
    """
    found: dict[str, dict[str, str]] = {label: {} for label in labels}

    def parse(answer: Completion, _: Request) -> tuple[str, ...] | Rejected:
        return setup.task.parse_rationales(answer.text, truncated=answer.truncated)

    for _ in range(3):
        short = [label for label in found if len(found[label]) < number]
        if not short:
            break
        requests = [
            Request(
                setup.task.rationale_prompt(label, number),
                stream=f"rationale/{label}",
                tags={"kind": "rationale", "label": label},
            )
            for label in short
        ]
        listed = ask(requests, parse, setup, written, method=method)
        for label, items in zip(short, listed, strict=True):
            for item in items or ():
                found[label].setdefault(normalise(item), item)
    for label, items in found.items():
        if len(items) < number:
            setup.warn(
                f"rationales: {len(items)} of {number} for the label {label!r}: the LLM listed no "
                "more that could be read (see rounds/0/asked.jsonl)"
            )
    return {label: tuple(items.values())[:number] for label, items in found.items()}
