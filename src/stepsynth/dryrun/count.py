"""Rehearsals: a method runs against stand-ins, and its requests are counted.

The method and its prompts are the configured ones, so no formula per method has to be kept in step
with the code. Nothing is sent, trained or written, and no key is read.

Large sizes are not rehearsed in full. A rehearsal of some hundred rows and one of half as many show
how the number of requests of each kind grows. Constant numbers (rationales, dimensions) stay.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

from stepsynth._util.rng import make_rng
from stepsynth.curation import Curator
from stepsynth.data import Gold
from stepsynth.dryrun.lengths import fit_task, text_tokens
from stepsynth.dryrun.stubs import (
    LIST_KINDS,
    PretendFactory,
    PretendIndex,
    PretendStudent,
    StubLLM,
    count_tokens,
)
from stepsynth.errors import StepsynthError
from stepsynth.inputs import Inputs
from stepsynth.llm import LLM, Backend, Completion, Failed, LLMSettings, Request
from stepsynth.methods import Method, Model, Setup, run_method
from stepsynth.records import Dataset
from stepsynth.taskfile import Config

T = TypeVar("T")

ROW_SIZES = ("seed_size", "size", "added_size", "max_added")
"""Keys of methods that hold a number of rows."""

NOT_ROWS = {"judge", "decide", "suits", "context"} | LIST_KINDS
"""Kinds of prompt whose answers are no rows."""


@dataclass(frozen=True)
class Scenario:
    """Assumptions of a rehearsal on the student and the LLM.

    Attributes:
        wrong: Share of `mine` that the student misclassifies, in every round.
        rejected: Whether every third row is rejected, so that the method draws again.
        by_label: Share of attributes whose values depend on the label.
    """

    wrong: float
    rejected: bool
    by_label: float


LOW = Scenario(wrong=0.05, rejected=False, by_label=0.0)
EXPECTED = Scenario(wrong=0.25, rejected=False, by_label=0.5)
HIGH = Scenario(wrong=0.5, rejected=True, by_label=1.0)


@dataclass
class Count:
    """Number of requests of one kind, with their total tokens."""

    requests: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0

    def at(self, requests: float) -> "Count":
        """Return the count of another number of such requests."""
        share = requests / self.requests if self.requests else 0.0
        return Count(requests, share * self.prompt_tokens, share * self.completion_tokens)


Counts = dict[str, Count]
"""Kind of prompt -> its count, in the order in which kinds are first asked."""


@dataclass(frozen=True)
class Rehearsed:
    """Result of a rehearsal.

    Attributes:
        counts: The requests of the method, by kind.
        is_scaled: Whether fewer rows were rehearsed, and the counts scaled up.
        trouble: Why it ended early, if so; the counts are then too low.
    """

    counts: Counts
    is_scaled: bool = False
    trouble: str = ""


class NoBackend(Backend[Any]):
    """Backend that never sends anything."""

    async def complete(self, request: Request) -> NoReturn:
        """Raise: no request may come here."""
        raise AssertionError("a dry run sends nothing")


class RehearsedLLM(LLM):
    """LLM that answers at once by a stub, and counts the requests.

    Args:
        settings: The settings of the real LLM.
        stub: Makes up the answers.
        rejected: Give an empty answer in place of every third row.
    """

    def __init__(self, settings: LLMSettings, stub: StubLLM, *, rejected: bool = False) -> None:
        super().__init__(NoBackend(settings.model_copy(update={"phases": {}}), 0))
        self.counts: Counts = {}
        self._endpoints_of = settings.endpoints_of
        self._stub = stub
        self._rejected = rejected
        self._asked: Counter[str] = Counter()
        self._repeats: Counter[tuple[int, str, str]] = Counter()
        self._turns: Counter[str] = Counter()
        self._sent: set[object] = set()
        self._rows = 0

    def stream(
        self, requests: Iterable[Request], *, phase: str, total: int | None = None
    ) -> Iterator[Completion | Failed]:
        """Yield an answer to each request."""
        self._sent.clear()
        yield from map(self._answer, requests)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _answer(self, request: Request) -> Completion:
        kind = request.tags.get("kind", "")
        said = self._stub.say(request)
        tokens = min(count_tokens(said), self.settings.live().longest(request))
        found = self.counts.setdefault(kind, Count())
        group = self._group(request, kind)
        if group not in self._sent:
            self._sent.add(group)
            found.requests += 1
            found.prompt_tokens += count_tokens(request.prompt)
        found.completion_tokens += tokens
        draw = self._asked[request.stream]
        self._asked[request.stream] += 1
        if kind not in NOT_ROWS:
            self._rows += 1
            if self._rejected and self._rows % 3 == 0:
                said = ""
        return Completion(said, f"rehearsed/{request.stream}/{draw}", draw)

    def _group(self, request: Request, kind: str) -> object:
        """Return the key of the group of equal prompts that is sent as one request.

        The engine groups likewise: prompts of one call, by the LLM whose turn it is.
        """
        endpoints = self._endpoints_of(kind)
        turn = self._turns[kind] % len(endpoints)
        self._turns[kind] += 1
        if request.turns:
            return object()
        key = (turn, request.stream, request.prompt)
        self._repeats[key] += 1
        return *key, (self._repeats[key] - 1) // endpoints[turn].group_size


@dataclass(frozen=True, kw_only=True)
class _Unscored(Setup):
    """Set-up in which models predict `select` but are not scored, which would need libraries."""

    def score(self, model: Model) -> float:
        """Return 0.0."""
        model.predict(self.select)
        return 0.0


@dataclass(frozen=True)
class Scale:
    """Linear scale of a run's numbers: each is small at place 0 and full at place 1.

    Between and beyond these places, each number moves along its own line. Requests in proportion
    to any of them do too, so two rehearsals tell the number of requests at place 1.

    Attributes:
        most: Most rows of any data in a rehearsal.
        share: Factor of the method's sizes at place 0.
        place: The place of this rehearsal.
    """

    most: int
    share: float
    place: float = 0.0

    @classmethod
    def of(cls, method: Method, most: int) -> "Scale":
        """Return the scale on which no size of a method is above `most` at place 0."""
        largest = max(getattr(p, key, None) or 0 for p in method.parts for key in ROW_SIZES)
        return cls(most, min(1.0, most / largest) if largest else 1.0)

    def halfway(self, lengths: Iterable[int]) -> "Scale":
        """Return the scale at a place below 0, where the most reduced number is halved.

        Args:
            lengths: Numbers of rows that are cut too.
        """
        lines = [(self.share, 1.0)] if self.share < 1 else []
        lines += [(float(self.most), float(full)) for full in lengths if full > self.most]
        steps = [small / 2 / (full - small) for small, full in lines]
        return replace(self, place=-min(steps, default=0.0))

    def cut(self, rows: Sequence[T]) -> list[T]:
        """Return a part of the rows, evenly spaced."""
        number = self._move(float(min(self.most, len(rows))), float(len(rows)))
        return [rows[i * len(rows) // number] for i in range(number)] if rows else []

    def size(self, method: Method) -> Method:
        """Return the method with smaller sizes."""
        return method.mapped(self._size)

    def _size(self, method: Method) -> Method:
        sizes = {key: getattr(method, key, None) for key in ROW_SIZES}
        found = {key: self._move(self.share * v, float(v)) for key, v in sizes.items() if v}
        return method.model_copy(update=found)

    def _move(self, small: float, full: float) -> int:
        return max(1, round(small + self.place * (full - small)))

    def extend(self, at_zero: Counts, here: Counts) -> Counts:
        """Return the counts at place 1, extrapolated from those at place 0 and at this one."""
        extended: Counts = {}
        for kind, known in at_zero.items():
            other = here.get(kind, Count()).requests
            slope = (other - known.requests) / self.place
            extended[kind] = known.at(max(0.0, round(known.requests + slope)))
        return extended


def rehearse(
    config: Config, gold: Gold, inputs: Inputs, scenario: Scenario, *, most_rows: int
) -> Rehearsed:
    """Return the requests that the method of a configuration would send.

    Args:
        config: The run; its LLM is not asked.
        gold: The rows; those of test count if the method asks the LLM about them.
        inputs: Contexts, passages and given rows.
        scenario: The assumptions.
        most_rows: Larger sizes are scaled down to this.
    """
    if config.method.needs_unlabelled:
        size = min(getattr(config.method, "size", 0), len(inputs.unlabelled))
        config = replace(config, method=config.method.model_copy(update={"size": size}))
    first = Scale.of(config.method, most_rows)
    lengths = [len(gold.mine), len(gold.select), len(gold.test), len(inputs.contexts)]
    lengths.append(len(inputs.unlabelled))
    second = first.halfway(lengths)
    counts, trouble = _rehearse_at(first, config, gold, inputs, scenario)
    if not second.place:
        return Rehearsed(counts, trouble=trouble)
    smaller, _ = _rehearse_at(second, config, gold, inputs, scenario)
    return Rehearsed(second.extend(counts, smaller), is_scaled=True, trouble=trouble)


def _rehearse_at(
    scale: Scale, config: Config, gold: Gold, inputs: Inputs, scenario: Scenario
) -> tuple[Counts, str]:
    assert config.llm is not None
    method = without_early_stop(scale.size(config.method))
    rng = make_rng(config.random_seed, "rehearsal")
    stub = StubLLM(
        config.task,
        replace(scale, place=0.0).cut([*gold.mine, *gold.select]),
        by_label=scenario.by_label,
        method=method,
        rng=rng,
    )
    llm = RehearsedLLM(config.llm, stub, rejected=scenario.rejected)
    student = PretendStudent(wrong=scenario.wrong)
    setup = _Unscored(
        task=fit_task(config.task, config.method, gold.mine),
        llm=llm,
        student=PretendFactory(student, config.task.label_names, config.random_seed),
        mine=Dataset(scale.cut(gold.mine)),
        select=Dataset(scale.cut(gold.select)),
        random_seed=config.random_seed,
        warn=lambda _: None,
        contexts=tuple(scale.cut(inputs.contexts)),
        index=PretendIndex(inputs.passages, method, rng) if inputs.passages else None,
        given=inputs.given,
        unlabelled=Dataset(scale.cut(inputs.unlabelled)),
        curator=Curator(tolerant(config)),
        text_tokens=text_tokens(gold.mine),
    )
    try:
        for done in run_method(method, setup):
            if done.model.student is None:  # the LLM itself: the runner asks it about test
                done.model.predict(Dataset(scale.cut(gold.test)))
    except StepsynthError as error:
        return llm.counts, error.message
    return llm.counts, ""


def without_early_stop(method: Method) -> Method:
    """Return the method without early stopping, whose round cannot be foreseen."""

    def change(part: Method) -> Method:
        return part.model_copy(update={"early_stop": False} if hasattr(part, "early_stop") else {})

    return method.mapped(change)


def is_set(method: Method, key: str) -> bool:
    """Return whether a key is there and on, of the method or of one that it has as a key."""
    return any(getattr(part, key, False) for part in method.parts)


def tolerant(config: Config) -> Any:
    """Return the curation without filters that made-up texts could not pass."""
    off = {"copies": False, "min_words": None, "max_words": None, "duplicates": "keep"}
    return config.curation.model_copy(update=off)
