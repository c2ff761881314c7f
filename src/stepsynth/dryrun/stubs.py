"""Free stand-ins: answers that a task's parsers accept, a student, and the index of a corpus.

With them the real method runs, so that its requests can be counted before they are paid for. The
answers have the lengths of gold texts and no meaning.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Any, ClassVar

import numpy as np

from stepsynth.llm import Request
from stepsynth.methods import MIN_WORDS, Method, texts_per_prompt
from stepsynth.methods.zerogen import writes_questions
from stepsynth.metrics import AnyPredictions, Floats, Predictions, Spans, certain, membership
from stepsynth.prompts import sample_letters
from stepsynth.records import Answers, Dataset, Example, LabelSet
from stepsynth.retrieval import Hit, Index, Passage
from stepsynth.students import NO_CALLBACKS, FitCallbacks, FreshStudent, StudentFactory
from stepsynth.students.linear import Linear
from stepsynth.tasks import Task
from stepsynth.tasks.extractive_qa import ExtractiveQA

MARK = "qzx"
"""Prefix of a word in every made-up text, and in no other text."""

LISTED = {"rationale": 60, "condition": 20, "dimensions": 14, "values": 20, "domains": 30}
"""Kind of prompt with a list as its answer -> bytes of an item, if gold texts do not tell."""

LIST_KINDS = frozenset({*LISTED, "instance_seeds", "answers", "similar"})
CONTEXT_BYTES, TEXT_BYTES = 400, 120
"""Bytes of a context and of a text if gold has none."""

BYTES_OF_A_TOKEN = 4
_BYTES_OF_A_WORD = 6
_LETTERS = "bdfghjklmnprstvwxyz"


def count_tokens(text: str) -> int:
    """Return the approximate number of tokens of a text: a quarter of its UTF-8 bytes."""
    return -(-_bytes(text) // BYTES_OF_A_TOKEN)


class StubLLM:
    """Stand-in for an LLM that answers each kind of request in the expected format.

    Args:
        task: The task.
        rows: Gold rows; answers are as long as their texts and contexts.
        by_label: Share of dimensions whose values are said to depend on the label.
        method: Says how many texts a prompt asks for, and whether short ones are dropped.
        mark: Prefix of one word in every made-up text.
        rng: Draws words and lengths.
    """

    def __init__(
        self,
        task: Task,
        rows: Sequence[Example],
        *,
        by_label: float = 0.5,
        method: Method | None = None,
        mark: str = MARK,
        rng: Random,
    ) -> None:
        self._task = task
        self._by_label = by_label
        parts = method.parts if method else ()
        self._fewest = MIN_WORDS if any(getattr(part, "cleaning", False) for part in parts) else 0
        self._mark = mark
        self._rng = rng
        self._numbers = count()
        self._several = {
            n: task.render("several", number=n)
            for n in range(2, max(map(texts_per_prompt, parts), default=1) + 1)
        }
        letters = sample_letters(task.language)
        self._words = [_syllables(rng, letters) for _ in range(997)]
        self._lengths: dict[str, list[int]] = {"": [_bytes(row.text) for row in rows]}
        for row in rows:
            if row.stratum:
                self._lengths.setdefault(row.stratum, []).append(_bytes(row.text))
        self._contexts = [_bytes(row.context) for row in rows if row.context]

    def say(self, request: Request) -> str:
        """Return an answer that the task's parser for this kind of prompt accepts."""
        for number, suffix in self._several.items():
            if request.prompt.endswith(suffix):
                texts = (self._row(request) for _ in range(number))
                return "\n".join(f"<text>{text}</text>" for text in texts)
        kind, tags = request.tags.get("kind", ""), request.tags
        if kind in LIST_KINDS:
            items = list(self._items(kind, request))
            return "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))
        if kind == "suits":
            return "no"
        if kind == "decide":
            names = self._task.label_names
            return json.dumps(self._task.answer_of(names[0] if names else "x"))
        if kind == "judge":
            verdict = {"label": self._word_for(tags.get("label"))}
            return f"{self._text(100)}\n{json.dumps(verdict)}"
        if kind == "context":
            return self._text(self._draw(self._contexts, CONTEXT_BYTES))
        return self._row(request)

    def _row(self, request: Request) -> str:
        tags = request.tags
        lengths = self._lengths.get(tags.get("label", "")) or self._lengths[""]
        end = "?" if writes_questions(self._task) else "."
        text = self._text(self._draw(lengths, TEXT_BYTES), self._fewest) + end
        task = self._task
        if isinstance(task, ExtractiveQA) and task.extrapolate == "new_answer" and "source" in tags:
            answer = next(_parts(tags.get("context", "")), "")
            return json.dumps({"question": text, "answer": answer}, ensure_ascii=False)
        return json.dumps({"text": text}) if '{"text"' in request.prompt else text

    def _items(self, kind: str, request: Request) -> Iterator[str]:
        number = self._number_asked(request)
        if kind == "similar":
            names = [n for n in self._task.label_names if n != request.tags.get("label")]
            yield from (self._task.label_word(name) for name in names[:number])
        elif kind == "answers":
            yield from list(dict.fromkeys(_parts(request.tags.get("context", ""))))[:number]
        elif kind == "dimensions":
            for i in range(number):
                is_by_label = i < round(self._by_label * number)
                yield f"{self._text(LISTED[kind])}: {'by label' if is_by_label else 'shared'}"
        else:
            known = self._contexts if self._task.has_context else self._lengths[""]
            for _ in range(number):
                length = LISTED.get(kind) or self._draw(known, TEXT_BYTES)
                yield self._text(length)

    def _number_asked(self, request: Request) -> int:
        """Return the number of items that a prompt asks for: its largest, outside of user texts."""
        own = request.prompt
        for given in (self._task.instruction, request.tags.get("context", "")):
            own = own.replace(given, " ") if given else own
        found = [
            int(digits) for digits in re.findall(r"(?<![a-zA-Z\d.])\d{1,3}(?![a-zA-Z\d])", own)
        ]
        return max((number for number in found if 0 < number <= 200), default=10)

    def _word_for(self, label: str | None) -> str:
        names = self._task.label_names
        return self._task.label_word(label if label in names else names[0]) if names else ""

    def _text(self, length: int, fewest: int = 0) -> str:
        words = max(fewest, round(length / _BYTES_OF_A_WORD), 2) - 1
        chosen = self._rng.choices(self._words, k=words)
        return " ".join([*chosen, self._mark + _in_letters(next(self._numbers))])

    def _draw(self, lengths: Sequence[int], default: int) -> int:
        return self._rng.choice(lengths) if lengths else default


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _syllables(rng: Random, letters: str) -> str:
    number = range(rng.choice((1, 2, 2, 3, 4)))
    if letters:
        return "".join(rng.choice(letters) for _ in number)
    return "".join(rng.choice(_LETTERS) + rng.choice("aeiou") for _ in number)


