"""Run a method against stand-ins, and count what it would ask of the LLM.

The method is the configured one and so are its prompts: no formula per method has to be kept in
step with the code. Nothing is sent, trained or written, and no key is read.

Large sizes are not rehearsed in full. A rehearsal of some hundred rows and one of half as many show
how the number of requests of each kind grows; what does not grow (rationales, dimensions) stays.
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
from stepsynth.methods import MIN_WORDS, Method, Model, Setup, run_method, texts_per_prompt
from stepsynth.records import Dataset
from stepsynth.taskfile import Config

T = TypeVar("T")

ROW_SIZES = ("seed_size", "size", "added_size", "max_added")
"""Keys of methods that are numbers of rows."""

NOT_ROWS = {"judge", "decide", "suits", "context"} | LIST_KINDS
"""Kinds whose answers are no rows: they are never rejected in a rehearsal."""


@dataclass(frozen=True)
class Scenario:
    """What a rehearsal supposes of the student and the LLM.

    Attributes:
        wrong: Share of `mine` that the student misclassifies, in every round.
        rejected: Every third row is rejected, so that the method draws again.
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
    """Requests of one kind, with the tokens of all of them together."""

    requests: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0

    def at(self, requests: float) -> "Count":
        """Return the count of so many requests that are like these."""
        share = requests / self.requests if self.requests else 0.0
        return Count(requests, share * self.prompt_tokens, share * self.completion_tokens)


Counts = dict[str, Count]
"""Kind of prompt -> its count, in the order in which kinds are first asked."""


@dataclass(frozen=True)
class Rehearsed:
    """What a rehearsal has shown.

    Attributes:
        counts: What the method asks for, by kind.
        is_scaled: It was rehearsed with fewer rows, and its counts were scaled up.
        trouble: Why it ended early, if it did: then counts are too low.
    """

    counts: Counts
    is_scaled: bool = False
    trouble: str = ""


class _NoBackend(Backend[Any]):
    async def complete(self, request: Request) -> NoReturn:
        raise AssertionError("a rehearsal sends nothing")


class RehearsedLLM(LLM):
    """Answers at once by a stub, and counts.

    Args:
        settings: Those of the LLM that is stood in for.
        stub: Says what is answered.
        rejected: Give an empty answer in place of every third row.
    """

    def __init__(self, settings: LLMSettings, stub: StubLLM, *, rejected: bool = False) -> None:
        super().__init__(_NoBackend(settings.model_copy(update={"phases": {}}), 0))
        self.counts: Counts = {}
        self._endpoints_of = settings.endpoints_of
        self._stub = stub
        self._rejected = rejected
        self._asked: Counter[str] = Counter()
        self._repeats: Counter[tuple[int, str, str]] = Counter()
        self._turns: Counter[str] = Counter()
        self._sent: set[object] = set()
        self._rows = 0

    def generate(self, requests: Sequence[Request], *, phase: str) -> list[Completion | Failed]:
        """Return an answer to each request."""
        self._sent.clear()
        return [self._answer(request) for request in requests]

    def stream(
        self, requests: Iterable[Request], *, phase: str, total: int | None = None
    ) -> Iterator[Completion | Failed]:
        """Yield an answer to each request."""
        self._sent.clear()
        yield from map(self._answer, requests)

    def close(self) -> None:
        """There is nothing to close."""

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
        """Return what repeats of a prompt have in common that are sent once, for one answer each.

        As the engine groups them: those of one call, by the LLM whose turn it is.
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
    """A set-up in which models are asked about `select` and not scored: that takes libraries."""

    def score(self, model: Model) -> float:
        """Return 0.0."""
        model.predict(self.select)
        return 0.0


@dataclass(frozen=True)
class Scale:
    """How a run is made small: a number `full` becomes `small` at 0, and is itself at 1.

    Between and beyond every number moves along its own line, so that requests that grow in step
    with any of them do too, and two rehearsals tell what there are at 1.

    Attributes:
        most: Most rows of anything in a rehearsal.
        share: What the method's sizes are multiplied by at 0.
        place: Where on the lines this rehearsal is.
    """

    most: int
    share: float
    place: float = 0.0

    @classmethod
    def of(cls, method: Method, most: int) -> "Scale":
        """Return the scale at which no size of a method is above `most`."""
        largest = max([getattr(method, key, None) or 0 for key in ROW_SIZES])
        return cls(most, min(1.0, most / largest) if largest else 1.0)

    def halfway(self, lengths: Iterable[int]) -> "Scale":
        """Return a smaller scale, at which what is scaled most is halved.

        Args:
            lengths: Of the rows that are cut too.
        """
        lines = [(self.share, 1.0)] if self.share < 1 else []
        lines += [(float(self.most), float(full)) for full in lengths if full > self.most]
        steps = [small / 2 / (full - small) for small, full in lines]
        return replace(self, place=-min(steps, default=0.0))

    def cut(self, rows: Sequence[T]) -> list[T]:
        """Return some of the rows, evenly from all of them."""
        number = self._move(float(min(self.most, len(rows))), float(len(rows)))
        return [rows[i * len(rows) // number] for i in range(number)] if rows else []

    def size(self, method: Method) -> Method:
        """Return the method with smaller sizes."""
        sizes = {key: getattr(method, key, None) for key in ROW_SIZES}
        found = {key: self._move(self.share * v, float(v)) for key, v in sizes.items() if v}
        return method.model_copy(update=found)

    def _move(self, small: float, full: float) -> int:
        return max(1, round(small + self.place * (full - small)))

    def extend(self, at_zero: Counts, here: Counts) -> Counts:
        """Return the counts at 1, of those at 0 and here."""
        extended: Counts = {}
        for kind, known in at_zero.items():
            other = here.get(kind, Count()).requests
            slope = (other - known.requests) / self.place
            extended[kind] = known.at(max(0.0, round(known.requests + slope)))
        return extended


def rehearse(
    config: Config, gold: Gold, inputs: Inputs, scenario: Scenario, *, most_rows: int
) -> Rehearsed:
    """Return what the method of a configuration would ask of its LLM.

    Args:
        config: The run; its LLM is not asked.
        gold: The rows; those of test are looked at where the method asks the LLM about them.
        inputs: Contexts, passages and given rows.
        scenario: What is supposed.
        most_rows: Larger sizes are scaled down to this.
    """
    first = Scale.of(config.method, most_rows)
    lengths = [len(gold.mine), len(gold.select), len(gold.test), len(inputs.contexts)]
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
        fewest_words=MIN_WORDS if getattr(method, "cleaning", False) else 0,
        texts_per_prompt=texts_per_prompt(method),
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
    """Return the method as it goes on longest: nobody knows when it would stop."""
    return method.model_copy(update={"early_stop": False} if hasattr(method, "early_stop") else {})


def tolerant(config: Config) -> Any:
    """Return the curation without the filters that made-up texts could not pass."""
    off = {"copies": False, "min_words": None, "max_words": None, "duplicates": "keep"}
    return config.curation.model_copy(update=off)
