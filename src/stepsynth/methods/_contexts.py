"""Contexts for seed data (S3, section 2.4): given ones, or those that the LLM writes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from random import Random
from typing import Any

from stepsynth._util.text import shorten
from stepsynth.errors import TooFewRowsError
from stepsynth.llm import Completion, Failed, Request
from stepsynth.methods._method import Setup, Unused
from stepsynth.methods._steps import warn_of_failed
from stepsynth.records import Context, Provenance, Rejected
from stepsynth.tasks.extractive_qa import ExtractiveQA

ANSWERS_PER_ROW = 1.5
"""Answers to propose for a wanted row: as many as draws may be needed for it."""


@dataclass
class Gathered:
    """Contexts, and what the LLM was asked to get them."""

    contexts: list[Context] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    exchanges: dict[str, tuple[str, str]] = field(default_factory=dict)


def gather_contexts(setup: Setup, size: int, *, method: str) -> Gathered:
    """Return the contexts that `size` rows are written for.

    Those of the set-up; without any, the LLM writes them. Passages that come without an answer get
    answers, from the LLM or by the task's rules.
    """
    gathered = Gathered(list(setup.contexts))
    if not gathered.contexts:
        _write_contexts(gathered, setup, size, method)
    if isinstance(setup.task, ExtractiveQA):
        _add_answers(gathered, setup, setup.task, size, method)
    return gathered


def in_passes(contexts: Sequence[Context], rng: Random) -> Iterator[Context]:
    """Yield contexts in random order without end, none twice before every one once."""
    rows = list(contexts)
    while rows:
        rng.shuffle(rows)
        yield from rows


def _write_contexts(gathered: Gathered, setup: Setup, size: int, method: str) -> None:
    """Have the LLM write contexts: enough to use each once for each label."""
    count = ceil(size / max(1, len(setup.task.label_names)))
    request = Request(setup.task.context_prompt(), stream="context", tags={"kind": "context"})

    def parse(answer: Completion, _: Request) -> list[Context] | Rejected:
        text = setup.task.parse_context(answer.text, truncated=answer.truncated)
        return text if isinstance(text, Rejected) else [Context(text)]

    _ask(gathered, [request] * count, parse, setup, method)


def _add_answers(
    gathered: Gathered, setup: Setup, task: ExtractiveQA, size: int, method: str
) -> None:
    """Give passages that come without an answer several, as long as rows are wanted of them."""
    bare = [context for context in gathered.contexts if context.label is None]
    gathered.contexts = [context for context in gathered.contexts if context.label is not None]
    wanted = size - len(gathered.contexts)
    if wanted <= 0 or not bare:
        return
    rng = setup.rng("answers")
    chosen = rng.sample(bare, min(len(bare), wanted))
    each = ceil(ANSWERS_PER_ROW * wanted / len(chosen))
    if task.answers != "llm":
        for context in chosen:
            found = task.propose_answers(context.text)
            picked = rng.sample(found, min(each, len(found)))
            gathered.contexts += [replace(context, label=answer) for answer in picked]
        if not gathered.contexts:
            raise TooFewRowsError(
                f"no seed data can be written: {task.answers} finds no answer in any of "
                f"{len(chosen)} passages",
                hint="task.answers: llm asks the LLM; another spaCy pipeline may find more",
            )
        return
    requests = [
        Request(
            task.answers_prompt(context.text, each),
            stream="answers",
            tags={"kind": "answers", "context": context.text},
        )
        for context in chosen
    ]

    proposed, left_out = 0, 0

    def parse(answer: Completion, request: Request) -> list[Context] | Rejected:
        nonlocal proposed, left_out
        passage = request.tags["context"]
        found = task.parse_answers(answer.text, passage, truncated=answer.truncated)
        if isinstance(found, Rejected):
            return found
        proposed, left_out = proposed + len(found), left_out + found.count(None)
        known = {str(label): Context(passage, label) for label in found if label}
        return list(known.values())[:each]

    _ask(gathered, requests, parse, setup, method)
    if left_out:
        setup.warn(f"answers: {left_out} of {proposed} were left out: not in their passage")


def _ask(
    gathered: Gathered,
    requests: Sequence[Request],
    parse: Callable[[Completion, Request], list[Context] | Rejected],
    setup: Setup,
    method: str,
) -> None:
    """Ask for contexts or answers, and keep what comes of it."""
    kind = requests[0].tags["kind"]
    unused: list[Unused] = []
    answers = setup.llm.generate(requests, phase=kind)
    for request, answer in zip(requests, answers, strict=True):
        is_failed = isinstance(answer, Failed)
        if isinstance(answer, Failed):
            found: list[Context] | Rejected = Rejected(answer.reason, "")
            gathered.exchanges[answer.request_id] = (request.prompt, "")
        else:
            found = parse(answer, request)
            gathered.exchanges[answer.request_id] = (request.prompt, answer.text)
        passage = request.tags.get("context")
        if isinstance(found, Rejected):
            origin = Provenance(
                method,
                kind=kind,
                draw=answer.draw,
                request=answer.request_id,
                model=setup.llm.settings.model,
            )
            unused.append(Unused(found, "", origin, is_failed, passage))
            continue
        gathered.contexts += found
        said = gathered.exchanges[answer.request_id][1]
        given = {} if passage is None else {"context": passage}
        recording: dict[str, Any] = {"kind": kind, **given, "draw": answer.draw, "completion": said}
        if isinstance(answer, Completion) and answer.truncated:
            recording["truncated"] = True
        gathered.asked.append(recording)
    gathered.unused += unused
    warn_of_failed(unused, setup, phase=kind, asked=len(requests))
    if not gathered.contexts:
        raise TooFewRowsError(
            f"no seed data can be written: none of {len(requests)} requests for {kind} brought one "
            f"that can be used; the first: {unused[0].rejected.reason}, "
            f"{shorten(unused[0].rejected.completion)!r}",
            hint="give contexts of your own: data: {contexts: contexts.jsonl}",
        )