def _in_letters(number: int) -> str:
    letters = ""
    while number or not letters:
        number, rest = divmod(number, len(_LETTERS))
        letters += _LETTERS[rest]
    return letters


def _parts(context: str) -> Iterator[str]:
    """Yield words of a context that could be answers, the longest first."""
    found = re.findall(r"\w[\w'’-]*\w|\w", context)
    yield from sorted(found, key=lambda word: -len(word)) or [context]


class PretendStudent(Linear):
    """Student that is wrong on a set share of the rows, evenly spaced.

    It learns nothing and looks at the labels. Its features are two numbers, so that methods that
    use features (influence, weights) take no time.
    """

    name: ClassVar[str] = "pretend"

    wrong: float = 0.25
    most_wrong: int | None = None

    def fit(
        self,
        dataset: Dataset,
        *,
        weights: Sequence[float] | None = None,
        callbacks: FitCallbacks = NO_CALLBACKS,
    ) -> None:
        """Learn nothing."""

    def features(self, examples: Sequence[Example]) -> Any:
        """Return two numbers that follow from a text's length."""
        from scipy.sparse import csr_matrix

        lengths = [[len(row.text) % 7 / 7, len(row.text) % 11 / 11] for row in examples]
        return csr_matrix(np.array(lengths, dtype=np.float32).reshape(-1, 2))

    def add_offsets(self, offsets: Floats) -> None:
        """Stay as it is: what it says is pretended."""

    def predict_examples(self, examples: Sequence[Example]) -> AnyPredictions:  # type: ignore[override]
        """Return the gold labels, except a wrong label for the set share of rows."""
        share, number = self.wrong, len(examples)
        if self.most_wrong is not None:
            share = min(1.0, self.most_wrong / max(1, number))
        steps = [int((i + 1) * share + 1e-9) > int(i * share + 1e-9) for i in range(number)]
        names = self.label_names
        if not names:
            right = [row.label for row in examples]
            found = [
                (label.texts[0], label.starts[0])
                if isinstance(label, Answers) and not is_wrong
                else ("", 0)
                for label, is_wrong in zip(right, steps, strict=True)
            ]
            return Spans([t for t, _ in found], [s for _, s in found], [1.0] * number)
        if any(isinstance(row.label, LabelSet) for row in examples):
            given = membership([str(row.label) for row in examples], names)
            given[:, 0] ^= steps
            return certain(given, names)
        place = {name: i for i, name in enumerate(names)}
        said = [
            (place.get(str(row.label), 0) + is_wrong) % len(names)
            for row, is_wrong in zip(examples, steps, strict=True)
        ]
        return Predictions(names, np.eye(len(names))[np.array(said, dtype=np.int_)])


class PretendFactory(StudentFactory):
    """Factory of pretend students, which need no row of any label."""

    def new(self, *, as_given: bool = False) -> FreshStudent:
        """Return a fresh student."""
        return _PretendFresh(self)

    def judge(self) -> FreshStudent:
        """Return a fresh student."""
        return _PretendFresh(self)


class _PretendFresh(FreshStudent):
    def fit(self, dataset: Dataset, weights: Sequence[float] | None = None) -> None:
        self.rows, self.weights = dataset, None if weights is None else tuple(weights)
        self._student, self.is_fitted = self._factory.start(), True


class PretendIndex(Index):
    """Index that finds random passages, all with a cosine that the method accepts."""

    def __init__(self, passages: Sequence[Passage], method: Method, rng: Random) -> None:
        super().__init__(passages)
        self._rng = rng
        bands: list[tuple[float, float]] = [
            getattr(part, key)
            for part in method.parts
            for key in ("shot_cosines", "content_cosines")
            if hasattr(part, key)
        ]
        low, high = max((b[0] for b in bands), default=0), min((b[1] for b in bands), default=1)
        self._cosine = (low + high) / 2

    def _search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        return [
            [
                Hit(passage, rank, self._cosine, self._cosine)
                for rank, passage in enumerate(self._rng.sample(self.passages, k), start=1)
            ]
            for _ in queries
        ]

    def embed(self, texts: Sequence[str]) -> Any:
        """Return the same vector for all texts."""
        return np.ones((len(texts), 1), dtype=np.float32)
