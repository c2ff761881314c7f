"""The task file that `stepsynth init` writes: small, commented, ready to check and run."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepsynth._util.files import write_text
from stepsynth._util.text import check_name, shorten
from stepsynth.cli._shared import encoding_by_option
from stepsynth.data import HUB, MissingColumnError, Reading, is_address, read_file
from stepsynth.errors import ConfigError, DataError
from stepsynth.llm import apply_preset
from stepsynth.records import Example, LabelSet
from stepsynth.taskfile import load_config
from stepsynth.tasks import Task, task_kinds
from stepsynth.tasks.classification import Classification, label_text, only_label
from stepsynth.tasks.multi_label import FLAGS, listed_labels

_MOST_LABELS = 200

_TEXT = """\
# A stepsynth task: `stepsynth check {name}`, then `stepsynth run {name}`.
# Paths are relative to this file. `stepsynth schema` lists every key.
task:
  kind: {kind}
  # What is to be decided, in one sentence: it opens each prompt that asks for a label.
  instruction: {instruction}
  # What the LLM is asked to write.
  text_name: {text_name}
{of_the_kind}
  # language: French        # where the texts are in another language than the prompts
  # prompts: {{seed: seed.j2}}  # your own templates; `stepsynth schema` names them

data:
  gold: {gold}{test}{encoding}
  columns: {{{columns}}}
{contexts}\
  # Gold is split: errors are mined in `mine`, rounds are scored on `select`, and `test` is scored
  # once, at the end. Decimals are shares of gold, whole numbers are rows.
  split: {split}

llm:
{llm}
  temperature: 0.9
  # price: {{prompt: 0.15, completion: 0.60}}   # USD for a million tokens, for limits.usd

student: {student}

method:
  name: s3          # or another of docs/methods.md: s3_plus trains on gold, too
  seed_size: {seed_size}   # rows to write before the first training
  rounds: 2         # rounds of error extrapolation after it
  # keep: best      # keep the round that scores best on select; default: the last one
{rationales}
# curation: {{{filters}}}   # filters for synthetic rows, off unless set here
limits: {{requests: 20000}}   # also: usd (needs llm.price), minutes

random_seed: 0
"""

_ENDPOINT = """\
  backend: openai_compatible            # or `preset: ollama`, openai, anthropic, ...: docs/llm.md
  base_url: http://127.0.0.1:8000/v1    # any chat-completions endpoint, hosted or local
  model: YOUR_MODEL
  api_key_env: OPENAI_API_KEY           # the NAME of the variable that holds the key"""
_STUDENT = "{name: auto}   # the best of linear, static and embedding, of those that are here"
_STUDENTS = {
    "multi_label": "{name: linear}   # or static, embedding, setfit, transformer",
    "extractive_qa": "{name: transformer}   # the student that finds answers",
}
"""Kind of task -> its line, where `auto` does not learn it."""

_LABELS = """\
  # Label as in your file: the word for it in prompts. A word that says what is meant helps most.
  labels:
{labels}"""
_CONTEXTS = """\
  # Seed data is written for the contexts of gold; a file of more of them, or `llm` (the LLM writes
  # them), makes it more diverse.
  contexts: gold
"""
_RATIONALES = "  num_rationales: 20\n"


