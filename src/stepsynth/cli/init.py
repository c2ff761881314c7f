"""`stepsynth init`: a commented task file for the user's labels and rows."""

from collections import Counter
from pathlib import Path

import typer

from stepsynth.cli._shared import check_encoding_option, command_line, handle_errors, say


@handle_errors
def init(
    gold: str = typer.Option(
        ...,
        help="Your labelled rows: .jsonl, .json, .csv, .tsv, .parquet, .xlsx (also .gz), hf:NAME.",
        show_default=False,
    ),
    labels: str = typer.Option(
        "", help="Your labels, with commas between; default: those in the file."
    ),
    text_column: str = typer.Option("text", "--text", help="The column that holds the text."),
    label_column: str = typer.Option("label", "--label", help="The column that holds the label."),
    context_column: str = typer.Option(
        "", "--context", help="The column of the premise or passage, for pairs and questions."
    ),
    answers_column: str = typer.Option(
        "", "--answers", help="The column of the answers, as in SQuAD, for questions."
    ),
    multi_label: bool = typer.Option(
        False, "--multi-label", help="A row has any number of labels: a list, or a|b."
    ),
    text_name: str = typer.Option(
        "", help="What a text is: 'movie review', 'e-mail', ...; default: the column's name."
    ),
    instruction: str = typer.Option("", help="What is to be decided, in one sentence."),
    test: str | None = typer.Option(None, help="Test rows; default: split from gold."),
    encoding: str | None = typer.Option(
        None, help="What text files are encoded in: cp1252, ...; default: UTF-8."
    ),
    llm: str = typer.Option(
        "",
        help="Where the LLM is: a preset such as ollama, openai, anthropic or embedded; default: "
        "any chat-completions endpoint, to be named in the file.",
        show_default=False,
    ),
    out: Path = typer.Option(Path("task.yaml"), "--out", "-o", help="The task file to write."),
    force: bool = typer.Option(False, help="Write over a file that is there."),
) -> None:
    """Write a commented task file for rows of your own."""
    from stepsynth.cli._task_template import write_task_file

    check_encoding_option(encoding)
    columns = _columns(text_column, label_column, context_column, answers_column)
    found = write_task_file(
        out,
        gold=gold,
        test=test,
        labels=[label.strip() for label in labels.split(",") if label.strip()],
        columns=columns,
        has_sets=multi_label,
        text_name=text_name,
        instruction=instruction,
        llm=llm,
        force=force,
        encoding=encoding,
        warn=lambda said: say(f"warning: {said}"),
    )
    _say_next(found, out)


def _columns(text: str, label: str, context: str, answers: str) -> dict[str, str]:
    """Return field -> column; an empty one is not there."""
    columns = {"text": text, "answers": answers} if answers else {"text": text, "label": label}
    return columns | ({"context": context or "context"} if answers or context else {})


def _say_next(found: Counter[str], out: Path) -> None:
    for label, count in found.most_common():
        few = "   few: is it a slip of the pen?" if count < 5 else ""
        say(f"{count:6} rows {label!r}{few}")
    say(f"{out} is written. Read it, say what your labels mean, name your LLM, then:")
    for command in ("check", "plan", "run"):
        say(f"  {command_line(command, str(out))}")
