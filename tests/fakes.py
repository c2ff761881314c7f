"""Fakes for the borders of a method: an LLM that answers by a function, a student that counts."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stepsynth._util.hashing import digest
from stepsynth.llm import LLM, Backend, Completion, Request
from stepsynth.llm.core.backend import RatedSettings
from stepsynth.methods import Method, Round, Setup
from stepsynth.metrics import Predictions, Spans
from stepsynth.records import Answers, Context, Dataset, Example
from stepsynth.retrieval import Hit, Index
from stepsynth.students import StudentFactory
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks, Student
from stepsynth.tasks import Task

NO_ROWS = Dataset()


class FakeSettings(RatedSettings):
    backend: str = "fake"
    model: str = "fake-1"


class FakeBackend(Backend[FakeSettings]):
    """Answers by a function, and keeps every request that it got."""

    settings_class = FakeSettings

    def __init__(self, answer: Callable[[Request], str | Completion], **settings: Any) -> None:
        super().__init__(FakeSettings(**settings), 0)
        self.answer = answer
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        answer = self.answer(request)
        return Completion(answer) if isinstance(answer, str) else answer

    def of_kind(self, kind: str) -> list[Request]:
        return [r for r in self.requests if r.tags["kind"] == kind]


def answers_together(backend: Backend[Any], requests: Sequence[Request]) -> list[Any]:
    """Return what a backend answers to requests that arrive together; errors stand for answers."""

    async def send() -> list[Any]:
        try:
            jobs = (backend.complete(request) for request in requests)
            return await asyncio.gather(*jobs, return_exceptions=True)
        finally:
            await backend.close()

    return asyncio.run(send())


def answer_anything(request: Request) -> str:
    """Answer any prompt of any method, by its kind: enough for a small run."""
    kind, label = request.tags["kind"], request.tags.get("label", "")
    if kind in ("rationale", "values", "domains", "instance_seeds"):
        return "1. one\n2. two\n3. three"
    if kind == "dimensions":
        return "1. style: shared\n2. subtopic: by label"
    if kind == "suits":
        return "no"
    if kind == "decide" and '"labels"' in request.prompt:
        return json.dumps({"labels": ["a"] if request.draw % 2 else []})
    if kind in ("decide", "judge"):
        return json.dumps({"label": label or "a"})
    return f"{label} {request.stream} {request.draw}"


class WrongOn(Student):
    """A student that is wrong on texts that hold one of its words, until it was trained on one.

    It logs what happens to it, so that a test can read Algorithm 2 as a trace.
    """

    name: ClassVar[str] = "wrong_on"
    words: tuple[str, ...] = ()
    log: ClassVar[list[tuple[str, Any]]] = []

    _learnt: frozenset[str] = frozenset()

    def start(self, label_names: Sequence[str], random_seed: int) -> "WrongOn":
        self.log.append(("init", None))
        return super().start(label_names, random_seed)

    def fit(
        self, dataset: Dataset, *, weights: Any = None, callbacks: FitCallbacks = NO_CALLBACKS
    ) -> None:
        self.log.append(("fit", dataset))
        self._learnt = frozenset(
            w for w in self.words if any(f"again {w}" in t for t in dataset.texts)
        )

    def predict_examples(self, examples: Sequence[Example]) -> Predictions:
        first, second = self.label_names
        wrong = [w for w in self.words if w not in self._learnt]
        rows = [(row.label == first) != any(word in row.text for word in wrong) for row in examples]
        table = np.array([[r, not r] for r in rows], dtype=float).reshape(-1, 2)
        return Predictions((first, second), table)

    def save_arrays(self, folder: Path) -> None:
        raise NotImplementedError

    def load_arrays(self, folder: Path) -> None:
        raise NotImplementedError


class WrongSpansOn(WrongOn):
    """The same for questions: it finds the answer, or the first word of the passage instead."""

    name: ClassVar[str] = "wrong_spans_on"
    kinds: ClassVar[tuple[str, ...]] = ("extractive_qa",)

    def predict_examples(self, examples: Sequence[Example]) -> Spans:
        wrong = [w for w in self.words if w not in self._learnt]
        found: list[tuple[str, int]] = []
        for row in examples:
            assert isinstance(row.label, Answers)
            is_wrong = any(word in row.text for word in wrong)
            first = (str(row.context).split()[0], 0)
            found.append(first if is_wrong else (row.label.texts[0], row.label.starts[0]))
        return Spans([t for t, _ in found], [s for _, s in found], [1.0] * len(found))


def make_setup(
    task: Task,
    backend: Backend[Any],
    student: Student,
    mine: Dataset,
    *,
    select: Dataset | None = None,
    contexts: Sequence[Context] = (),
    index: Index | None = None,
    random_seed: int = 0,
    **changes: Any,
) -> tuple[Setup, list[str]]:
    """Return a set-up and the list that warnings go to; `changes` are further fields of it."""
    warnings: list[str] = []
    setup = Setup(
        task=task,
        llm=LLM(backend, random_seed=random_seed),
        student=StudentFactory(
            student, task.label_names, random_seed, callbacks=FitCallbacks(warn=warnings.append)
        ),
        mine=mine,
        select=select if select is not None else mine,
        random_seed=random_seed,
        warn=warnings.append,
        contexts=tuple(contexts),
        index=index,
        **changes,
    )
    return setup, warnings


def follow(
    task: Task,
    method: Method,
    answer: Callable[[Request], str | Completion],
    student: Student | None = None,
    mine: Dataset = NO_ROWS,
    **options: Any,
) -> tuple[FakeBackend, list[Round], list[str]]:
    """Run a method to its end; return the LLM that it asked, its rounds and its warnings."""
    backend = FakeBackend(answer)
    setup, warnings = make_setup(task, backend, student or WrongOn(), mine, **options)
    try:
        return backend, list(method.synthesize(setup)), warnings
    finally:
        setup.llm.close()


class WordIndex(Index):
    """An index whose cosines are of word counts."""

    def _search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        found: list[list[Hit]] = []
        for cosines in self.cosines(queries, [passage.text for passage in self.passages]):
            best = np.argsort(-cosines, kind="stable")[:k]
            hits = [(self.passages[place], float(cosines[place])) for place in best]
            found.append([Hit(p, rank, c, c) for rank, (p, c) in enumerate(hits, start=1)])
        return found

    def embed(self, texts: Sequence[str]) -> Any:
        counts = np.zeros((len(texts), 997), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", " ").split():
                counts[row, int(digest(word), 16) % 997] += 1
        return counts / np.maximum(1e-9, np.linalg.norm(counts, axis=1, keepdims=True))


def rows(*pairs: tuple[str, str]) -> Dataset:
    return Dataset(Example(text, label) for text, label in pairs)
