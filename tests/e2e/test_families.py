"""Pairs and questions from objects to a run folder, to a recording, and from that the same run."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

import stepsynth
from stepsynth import S3, Replay
from stepsynth.metrics import Spans
from stepsynth.runfolder import Run, RunFolder
from stepsynth.runfolder.recording import write_recording
from stepsynth.students._student import NO_CALLBACKS, Student

PAIR_TASK = {"kind": "sentence_pair", "labels": {"yes": "true", "no": "false"}}
QA_TASK = {"kind": "extractive_qa", "extrapolate": "new_answer"}
PLACES = ["Rome", "Athens", "Cairo", "Lima", "Oslo", "Quito", "Paris", "Delhi"]
FRUIT = ["Apples", "Pears", "Plums", "Figs", "Dates", "Limes", "Kiwis", "Nuts"]


def passage(i: int) -> str:
    return f"{FRUIT[i]} grew in {PLACES[i]} in {1980 + i}."


def pairs(which: range) -> list[dict[str, str]]:
    return [
        {"context": passage(i), "text": f"the {FRUIT[i]} grew {word} {n}", "label": label}
        for i in which
        for n in range(2)
        for word, label in (("well", "yes"), ("badly", "no"))
    ]


def questions(which: range) -> list[dict[str, Any]]:
    return [
        {"context": passage(i), "question": f"{word} did {FRUIT[i]} grow?", "answers": answer}
        for i in which
        for word, answer in (("Where", PLACES[i]), ("When", str(1980 + i)), ("What", FRUIT[i]))
    ]


PAIR_LLM = {
    "backend": "scripted",
    "rules": [
        {
            "pattern": r"(?s)(\w+) grew in (\w+).*One text that is (true|false) for it",
            "answers": [r"\1 are \3 in \2", r"no \1 is \3", "(true)", r'"well, \1"'],
        },
        {
            "pattern": r"(?s)(\w+) grew in.*that is (true|false)\b",
            "answers": [r"\1 grew badly", r"\1 grew well", r"the \1 grew", "..."],
        },
    ],
}
QA_LLM = {
    "backend": "scripted",
    "rules": [
        {
            "pattern": r"(?s)(\w+) grew in (\w+) in (\d+)\..*Answer with JSON",
            "answers": [
                r'{"question": "Why \1?", "answer": "\3"}',
                r'{"question": "Whence \1?", "answer": "grew  in \2"}',
                r'{"question": "Since when?", "answer": "1979"}',
                r"Question: Which place?\nAnswer: \2",
                "no object",
            ],
        },
        {
            "pattern": r"(?s)(\w+) grew in (\w+) in (\d+)\..*List \d",
            "answers": [r"1. \2\n2. in \3\n3. nowhere", r"- \1\n- \3", "I cannot do this task."],
        },
        {"pattern": 'passage whose answer is "([^"]+)"', "answers": [r"What is \1?", "", "When?"]},
        {"pattern": "the same answer", "answers": ["Is it so?", "And then?", "Question: Who?"]},
    ],
}


class Guess(Student):
    """Finds the last word of every passage: some answers, by chance, are right."""

    name: ClassVar[str] = "guess"
    kinds: ClassVar[tuple[str, ...]] = ("extractive_qa",)

    def fit(self, dataset, *, weights=None, callbacks=NO_CALLBACKS) -> None:
        pass

    def predict_examples(self, examples) -> Spans:
        words = [str(row.context).rstrip(".").split()[-1] for row in examples]
        starts = [str(row.context).rindex(w) for row, w in zip(examples, words, strict=True)]
        return Spans(words, starts, [0.5] * len(words))

    def save_arrays(self, folder: Path) -> None:
        (folder / "guess.json").write_text("{}")

    def load_arrays(self, folder: Path) -> None:
        json.loads((folder / "guess.json").read_text())


FAMILIES = {
    "pairs": (PAIR_TASK, pairs, PAIR_LLM, "linear"),
    "new answers": (QA_TASK, questions, QA_LLM, Guess()),
    "same answers": ({**QA_TASK, "extrapolate": "same_answer"}, questions, QA_LLM, Guess()),
}
CONTEXTS = [{"context": passage(i)} for i in (6, 7)]


def synthesize(family: str, out: Path, **changes: Any):
    task, rows, llm, student = FAMILIES[family]
    arguments: dict[str, Any] = {
        "llm": llm,
        "method": S3(seed_size=12, rounds=2),
        "select": rows(range(3, 4)),
        "test": rows(range(4, 6)),
        "contexts": CONTEXTS,
        "columns": {} if family == "pairs" else {"text": "question"},
        **changes,
    }
    return stepsynth.synthesize(task, rows(range(3)), student=student, out=out, **arguments)


def content(result) -> list[dict[str, Any]]:
    """Return the rows of a data set but for what names the request and the LLM."""
    lines = RunFolder(result.folder).dataset.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        del row["provenance"]["request"], row["provenance"]["model"]
    return rows


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("contexts", [CONTEXTS, None])
def test_a_run_that_is_exported_can_be_replayed_and_is_the_same(tmp_path, family, contexts):
    first = synthesize(family, tmp_path / "first", contexts=contexts)
    results = [first]
    for name in ("again", "and again"):
        path = tmp_path / f"{name}.jsonl"
        assert write_recording(Run(results[-1].folder), path) > 12
        llm = Replay(recordings=(str(path),))
        results.append(synthesize(family, tmp_path / name, llm=llm, contexts=contexts))
    # Scripted and replayed requests have other ids: they are other LLMs. All else is equal.
    assert content(results[1]) == content(first)
    recordings = [(tmp_path / f"{n}.jsonl").read_bytes() for n in ("again", "and again")]
    assert recordings[0] == recordings[1]
    datasets = [RunFolder(r.folder).dataset.read_bytes() for r in results[1:]]
    assert datasets[0] == datasets[1]
    assert results[1].summary.llm.rejected == first.summary.llm.rejected != {}
    assert results[1].summary.llm.failed == 0
