"""Planned and actual usage of a run: `plan.json`."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stepsynth.dryrun import COUNTED, Plan, is_free, make_plan
from stepsynth.inputs import Prepared
from stepsynth.llm import LLM, Completion, Failed, LLMSettings, Numbered, Request, Usage
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.runner.shown import ShownGold

ROWS_IN_A_RUN = 450
"""Most rows of a rehearsal that a run waits for; enough to show which counts do not grow."""


@dataclass
class Tally:
    """Usage of a run, by kind of prompt.

    Attributes:
        seconds: Time spent waiting for the LLM in this invocation.
    """

    kinds: dict[str, Usage] = field(default_factory=dict)
    seconds: float = 0.0

    def count(self, request: Request, answer: Completion | Failed, endpoint: LLMSettings) -> None:
        """Add a request, its answer, and the settings of the LLM that was asked."""
        used = self.kinds.setdefault(request.tags.get("kind", ""), Usage())
        if isinstance(answer, Failed):
            used.requests += 1
            return
        # Of the answers to one grouped request, only one carries the tokens of the prompt.
        used.requests += endpoint.group_size == 1 or answer.prompt_tokens != 0
        used.count(answer, endpoint.known_price())

    def to_dict(self, *, from_store: int) -> dict[str, Any]:
        """Return the JSON form.

        Args:
            from_store: Completions that were in the store already.
        """
        keys = (*COUNTED, "usd")
        rows = {
            kind: {key: getattr(used, key) for key in keys} for kind, used in self.kinds.items()
        }
        known = [row["usd"] for row in rows.values() if row["usd"] is not None]
        total = {key: sum(row[key] for row in rows.values()) for key in COUNTED}
        usd = sum(known) if len(known) == len(rows) else None
        return {
            "phases": [{"phase": kind, **row} for kind, row in rows.items()],
            "total": {**total, "usd": usd, "minutes": self.seconds / 60},
            "from_store": from_store,
        }


class CountedLLM(LLM):
    """LLM that tallies the usage of each kind of prompt, and which gold texts prompts hold."""

    @cached_property
    def shown(self) -> ShownGold:
        """The gold texts in prompts so far; none are looked for unless it is set."""
        return ShownGold()

    @cached_property
    def tally(self) -> Tally:
        """The usage so far."""
        return Tally()

    def stream_numbered(
        self, requests: Iterator[Numbered], *, phase: str, total: int | None = None
    ) -> Iterator[Completion | Failed]:
        """Yield the answer to each request, in their order; see `LLM.stream_numbered`."""
        began = time.monotonic()
        asked: deque[Numbered] = deque()

        def taken() -> Iterator[Numbered]:
            for numbered in requests:
                asked.append(numbered)
                yield numbered

        for answer in super().stream_numbered(taken(), phase=phase, total=total):
            numbered = asked.popleft()
            endpoint = self.settings_of(numbered)
            self.tally.count(numbered.request, answer, endpoint)
            self.shown.look(numbered.request.prompt, endpoint.model)
            yield answer
        self.tally.seconds += time.monotonic() - began

    def used(self) -> dict[str, Any]:
        """Return the usage so far, in its JSON form."""
        return self.tally.to_dict(from_store=self.usage.from_store)


def plan_run(
    prepared: Prepared, budget: EqualBudget | None, warn: Callable[[str], None]
) -> Plan | None:
    """Return the plan of a run that is about to start, or None if it gets none.

    Planning takes a moment. Recordings and rules need no plan, nor do the runs of a comparison,
    whose budget decides what they ask. A plan that fails never stops a run.
    """
    llm = prepared.config.llm
    if llm is None or all(map(is_free, llm.endpoints())) or budget is not None:
        return None
    try:
        return make_plan(prepared, most_rows=ROWS_IN_A_RUN)
    except Exception as error:
        warn(f"this run goes on without a plan: {type(error).__name__}: {error}")
        return None


def compare_with_plan(plan: Mapping[str, Any], used: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the planned usage, the actual usage and the error of each phase and the total.

    Args:
        plan: `Plan.to_dict()`.
        used: `Tally.to_dict()`.

    Returns:
        Rows with the `phase` and a cell each for requests, tokens, USD and (in the total) minutes.
        A cell has `planned` (a range, or None), `used`, and `error`: (expected - used) / used, or
        None if unknown.
    """
    expected, done = ({row["phase"]: row for row in each["phases"]} for each in (plan, used))
    kinds = dict.fromkeys([*expected, *done])
    rows = [{"phase": k} | _cells(expected.get(k, {}), done.get(k, {})) for k in kinds]
    return [*rows, {"phase": "total"} | _cells(plan["total"], used["total"])]


def _cells(planned: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for key in (*COUNTED, "usd", "minutes"):
        expected, actual = planned.get(key), used.get(key)
        error = None
        if expected is not None and actual:
            error = (expected["expected"] - actual) / actual
        cells[key] = {"planned": expected, "used": actual, "error": error}
    return cells
