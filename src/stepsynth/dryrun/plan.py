"""The plan of a run: its requests, cost and time, before anything is sent.

Three rehearsals count the requests: with few errors and no reject, with the expected number of
errors, and with many errors and rejects.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stepsynth.dryrun.count import (
    EXPECTED,
    HIGH,
    LOW,
    Count,
    Rehearsed,
    is_set,
    rehearse,
)
from stepsynth.dryrun.stubs import BYTES_OF_A_TOKEN
from stepsynth.inputs import Prepared
from stepsynth.llm import LLMSettings
from stepsynth.taskfile import Config, chosen_phases

MOST_ROWS = 2000
"""Largest size that is rehearsed in full."""

PROMPT_RANGE = (0.8, 1.0, 1.25)
COMPLETION_RANGE = (0.5, 1.0, 1.5)
"""Factors of uncertain lengths: of prompts by the tokenizer, of answers by the LLM."""

FIRST_TOKEN_S = 1.0
TOKENS_PER_S = 50.0
"""Assumed speed of an endpoint: seconds before an answer begins, tokens per second."""

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Range:
    """Uncertain number, as an expected value with bounds."""

    low: float
    expected: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return the JSON form."""
        shown = (("low", self.low), ("expected", self.expected), ("high", self.high))
        return {name: round(value, 6) for name, value in shown}

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)


ZERO = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Phase:
    """All requests of one kind.

    Attributes:
        kind: The kind of prompt: seed, extrapolate, judge, ...; "total": all kinds.
        models: The LLMs that are asked, in turn.
        usd: None: the price of one of them is not known.
        minutes: None: not known, with a batch API (up to a day) or an LLM in this process.
    """

    kind: str
    models: tuple[str, ...]
    requests: Range
    prompt_tokens: Range
    completion_tokens: Range
    usd: Range | None
    minutes: Range | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        numbers = {name: getattr(self, name).to_dict() for name in COUNTED}
        return {
            "phase": self.kind,
            "models": list(self.models),
            **numbers,
            "usd": self.usd and self.usd.to_dict(),
            "minutes": self.minutes and self.minutes.to_dict(),
        }


