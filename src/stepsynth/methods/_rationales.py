"""Rationales: reasons why each label could apply (S3, Algorithm 1, lines 1-2)."""

from collections.abc import Iterable

from stepsynth._util.text import normalise
from stepsynth.llm import Request
from stepsynth.methods._writer import Writer


def ask_rationales(
    labels: Iterable[str], number: int, writer: Writer
) -> dict[str, tuple[str, ...]]:
    """Return `number` different rationales for each label: the paper's topK(P_LLM(T_ration)).

    A label with too few is asked again, up to three times in all.
    """
    setup = writer.setup
    found: dict[str, dict[str, str]] = {label: {} for label in labels}

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
        listed = writer.ask_lists(requests, setup.task.parse_rationales)
        for label, items in zip(short, listed, strict=True):
            for item in items:
                found[label].setdefault(normalise(item), item)
    for label, items in found.items():
        if len(items) < number:
            setup.warn(
                f"rationales: {len(items)} of {number} for the label {label!r}: the LLM listed no "
                "more that could be read (see rounds/0/asked.jsonl)"
            )
    return {label: tuple(items.values())[:number] for label, items in found.items()}
