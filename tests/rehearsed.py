"""Small tasks of every kind and recipe, for what is looked at before anything is spent."""

import json
from pathlib import Path
from typing import Any

from stepsynth.methods import methods
from stepsynth.taskfile.config import Config, load_config
from tests.scripted import PLACES, WORDS

KINDS = ("classification", "sentence_pair", "extractive_qa")
OTHER = "They buy honey at {0} for Rome, milk for Oslo on day {1}, and nobody is in a hurry."
"""So unlike the passages of gold that it is no copy of one."""
PASSAGE = "{0} lives in Rome and works in Oslo, near the old mill of number {1}."


def method_kinds(*, asking: bool = True) -> list[tuple[str, str]]:
    """Return every kind of task with the methods that are defined for it (and ask an LLM)."""
    found = [(name, methods().get(name)) for name in methods().names()]
    return [
        (kind, name)
        for kind in KINDS
        for name, method in found
        if kind in method.kinds and (method.needs_llm or not asking)
    ]


def lines(path: Path, rows: Any) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def fruit_rows(number: int) -> list[dict[str, Any]]:
    """Return notes; every fourth is about the other fruit, so that no student gets all right."""
    fruit = list(WORDS)
    return [
        {
            "text": f"a note from {PLACES[i % 120]}, day {i}: so {word}, and fresh today",
            "premise": f"{PLACES[i % 120].capitalize()} sells fruit {i}.",
            "label": label,
        }
        for i in range(number // 2)
        for side, label in enumerate("ap")
        for word in [WORDS[fruit[side ^ (i % 4 == 0)]][i % 3]]
    ]


def question_rows() -> list[dict[str, Any]]:
    return [
        {
            "id": f"{i}-{place}",
            "context": (text := PASSAGE.format(name, i)),
            "question": f"Where does {name} {verb}?",
            "answers": {"text": [place], "answer_start": [text.index(place)]},
        }
        for i, name in enumerate(("Ann", "Bob", "Cid", "Dan", "Eve", "Fay") * 4)
        for verb, place in (("live", "Rome"), ("work", "Oslo"))
    ]


def write_kind(folder: Path, kind: str, url: str = "http://127.0.0.1:9/v1", rows: int = 96) -> Path:
    """Write a task of a kind, its gold, contexts corpus and texts; return the task file."""
    llm = f'llm: {{backend: openai_compatible, base_url: "{url}", model: m, concurrency: 8}}\n'
    task = folder / "fruit.yaml"
    if kind == "extractive_qa":
        lines(folder / "gold.jsonl", question_rows())
        # Passages without answers: the LLM has to propose some.
        passages = [{"context": OTHER.format(name, i)} for i, name in enumerate(PLACES)]
        lines(folder / "contexts.jsonl", passages)
        task.write_text(
            "task: {kind: extractive_qa, instruction: Answer from the passage.}\n"
            "data: {gold: gold.jsonl, contexts: contexts.jsonl, split: {select: 8, test: 12}}\n"
            f"{llm}student: {{name: transformer}}\n"
        )
        return task
    lines(folder / "gold.jsonl", fruit_rows(rows))
    corpus = [
        {
            "text": f"a note from {place}: this {fruit} is so {word}, and the {fruit} was fresh on "
            f"the day that we bought it there, a {fruit} of stall number {i}."
        }
        for i, place in enumerate(PLACES[:40])
        for fruit, words in WORDS.items()
        for word in words[:2]
    ]
    lines(folder / "corpus.jsonl", corpus)
    texts = [
        {"text": f"so {word} and fresh, from {place}", "premise": f"Stall {i} sells fruit."}
        for i, place in enumerate(PLACES[80:100])
        for words in WORDS.values()
        for word in words
    ]
    lines(folder / "texts.jsonl", texts)
    context = ", context: premise" if kind == "sentence_pair" else ""
    task.write_text(
        f"""\
task:
  kind: {kind}
  instruction: Say whether the fruit is an apple or a pear.
  text_name: fruit note
  labels: {{a: apple, p: pear}}
data:
  gold: gold.jsonl
  corpus: corpus.jsonl
  unlabelled: texts.jsonl
  columns: {{text: text, label: label{context}}}
  split: {{select: 0.25, test: 0.25}}
retrieval: {{name: bm25}}
{llm}"""
    )
    return task


def configured(folder: Path, kind: str, *overrides: str, rows: int = 96) -> Config:
    """Return the configuration of such a task."""
    return load_config(write_kind(folder, kind, rows=rows), overrides)


def write_recipe(folder: Path, recipe: str, url: str = "http://127.0.0.1:9/v1") -> Path:
    """Write gold in a recipe's own columns, and a task file that names the recipe."""
    task = folder / f"{recipe}.yaml"
    task.write_text(
        f"task: {{recipe: {recipe}}}\ndata: {{gold: gold.jsonl}}\n"
        f'llm: {{backend: openai_compatible, base_url: "{url}", model: m}}\n'
    )
    config = load_config(task)
    column = {**config.task.columns, **config.data.columns}
    names = config.task.label_names
    rows: list[dict[str, Any]] = []
    for i, question in enumerate(question_rows()[:48] * (1 + len(names) // 8)):
        row: dict[str, Any] = {column["text"]: f"{question['question']} It is said {i} times."}
        if config.task.has_context:
            row[column["context"]] = f"{question['context']} No. {i}."
        if names:
            row[column["label"]] = names[i % len(names)]
        else:
            row[column["answers"]] = question["answers"]
        rows.append(row | ({column["id"]: str(i)} if "id" in column else {}))
    lines(folder / "gold.jsonl", rows)
    return task
