"""A single correction turn: an unreadable answer is requested once more, and never again."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from stepsynth.llm import Completion, Failed, Request
from stepsynth.methods._method import Setup
from stepsynth.methods._sending import BUDGET, send
from stepsynth.methods._written import Written

MENDABLE = ("empty", "no_object", "no_label", "no_texts", "answer_not_in_passage")
"""Faults of form, which the LLM can correct when told.

A refusal, or an answer longer than its limit, is not one. What curation rejects is replaced by a
further draw instead.
"""


def correct(
    requests: Sequence[Request],
    answers: Sequence[Completion | Failed],
    find_fault: Callable[[int, Completion], str | None],
    setup: Setup,
    written: Written,
    *,
    phase: str,
) -> list[Completion | Failed]:
    """Return the answers, with unreadable ones replaced by their corrections.

    A corrected answer keeps the draw of its original request, so that a recording of the run holds
    it as the answer to that request. If the correction is unreadable too, the first answer stays.
    All turns are noted. Recordings are never corrected: they hold no further answers.

    Args:
        requests: The original requests.
        answers: The answer to each.
        find_fault: Index and answer -> why the answer is unreadable, or None.
        setup: Turns corrections on or off; gives the LLM, the spending limit and the prompt.
        written: Corrections are noted here.
        phase: For the progress display.
    """
    kept = list(answers)
    if not (setup.curator.settings.correct and setup.llm.settings.stores_completions):
        return kept
    faults: dict[int, tuple[Completion, str]] = {}
    for place, answer in enumerate(answers):
        if isinstance(answer, Completion) and answer.text.strip():
            reason = find_fault(place, answer)
            if reason in MENDABLE:
                faults[place] = answer, reason
    turns = [
        replace(
            requests[place],
            stream=f"correct/{first.request_id}",
            tags={**requests[place].tags, "kind": "correct"},
            turns=(first.text, setup.task.render("correct", reason=reason)),
        )
        for place, (first, reason) in faults.items()
    ]
    second = send(turns, setup, phase=f"{phase}: corrections")
    for (place, (first, reason)), turn, answer in zip(faults.items(), turns, second, strict=True):
        if isinstance(answer, Failed) and answer.reason == BUDGET:
            break
        said = answer.text if isinstance(answer, Completion) else None
        is_mended = isinstance(answer, Completion) and find_fault(place, answer) is None
        written.note(
            "corrected",
            request=first.request_id,
            reason=reason,
            completion=first.text,
            correction=turn.turns[-1],
            answered=answer.request_id,
            answer=said,
            is_mended=is_mended,
        )
        if is_mended:
            kept[place] = replace(answer, draw=first.draw)
    return kept
