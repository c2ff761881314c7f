"""The LLM as a judge of whether a row has the label it was written for.

Gupta et al.: "TarGEN: Targeted Data Generation with Large Language Models", COLM 2024, section on
self-correction: the LLM sees each row with its label, explains, and names the right label.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from stepsynth.llm import Completion, Request
from stepsynth.methods._method import Setup, Unused
from stepsynth.methods._reading import read_decision
from stepsynth.methods._sending import send
from stepsynth.methods._written import Written
from stepsynth.records import Example, Label, Rejected


def judge_labels(
    written: Written, setup: Setup, *, on_wrong: Literal["drop", "relabel"], phase: str
) -> None:
    """Have the LLM judge the label of every row, one request each; change `written` in place.

    A row without a verdict stays as it is, and is counted in a warning.

    Args:
        written: Rows with a wrong label are removed from it, or get the label the judge names.
        setup: Gives the LLM and the task's prompts.
        on_wrong: Whether a row with a wrong label is dropped or relabelled.
        phase: For the progress display.
    """
    verdicts = _ask(written, setup, phase)
    kept: list[Example] = []
    undecided = 0
    for row, verdict in zip(written.rows, verdicts, strict=True):
        undecided += verdict is None
        if verdict is None or verdict == row.label:
            kept.append(row)
            continue
        written.note(
            "judged", request=row.provenance.request, text=row.text, was=row.label, now=verdict
        )
        if on_wrong == "relabel":
            kept.append(replace(row, label=verdict))
        else:
            reason = Rejected("wrong_label", row.text)
            written.unused.append(
                Unused(reason, str(row.label), row.provenance, context=row.context)
            )
    if undecided:
        setup.warn(f"{phase}: {undecided} of {len(verdicts)} rows got no verdict and were kept")
    written.rows = kept


def _ask(written: Written, setup: Setup, phase: str) -> Sequence[Label | None]:
    """Return the label that the judge names for every row, or None."""
    requests = [
        Request(
            setup.task.prompt("judge", row),
            stream=f"judge/{row.provenance.request}",
            tags={"kind": "judge", "label": str(row.label), "source": row.text},
        )
        for row in written.rows
    ]
    verdicts: list[Label | None] = []
    answers = send(requests, setup, phase=phase)
    for row, request, answer in zip(written.rows, requests, answers, strict=True):
        verdicts.append(read_decision(answer, row, setup.task))
        if isinstance(answer, Completion):
            written.exchanges[answer.request_id] = (request.prompt, answer.text)
            written.asked.append({**request.tags, "draw": answer.draw, "completion": answer.text})
    return verdicts
