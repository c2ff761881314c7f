"""A preview of a run by a few requests: real prompts, real answers, real rows.

The configured method runs, but only the first requests of each kind go to the LLM. The others get
made-up answers, and a prompt that contains one is never sent. The student is a stand-in that is
wrong on a few rows of `mine`. So these are the first requests of the run, and their answers are in
its store.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stepsynth._util.hashing import digest
from stepsynth._util.rng import make_rng
from stepsynth.data import Gold
from stepsynth.dryrun import (
    LIST_KINDS,
    MARK,
    NOT_ROWS,
    PretendFactory,
    PretendIndex,
    PretendStudent,
    RehearsedLLM,
    Scale,
    StubLLM,
    without_early_stop,
)
from stepsynth.errors import StepsynthError
from stepsynth.inputs import Prepared, prepare
from stepsynth.llm import LLM, Completion, Failed, LLMSettings, Request
from stepsynth.methods import Method, Round, Setup, run_method
from stepsynth.observer import Observer
from stepsynth.prompts import parse_list
from stepsynth.records import Example, Rejected, label_to_json
from stepsynth.runner import Progress, Runner, make_setup, open_llm
from stepsynth.taskfile import Config
from stepsynth.tasks import Task
from stepsynth.tasks.extractive_qa import ExtractiveQA

LISTS_ASKED = 20
NEEDED_LISTS = frozenset({"rationale", "dimensions", "values", "similar", "domains"})
"""Kinds of lists that most prompts contain: as many are sent as these need, up to `LISTS_ASKED`."""

FED_BACK = 30
"""Most rows to ask for so that every label has some to show in prompts."""

MOST_ROWS = 2000
_UNSENT = "zqk"
"""Prefix of words that stand for an answer of the LLM when nothing is sent."""


@dataclass
class Shown:
    """Exchange with the LLM.

    Attributes:
        row: The result of the answer: a row, a list of items or a label; None: nothing.
        rejected: Why the answer is not used, if so.
        failed: Why there is no answer, if there is none.
        passage: The passage that the request names, if any.
    """

    kind: str
    prompt: str
    turns: tuple[str, ...] = ()
    answer: str = ""
    row: Any = None
    rejected: str = ""
    failed: str = ""
    request_id: str = ""
    passage: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        shown = {"prompt": self.prompt, "answer": self.answer, "row": self.row}
        turns = {"turns": list(self.turns)} if self.turns else {}
        return {**shown, **turns, "rejected": self.rejected or None, "failed": self.failed or None}


@dataclass
class Preview:
    """Result of a preview.

    Attributes:
        kinds: Kind of prompt -> exchanges, in the order in which kinds are asked.
        unshown: Further kinds of the method, of which no prompt could be sent here.
        usage: The requests sent, and their cost.
        store: The store of the completions; None: there is none.
        error: The error that stopped the preview early, if any.
    """

    kinds: dict[str, list[Shown]] = field(default_factory=dict)
    unshown: tuple[str, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    store: Path | None = None
    error: StepsynthError | KeyboardInterrupt | None = None

    @property
    def is_all_failed(self) -> bool:
        """Whether requests were sent and none was answered."""
        shown = [each for several in self.kinds.values() for each in several]
        return bool(shown) and all(each.failed for each in shown)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kinds": {k: [each.to_dict() for each in several] for k, several in self.kinds.items()},
            "unshown": list(self.unshown),
            "llm": dict(self.usage),
            "store": str(self.store) if self.store else None,
        }


class PreviewLLM(RehearsedLLM):
    """LLM that passes on the first requests of each kind, and makes up the other answers.

    Args:
        settings: The settings of the LLM.
        stub: Makes up answers.
        most: Most requests of a kind that are passed on.
        lists: Most prompts of lists that other prompts contain.
        pass_on: The LLM, or a stand-in for it, that receives them.
    """

    def __init__(
        self,
        settings: LLMSettings,
        stub: StubLLM,
        most: int,
        lists: int,
        pass_on: "LLM | StubLLM",
    ) -> None:
        super().__init__(settings, stub)
        self.shown: list[Shown] = []
        self.kinds: dict[str, int] = {}
        self._prompts: dict[str, set[str]] = {}
        self._most = most
        self._lists = lists
        self._pass_on = pass_on

    def stream(
        self, requests: Iterable[Request], *, phase: str, total: int | None = None
    ) -> Iterator[Completion | Failed]:
        """Yield an answer to each request, in their order."""
        requests = list(requests)
        due = [place for place, request in enumerate(requests) if self._is_due(request)]
        passed = [requests[place] for place in due]
        if isinstance(self._pass_on, LLM):
            real = self._pass_on.generate(passed, phase=phase)
        else:
            real = [replace(self._answer(r), text=self._pass_on.say(r)) for r in passed]
        answers = dict(zip(due, real, strict=True))
        for request, answer in zip(passed, real, strict=True):
            self.shown.append(_shown(request, answer))
        for i, request in enumerate(requests):
            answer = answers.get(i) or self._answer(request)
            if i not in answers and request.tags.get("kind") == "answers":
                # These are words of their passage: no mark would tell that they are made up.
                answer = replace(answer, text="")
            yield answer

    def _is_due(self, request: Request) -> bool:
        """Return whether a request has to be sent, and count it."""
        kind = request.tags.get("kind", "")
        sent = self.kinds.setdefault(kind, 0)
        is_made_up = any(MARK in said for said in (request.prompt, *request.turns))
        if is_made_up or sent >= self._most_of(kind, request.prompt):
            return False
        self.kinds[kind] += 1
        return True

    def _most_of(self, kind: str, prompt: str) -> int:
        """Return the most requests of a kind, given the prompt of the next one."""
        if kind not in NEEDED_LISTS:
            return self._most
        prompts = self._prompts.setdefault(kind, set())
        if len(prompts) < self._lists:
            prompts.add(prompt)
        # A list that is too short is asked for again, by the same prompt.
        return max(self._most, LISTS_ASKED) if prompt in prompts else 0


def _shown(request: Request, answer: Completion | Failed) -> Shown:
    shown = Shown(request.tags.get("kind", ""), request.prompt, request.turns)
    shown.request_id = answer.request_id
    shown.passage = request.tags.get("context", "")
    if isinstance(answer, Failed):
        shown.failed = f"{answer.reason}: {answer.message}"
    else:
        shown.answer = answer.text
        shown.rejected = "truncated" if answer.truncated else ""
    return shown


@dataclass
class Previewer:
    """Preview of a configuration.

    Args:
        config: The configuration.
        rows: Requests of each kind to show.
        out: The run folder whose store is used; default: as for a run.
        observer: Receives the progress.
    """

    config: Config
    rows: int
    out: Path | None = None
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        self._runner = Runner(self.config, out=self.out, observer=self.observer)

    def count(self) -> dict[str, int]:
        """Return the approximate number of requests of each kind; sends none.

        Raises:
            StepsynthError: The data cannot be used.
        """
        return self._counted[1] if self.config.llm is not None else {}

    @cached_property
    def _counted(self) -> tuple[int, dict[str, int]]:
        """The fewest lists with which as many other prompts can be sent as with more of them.

        Beside them the number of requests of each kind.
        """
        most, lists = max(self._most, LISTS_ASKED), self._most
        wanted = self._count(most)
        while lists < most:
            found = self._count(lists)
            others = wanted.keys() - NEEDED_LISTS
            if all(found.get(kind, 0) >= wanted[kind] for kind in others):
                return lists, found
            lists *= 2
        return most, wanted

    def _count(self, lists: int) -> dict[str, int]:
        """Return the number of requests of each kind with so many lists of a kind; sends none."""
        assert self.config.llm is not None
        gold = self.prepared.gold
        stub, unsent = self._stub(gold), self._stub(gold, _UNSENT)
        llm = PreviewLLM(self.config.llm, stub, self._most, lists, unsent)
        for _ in self._run(self._setup(self.prepared, llm, is_real=False)):
            pass
        return {kind: number for kind, number in llm.kinds.items() if number}

    def run(self) -> Preview:
        """Send the requests and return the results.

        Raises:
            StepsynthError: The data, or the LLM as configured, cannot be used.
        """
        settings = self.config.llm
        if settings is None:
            return Preview()
        prepared = self.prepared
        real = open_llm(self.config, self._runner.folder, digest(prepared.identity()))
        real.on_progress = self.observer.asking
        real.on_notice = self.observer.warn
        lists, _ = self._counted
        llm = PreviewLLM(settings, self._stub(prepared.gold), self._most, lists, real)
        preview, rounds = Preview(), list[Round]()
        try:
            rounds += self._run(self._setup(prepared, llm, is_real=True))
        except (StepsynthError, KeyboardInterrupt) as error:
            preview.error = error
        finally:
            preview.usage = real.usage.to_dict()
            real.close()
        if settings.stores_completions:
            preview.store = settings.store_path(self._runner.folder.store)
        _add_results(llm.shown, rounds, self.config.task)
        for kind in llm.kinds:
            found = [each for each in llm.shown if each.kind == kind]
            if found:
                preview.kinds[kind] = found
        preview.unshown = tuple(kind for kind in llm.kinds if kind not in preview.kinds)
        return preview

    @property
    def _most(self) -> int:
        """Most requests of a kind to send; more if rows of every label go back into prompts."""
        if not any(map(_feeds_back, self.config.method.parts)):
            return self.rows
        return max(self.rows, min(FED_BACK, 4 * len(self.config.task.label_names)))

    @cached_property
    def prepared(self) -> Prepared:
        """The data of the run.

        Raises:
            StepsynthError: It cannot be used.
        """
        found = prepare(self.config, self.observer.warn)
        if self.config.retriever is not None:
            self.config.retriever.check()
        return found

    def _stub(self, gold: Gold, mark: str = MARK) -> StubLLM:
        return StubLLM(
            self.config.task,
            [*gold.mine, *gold.select][:MOST_ROWS],
            method=self.config.method,
            mark=mark,
            rng=make_rng(self.config.random_seed, "preview", mark),
        )

    def _setup(self, prepared: Prepared, llm: LLM, *, is_real: bool) -> Setup:
        """Return the set-up with a stand-in for the student and, unless real, for the index."""
        config = self.config
        setup = make_setup(
            prepared if is_real else replace(prepared, config=replace(config, retriever=None)),
            llm=llm,
            budget=None,
            folder=self._runner.folder,
            warn=lambda _: None,
            progress=Progress(self.observer),
        )
        student = PretendStudent(most_wrong=self.rows)
        factory = PretendFactory(student, config.task.label_names, config.random_seed)
        if config.retriever is not None and not is_real:
            rng = make_rng(config.random_seed, "preview")
            setup = replace(setup, index=PretendIndex(prepared.inputs.passages, config.method, rng))
        return replace(setup, student=factory, select=setup.select[:MOST_ROWS])

    def _run(self, setup: Setup) -> Iterator[Round]:
        method = _small(self.config.method, self._most)
        for done in run_method(method, setup):
            if done.model.student is None:  # the LLM itself: its model asks about select
                done.model.predict(setup.select)
            yield done


def _small(method: Method, rows: int) -> Method:
    """Return the method with small sizes and unchanged prompts."""
    small = without_early_stop(Scale.of(method, MOST_ROWS).size(method))
    # Rows are fed back after the first few, so that prompts show real ones.
    fed = {"initial": rows, "size": 2 * rows, "feedback": 1.0}
    return small.mapped(lambda part: part.model_copy(update=fed) if _feeds_back(part) else part)


def _feeds_back(method: Method) -> bool:
    """Return whether a method shows its own rows in later prompts."""
    return "feedback" in type(method).model_fields


def _add_results(shown: Sequence[Shown], rounds: Sequence[Round], task: Task) -> None:
    """Add to each exchange the result of its answer."""
    rows: dict[str, list[Example]] = {}
    reasons: dict[str, list[str]] = {}
    for done in rounds:
        for row in done.added:
            rows.setdefault(row.provenance.request, []).append(row)
        for unused in done.unused:
            reasons.setdefault(unused.provenance.request, []).append(unused.rejected.reason)
    for each in shown:
        if each.failed:
            continue
        written = [_row(row) for row in rows.get(each.request_id, ())]
        if written:
            each.row = written[0] if len(written) == 1 else written
        elif each.kind in NOT_ROWS:
            each.row = _read(each, task)
        elif any(other.turns[:1] == (each.answer,) for other in shown):
            each.rejected = "cannot be read; corrected in a second turn"
        if counts := Counter(reasons.get(each.request_id, ())):
            each.rejected = ", ".join(f"{n} {r}" if n > 1 else r for r, n in counts.items())


def _row(row: Example) -> dict[str, Any]:
    context = {} if row.context is None else {"context": row.context}
    return {"text": row.text, "label": label_to_json(row.label), **context}


def _read(shown: Shown, task: Task) -> Any:
    """Return an answer that is no row, as the task parses it; None: it is not used."""
    is_cut, shown.rejected = bool(shown.rejected), ""
    if shown.kind == "answers" and isinstance(task, ExtractiveQA):
        found: Any = task.parse_answers(shown.answer, shown.passage, truncated=is_cut)
        found = found if isinstance(found, Rejected) else [str(each) for each in found if each]
    elif shown.kind in LIST_KINDS:
        parse = task.parse_rationales if shown.kind == "rationale" else parse_list
        found = parse(shown.answer, truncated=is_cut)
    elif shown.kind in ("decide", "judge"):
        # Where the answer stands in a passage, the prompt holds that passage.
        asked = Example("", "", shown.prompt)
        found = task.parse_decision(shown.answer, asked, truncated=is_cut)
        found = found if isinstance(found, Rejected) else label_to_json(found)
    elif shown.kind == "context":
        found = task.parse_context(shown.answer, truncated=is_cut)
    else:
        found = Rejected("truncated", shown.answer) if is_cut else shown.answer.strip()
    if isinstance(found, Rejected):
        shown.rejected = found.reason
        return None
    return list(found) if isinstance(found, tuple) else found