def write_task_file(
    path: Path,
    *,
    gold: str | Path,
    test: str | Path | None,
    labels: Sequence[str],
    columns: Mapping[str, str],
    text_name: str,
    instruction: str,
    llm: str = "",
    force: bool,
    encoding: str | None = None,
    has_sets: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Counter[str]:
    """Write a task file for a file of labelled rows, and check that it loads.

    Args:
        path: The task file.
        gold: Labelled rows: a file, or `hf:NAME`.
        test: Test rows, if they have a file of their own.
        labels: The labels; empty: those in `gold`.
        columns: Field -> column. With `context` the task has pairs; with `answers` too, questions.
        text_name: A noun for a text ("movie review"); empty: the name of its column.
        instruction: The decision, as a sentence; empty: made of the text name and the labels.
        llm: The preset of the LLM; empty: an endpoint whose address is yet to be written.
        force: Overwrite an existing file.
        encoding: Encoding of text files that do not declare one.
        has_sets: A row has any number of labels: a list, or "a|b".
        warn: Receives assumptions about the files that may be wrong.

    Returns:
        Label -> its rows in `gold`.

    Raises:
        ConfigError: The file exists already, or no preset of a model alone has that name.
        DataError: The rows cannot be read, or have another label than those given.
    """
    reading = Reading(encoding, on_bad_row=None)  # There is no task file yet that could say more.
    text_name = text_name or _as_words(columns["text"])
    kind = _kind_of(columns, has_sets=has_sets)
    found = Counter[str]() if kind == "extractive_qa" else _labels_of(gold, columns, reading, kind)
    names = list(labels) or sorted(found)
    if not labels and kind != "extractive_qa":
        _check_labels(gold, columns, found)
    if path.exists() and not force:
        raise ConfigError(f"{path}: there is such a file already", hint="--force writes over it")
    task = _make_task(kind, names, gold)
    for rows in filter(None, (gold, test)):
        read_file(rows, task, columns, reading=reading, warn=warn)
    text = _TEXT.format(
        name=path.name,
        kind=kind,
        instruction=_quote(instruction or _decided(text_name, names)),
        text_name=_quote(text_name),
        of_the_kind=_keys_of(kind, columns, text_name, task.label_names),
        gold=_quote(_relative(gold, path)),
        test=f"\n  test: {_quote(_relative(test, path))}" if test else "",
        encoding=f"\n  encoding: {_quote(encoding)}" if encoding else "",
        columns=", ".join(f"{field}: {_quote(column)}" for field, column in columns.items()),
        contexts=_CONTEXTS if task.has_context else "",
        split="{mine: 0.6, select: 0.4}" if test else "{mine: 0.5, select: 0.2, test: 0.3}",
        student=_STUDENTS.get(kind, _STUDENT),
        llm=_llm_keys(llm),
        seed_size=max(200, 100 * len(names)),
        rationales="" if task.has_context else _RATIONALES,
        filters="duplicates: near" if has_sets else "duplicates: near, check: llm",
    )
    _write(path, text)
    return found


_COLUMN_EACH = (
    "where each label has a column of its own, write the task file by hand: `task.labels` names "
    "the columns, and `data.columns` the text's alone"
)


def _write(path: Path, text: str) -> None:
    write_text(path, text)
    load_config(path, ["llm.model=any"] if "YOUR_MODEL" in text else [])


def _llm_keys(preset: str) -> str:
    if not preset:
        return _ENDPOINT
    has_model = "model" in apply_preset({"preset": preset}, where="--llm")
    return f"  preset: {preset}" + ("" if has_model else "\n  model: YOUR_MODEL")


def _kind_of(columns: Mapping[str, str], *, has_sets: bool) -> str:
    """Return the kind of task of rows with these fields.

    Raises:
        ConfigError: Pairs or questions are to have sets of labels.
    """
    if "context" in columns:
        if has_sets:
            raise ConfigError("--multi-label is for texts alone", hint="leave --context out")
        return "extractive_qa" if "answers" in columns else "sentence_pair"
    return "multi_label" if has_sets else "classification"


def _make_task(kind: str, names: Sequence[str], gold: str | Path) -> Task:
    try:
        return task_kinds().get(kind).model_validate({"labels": names} if names else {})
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DataError(f"{gold}: {message}", hint="correct the file, or give --labels") from error


def _decided(text_name: str, names: Sequence[str]) -> str:
    if not names:
        return "Answer a question with a part of a passage."
    return f"Decide which label the {text_name} has: {', '.join(names)}."


def _keys_of(kind: str, columns: Mapping[str, str], text_name: str, labels: Sequence[str]) -> str:
    """Return the keys of the task section that only its kind has."""
    if kind == "extractive_qa":
        return "  extrapolate: same_answer   # or new_answer: another one each time"
    context = _quote(_as_words(columns.get("context", "")))
    named = f"  context_name: {context}   # what the {text_name} is written for\n"
    about = _quote(f"{text_name} about {{label}}")
    phrase = f"  labelled_name: {about}   # {{label}}: all the labels of a {text_name}\n"
    shown = f"{text_name} that is {shorten(labels[0], 30)}"
    plain = f"  # labelled_name: {about}   # in prompts; without it: {shown}\n"
    listed = "\n".join(f"    {_quote(label)}: {_quote(label)}" for label in labels)
    first = {"sentence_pair": named, "multi_label": phrase}.get(kind, plain)
    return first + _LABELS.format(labels=listed)


def _as_words(column: str) -> str:
    return column.replace("_", " ").strip()


def _check_labels(gold: str | Path, columns: Mapping[str, str], found: Counter[str]) -> None:
    column = columns["label"]
    if len(found) > max(2, min(_MOST_LABELS, found.total() // 3)):
        shown = ", ".join(shorten(repr(label), 40) for label, _ in found.most_common(3))
        raise DataError(
            f"{gold}: the column {column!r} has {len(found)} different values in {found.total()} "
            f"rows, such as {shown}",
            hint="name another column with --label; if these are your labels, list them: --labels "
            "a,b,c",
        )
    if len(found) < 2:
        raise DataError(
            f"{gold}: the column {column!r} has only the value {next(iter(found))!r}",
            hint="two labels are needed; name another column with --label",
        )


class _AnyLabel(Classification):
    """Classification that accepts every label, to find out which exist."""

    def read_example(self, row: Mapping[str, Any]) -> Example:
        text, label = str(row["text"]), label_text(only_label(row["label"]))
        if not label:
            raise ValueError(f"the label of {shorten(text, 50)!r} is empty")
        return Example(text=text, label=check_name(label, "the label"))


class _AnySet(_AnyLabel):
    """The same for sets of labels."""

    def read_example(self, row: Mapping[str, Any]) -> Example:
        text = str(row["text"])
        names = listed_labels(row["label"], text)
        return Example(text, LabelSet(tuple(check_name(name, "the label") for name in names)))


def _labels_of(
    gold: str | Path, columns: Mapping[str, str], reading: Reading, kind: str
) -> Counter[str]:
    any_kind = _AnySet if kind == "multi_label" else _AnyLabel
    try:
        given = {field: columns[field] for field in ("text", "label")}
        any_label = any_kind(labels={"a": "a", "b": "b"})
        found = read_file(gold, any_label, given, reading=reading).label_counts()
    except DataError as error:
        if isinstance(error, MissingColumnError):
            error.hint = "name your columns: --text COLUMN --label COLUMN"
            error.hint += f"; {_COLUMN_EACH}" if kind == "multi_label" else ""
        error.hint = encoding_by_option(error.hint)
        raise
    if found and kind == "multi_label" and all(name.casefold() in FLAGS for name in found):
        raise DataError(
            f"{gold}: the column {columns['label']!r} says whether a label applies "
            f"({', '.join(sorted(found))}); it lists no labels",
            hint=_COLUMN_EACH,
        )
    return found


def _relative(target: str | Path, task_file: Path) -> str:
    """Return a path relative to the folder of the task file; addresses are kept."""
    if str(target).startswith(HUB) or is_address(target):
        return str(target)
    path, folder = Path(target).absolute(), task_file.absolute().parent
    # What is above a folder that is a link is above the folder that it leads to.
    folder = folder if path.is_relative_to(folder) else folder.resolve()
    return Path(os.path.relpath(path, folder)).as_posix()


def _quote(value: str) -> str:
    """Return a YAML scalar: plain if that is safe, else a JSON string, which YAML can read."""
    words = {"null", "true", "false", "yes", "no", "on", "off"}
    if (
        re.fullmatch(r"[A-Za-z]([A-Za-z _/.-]*[A-Za-z_/.-])?", value)
        and value.casefold() not in words
    ):
        return value
    return json.dumps(value, ensure_ascii=False)