COUNTED = ("requests", "prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Plan:
    """Plan of a run.

    Attributes:
        phases: The phases, in the order of their first requests.
        limits: The caps of the task file that the run would cross, and where.
        assumptions: The assumptions behind the numbers.
    """

    task: str
    method: str
    phases: tuple[Phase, ...]
    limits: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def total(self) -> Phase:
        """The sum of all phases."""
        return total_of(self.phases)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        total = {key: value for key, value in self.total.to_dict().items() if key != "phase"}
        return {
            "task": self.task,
            "method": self.method,
            "phases": [phase.to_dict() for phase in self.phases],
            "total": total,
            "limits": list(self.limits),
            "assumptions": list(self.assumptions),
        }


def total_of(phases: Sequence[Phase]) -> Phase:
    """Return the sum of phases; USD or minutes unknown for one phase are unknown for the sum."""

    def add(name: str) -> Range | None:
        ranges = [getattr(phase, name) for phase in phases]
        return None if None in ranges else sum(ranges, ZERO)

    counted = {name: add(name) or ZERO for name in COUNTED}
    models = tuple(dict.fromkeys(model for phase in phases for model in phase.models))
    return Phase("total", models, **counted, usd=add("usd"), minutes=add("minutes"))


def make_plan(prepared: Prepared, *, most_rows: int = MOST_ROWS) -> Plan:
    """Return the plan of a run. Nothing is sent, and no key is read.

    Args:
        prepared: The run.
        most_rows: Largest size to rehearse; counts of larger sizes are scaled up.
    """
    config, gold, inputs = prepared.config, prepared.gold, prepared.inputs
    name, method = config.name, config.method.name
    if config.llm is None:
        return Plan(name, method, (), (), (f"The method {method} asks no LLM.",))
    low, expected, high = (
        rehearse(config, gold, inputs, scenario, most_rows=most_rows)
        for scenario in (LOW, EXPECTED, HIGH)
    )
    phases = tuple(_phases(config.llm, low, expected, high))
    return Plan(
        name,
        method,
        phases,
        tuple(_limits(config, phases)),
        tuple(_assumptions(config, phases, (low, expected, high))),
    )


def is_free(settings: LLMSettings) -> bool:
    """Return whether the LLM costs nothing: answers are recordings or rules."""
    return not settings.stores_completions or settings.backend == "scripted"


def _phases(
    settings: LLMSettings, low: Rehearsed, expected: Rehearsed, high: Rehearsed
) -> Iterator[Phase]:
    for kind in dict.fromkeys([*expected.counts, *high.counts]):
        counts = [r.counts.get(kind, Count()) for r in (low, expected, high)]
        endpoints = settings.endpoints_of(kind)
        prompt = [c.prompt_tokens * share for c, share in zip(counts, PROMPT_RANGE, strict=True)]
        completion = [
            min(c.completion_tokens * share, c.requests * endpoints[0].live().max_tokens)
            for c, share in zip(counts, COMPLETION_RANGE, strict=True)
        ]
        asked = list(zip((c.requests for c in counts), prompt, completion, strict=True))
        usd = [_usd(endpoints, p, c) for _, p, c in asked]
        minutes = [_minutes(endpoints, *numbers) for numbers in asked]
        yield Phase(
            kind,
            tuple(dict.fromkeys(each.model for each in endpoints)),
            Range(*(c.requests for c in counts)),
            Range(*prompt),
            Range(*completion),
            _range(usd),
            _range(minutes),
        )


def _range(values: Sequence[float | None]) -> Range | None:
    known = [value for value in values if value is not None]
    return Range(*known) if len(known) == len(values) else None


def _usd(endpoints: Sequence[LLMSettings], prompt: float, completion: float) -> float | None:
    """Return the cost of tokens that several LLMs share evenly."""
    if all(map(is_free, endpoints)):
        return 0.0
    prices = [each.known_price() for each in endpoints]
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return None
    each = [(p.prompt * prompt + p.completion * completion) / 1e6 for p in known]
    return sum(each) / len(each)


def _minutes(
    endpoints: Sequence[LLMSettings], requests: float, prompt: float, completion: float
) -> float | None:
    """Return the minutes of requests, by their own time or by the limits per minute."""
    if any(each.is_batched or each.runs_here for each in endpoints):
        return None
    if all(map(is_free, endpoints)) or not requests:
        return 0.0
    each_s = FIRST_TOKEN_S + completion / requests / TOKENS_PER_S
    places = sum(endpoint.live().concurrency for endpoint in endpoints)
    rounds = max(1.0, requests / places)
    share = 1 / len(endpoints)
    asked = requests, prompt, completion
    limited = [
        amount * share / most
        for endpoint in endpoints
        for amount, most in zip(asked, endpoint.live().rates, strict=True)
        if most
    ]
    return max([rounds * each_s / 60, *limited])


def _limits(config: Config, phases: Sequence[Phase]) -> Iterator[str]:
    """Yield the caps that would stop the run, and in which phase.

    A run stops before a request that could cross a cap, even if its likely cost still fits.
    """
    assert config.llm is not None
    for key, cap in config.limits.model_dump().items():
        if cap is None:
            continue
        reached = [total_of(phases[: i + 1]) for i in range(len(phases))]
        for name, said in (("expected", "would"), ("high", "could")):
            at = [_amount(total, key, name) for total in reached]
            if not at or at[-1] is None:
                yield f"limits.{key} {cap:g}: whether that is enough is not known"
                break
            crossed = [
                phase.kind
                for phase, amount in zip(phases, at, strict=True)
                if amount is not None and amount + _held_back(config.llm, phase, key, name) > cap
            ]
            if crossed:
                why = "" if at[-1] > cap else ": the most that a request can cost is held back"
                yield f"limits.{key} {cap:g} {said} stop it in phase {crossed[0]}{why}"
                break


def _held_back(settings: LLMSettings, phase: Phase, key: str, name: str) -> float:
    """Return by how much the highest cost of a phase's request exceeds its expected cost."""
    requests, prompt, completion = (getattr(getattr(phase, each), name) for each in COUNTED)
    if key not in ("usd", "tokens") or not requests:
        return 0.0
    most = 0.0
    for each in settings.endpoints_of(phase.kind):
        price = each.known_price()
        rates = (1.0, 1.0) if key == "tokens" or price is None else (price.prompt, price.completion)
        # Until the provider has counted them, each byte of a prompt may be a token.
        longest = each.live().max_tokens
        more = (BYTES_OF_A_TOKEN - 1) * prompt / requests, longest - completion / requests
        held = rates[0] * more[0] + rates[1] * more[1]
        most = max(most, held if key == "tokens" else held / 1e6)
    return most


def _amount(total: Phase, key: str, name: str) -> float | None:
    found = (
        total.prompt_tokens + total.completion_tokens
        if key == "tokens"
        else getattr(total, key, None)
    )
    return None if found is None else getattr(found, name)


def _assumptions(
    config: Config, phases: Sequence[Phase], rehearsed: Sequence[Rehearsed]
) -> Iterator[str]:
    assert config.llm is not None
    settings, method = config.llm, config.method
    yield from dict.fromkeys(
        f"The rehearsal ended early, so that the counts are too low: {r.trouble}"
        for r in rehearsed
        if r.trouble
    )
    if all(map(is_free, settings.endpoints())):
        yield "No LLM is called: answers are recordings or rules."
    if any(phase.kind == "extrapolate" for phase in phases):
        shares = ", ".join(f"{s.wrong:.0%}" for s in (LOW, EXPECTED, HIGH))
        yield f"The student misclassifies {shares} of mine, in every round."
    yield "No answer is rejected; in the upper number every third one that is to become a row."
    yield (
        "A token is four bytes. Texts are as long as gold texts (half as long, half as long again)."
        " Reasoning tokens and retries are not counted."
    )
    if any(phase.minutes for phase in phases):
        yield (
            f"An answer takes {FIRST_TOKEN_S:g} s and 1 s for each {TOKENS_PER_S:g} tokens, with "
            f"{settings.live().concurrency} in flight. The time of training is not counted."
        )
    yield from _unknown_times([t for phase in phases for t in settings.endpoints_of(phase.kind)])
    yield from _special_cases(config, phases)
    unpriced = [phase.kind for phase in phases if phase.usd is None]
    if unpriced:
        yield f"The price is not known ({', '.join(unpriced)}): set llm.price."
    if any(r.is_scaled for r in rehearsed):
        yield f"It was rehearsed with fewer rows and scaled up to those of {method.name}."


def _unknown_times(endpoints: Sequence[LLMSettings]) -> Iterator[str]:
    if any(each.is_batched for each in endpoints):
        yield "A batch API answers within a day: how soon is not known."
    if any(each.runs_here for each in endpoints):
        yield "How fast an LLM in this process answers is not known; `stepsynth preview` shows it."


def _special_cases(config: Config, phases: Sequence[Phase]) -> Iterator[str]:
    method = config.method
    # A run may ask for corrections, which a rehearsal never needs.
    asked = {phase.kind for phase in phases} | ({"correct"} if config.curation.correct else set())
    for kind in sorted(chosen_phases(config.llm) - asked) if config.llm else ():
        yield f"llm.phases.{kind} is of no use: {method.name} asks for nothing of that kind."
    if config.retriever is not None:
        yield "Nothing was retrieved: random passages of the corpus stand in prompts."
    if any(phase.kind == "few_shot" for phase in phases) and not is_set(method, "needs_gold"):
        yield "Rows shown in prompts are made up, as long as gold texts."
    if is_set(method, "early_stop"):
        yield "method.early_stop may end it sooner."
    if config.curation.correct:
        yield "Corrections of answers that cannot be read are not counted."
    if (
        config.curation.duplicates != "keep"
        or config.curation.min_words
        or is_set(method, "drop_duplicates")
    ):
        yield "How many rows curation rejects is not known; see the upper number."
