"""Contexts for seed data (S3, section 2.4), given or written by the LLM."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from random import Random
from typing import TypeVar

from stepsynth.errors import TooFewRowsError
from stepsynth.llm import Completion, Request
from stepsynth.methods._writer import Writer
from stepsynth.records import Answers, Context, Rejected
from stepsynth.tasks.extractive_qa import ExtractiveQA

T = TypeVar("T")
ANSWERS_PER_ROW = 1.5
"""Answers to propose per wanted row, since a row may need as many draws."""

ANSWERS_SHARE = 0.5
"""Largest share of the budget for answers: a question for each has to be paid for too."""


def gather_contexts(writer: Writer, size: int) -> list[Context]:
    """Return the contexts that `size` rows are written for.

    They come from the set-up, or else from the LLM. Passages without an answer get answers from the
    LLM or by the task's rules. Texts of one prompt share a context.

    Args:
        writer: Gives contexts and task, and sends requests.
        size: Rows wanted.

    Raises:
        TooFewRowsError: There is none.
    """
    setup = writer.setup
    size = ceil(size / setup.texts_per_prompt)
    contexts = list(setup.contexts) or _write_contexts(writer, size)
    if not isinstance(setup.task, ExtractiveQA):
        return contexts
    complete = [context for context in contexts if context.label is not None]
    bare = [context for context in contexts if context.label is None]
    wanted = size - len(complete)
    if wanted <= 0 or not bare:
        return complete
    rng = setup.rng("answers")
    chosen = rng.sample(bare, min(len(bare), wanted))
    each = ceil(ANSWERS_PER_ROW * wanted / len(chosen))
    if setup.task.answers == "llm":
        return complete + _ask_answers(chosen, each, writer, setup.task)
    for context in chosen:
        found = setup.task.propose_answers(context.text)
        picked = rng.sample(found, min(each, len(found)))
        complete += [replace(context, label=answer) for answer in picked]
    if not complete:
        raise TooFewRowsError(
            f"no seed data can be written: {setup.task.answers} finds no answer in any of "
            f"{len(chosen)} passages",
            hint="task.answers: llm asks the LLM; another spaCy pipeline may find more",
        )
    return complete


def in_passes(items: Iterable[T], rng: Random) -> Iterator[T]:
    """Yield items endlessly in shuffled passes: each comes once before any comes again."""
    rows = list(items)
    while rows:
        rng.shuffle(rows)
        yield from rows


def _write_contexts(writer: Writer, size: int) -> list[Context]:
    """Have the LLM write contexts: enough to use each once for each label.

    Of a limited budget they may use one part in 1 + the number of labels.
    """
    task = writer.setup.task
    labels = max(1, len(task.label_names))
    count = ceil(size / labels)
    request = Request(task.context_prompt(), stream="context", tags={"kind": "context"})

    def parse(answer: Completion, _: Request) -> str | Rejected:
        return task.parse_context(answer.text, truncated=answer.truncated)

    with writer.share(1 / (1 + labels)):
        found = writer.ask([request] * count, parse)
    return _some([Context(text) for text in found if text], writer, "contexts")


def _ask_answers(
    passages: Sequence[Context], each: int, writer: Writer, task: ExtractiveQA
) -> list[Context]:
    """Have the LLM propose up to `each` answers for every passage."""
    requests = [
        Request(
            task.answers_prompt(passage.text, each),
            stream="answers",
            tags={"kind": "answers", "context": passage.text},
        )
        for passage in passages
    ]

    def parse(answer: Completion, request: Request) -> list[Answers | None] | Rejected:
        passage = request.tags["context"]
        return task.parse_answers(answer.text, passage, truncated=answer.truncated)

    with writer.share(ANSWERS_SHARE):
        listed = writer.ask(requests, parse)
    proposed = [label for labels in listed for label in labels or ()]
    if missing := proposed.count(None):
        writer.setup.warn(
            f"answers: {missing} of {len(proposed)} were left out: not in their passage"
        )
    contexts: list[Context] = []
    for passage, labels in zip(passages, listed, strict=True):
        different = {str(label): label for label in labels or () if label}
        contexts += [replace(passage, label=label) for label in list(different.values())[:each]]
    return _some(contexts, writer, "answers")


def _some(contexts: list[Context], writer: Writer, what: str) -> list[Context]:
    if not contexts:
        raise TooFewRowsError(
            f"no seed data can be written: the LLM wrote no {what} that can be used; the last: "
            f"{writer.last_unused()}",
            hint="give contexts of your own: data: {contexts: contexts.jsonl}",
        )
    return contexts
