"""What several methods do: ask for rows, read the answers, train a round."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, repeat
from math import ceil
from typing import TypeVar

from stepsynth._util.text import normalise
from stepsynth.llm import Completion, Failed, Request
from stepsynth.methods._corrections import correct
from stepsynth.methods._judge import judge_labels
from stepsynth.methods._method import Model, Round, Setup, Unused
from stepsynth.methods._several import Order, Share, divide, group_wishes
from stepsynth.methods._written import (
    BUDGET,
    Wish,
    Written,
    check_answered,
    send,
    warn_of_failed,
    warn_of_thoughts,
)
from stepsynth.prompts import parse_list, split_texts
from stepsynth.records import Answers, Dataset, Example, Provenance, Rejected
from stepsynth.students import FreshStudent

T = TypeVar("T")

DRAWS_PER_ROW = 1.5
"""A rejected draw is replaced by a further one, up to so many draws for a wanted row."""


WISHES_PER_ROW = 100
"""Wishes for labels with enough rows that are passed over, for a wanted row, before it ends."""


def write(
    wishes: Sequence[Wish], setup: Setup, *, phase: str, seen: set[str] | None = None
) -> Written:
    """Ask for each wish once and read the answers: the paper's x ~ P_LLM( · | T).

    Args:
        wishes: One request each; with several texts in one prompt, one for those that are equal.
        setup: Gives the LLM and the task's parser.
        phase: For the progress display.
        seen: Rows, as normalised text, that a row must not repeat; kept up to date. None: they may.
    """
    written = Written()
    orders = group_wishes(wishes, setup)
    requests = [order.request for order in orders]
    answers = send(requests, setup, phase=phase)

    def find_fault(place: int, answer: Completion) -> str | None:
        return _find_fault(orders[place], answer, setup)

    answers = correct(requests, answers, find_fault, setup, written, phase=phase)
    extra = 0
    for order, answer in zip(orders, answers, strict=True):
        if isinstance(answer, Failed) and answer.reason == BUDGET:
            break
        said = answer.text if isinstance(answer, Completion) else ""
        if answer.request_id:
            written.exchanges[answer.request_id] = (order.request.prompt, said)
        written.known[answer.request_id] = order.wishes[0].note
        shares, beyond = divide(order, answer)
        extra += beyond
        for share in shares:
            row = _read(share, setup, seen)
            if isinstance(row, Unused):
                written.unused.append(row)
                continue
            written.rows.append(row)
    setup.journal.unused += written.unused
    setup.journal.exchanges |= written.exchanges
    if extra:
        setup.warn(f"{phase}: {extra} texts more than were asked for were left out")
    warn_of_failed(written.unused, setup, phase=phase, asked=len(orders))
    warn_of_thoughts(answers, setup, phase=phase)
    check_answered(answers, setup.llm, phase=phase)
    if setup.curator is not None and setup.curator.settings.check == "llm":
        judge_labels(
            written, setup, on_wrong=setup.curator.settings.on_wrong, phase=f"{phase}: label check"
        )
    return written


def write_until(
    size: int, wishes: Iterator[Wish], setup: Setup, *, phase: str, seen: set[str] | None = None
) -> Written:
    """Ask for wishes in turn until `size` rows are kept, or 1.5 x `size` draws are used up.

    Where curation balances labels, a wish for a label that has its share of rows is passed over.
    With several texts in one prompt, each wish is for as many rows.
    """
    written, drawn, most = Written(), 0, int(DRAWS_PER_ROW * size)
    balance = setup.curator is not None and setup.curator.settings.balance
    while len(written.rows) < size and drawn < most:
        wanted = min(size - len(written.rows), most - drawn)
        due = chain.from_iterable(repeat(wish, setup.texts_per_prompt) for wish in wishes)
        if balance:
            due = _of_short_labels(due, written.rows, size, setup)
        batch = list(islice(due, _affordable_rows(wanted, setup)))
        drawn += len(batch)
        if not batch:
            break
        name = phase if drawn == len(batch) else f"{phase}, in place of rejected"
        written.extend(write(batch, setup, phase=name, seen=seen))
        if balance:
            _drop_surplus(written, size, setup)
    if len(written.rows) < size and _affordable_rows(1, setup):
        setup.warn(f"{phase}: {len(written.rows)} of {size} rows were kept after {drawn} draws")
    return written


def _affordable_rows(wanted: int, setup: Setup) -> int:
    """Return how many of the wanted rows can be paid for: a judge costs a request for each."""
    each = setup.texts_per_prompt
    is_judged = setup.curator is not None and setup.curator.settings.check == "llm"
    asked = ceil(wanted / each) + wanted * is_judged
    paid = setup.purse.affordable(asked)
    return wanted if paid >= asked else paid * each // (1 + each * is_judged)


def _of_short_labels(
    wishes: Iterator[Wish], kept: Sequence[Example], size: int, setup: Setup
) -> Iterator[Wish]:
    """Yield the wishes for labels that lack rows of their equal share."""
    lacking = _equal_shares(size, setup)
    lacking.subtract(str(row.label) for row in kept)
    passed_over = 0
    for wish in wishes:
        # Contexts may fix labels so that a label never comes: that must end.
        if passed_over > WISHES_PER_ROW * size:
            return
        label = str(wish.like.label)
        if lacking[label] > 0:
            lacking[label] -= 1
            yield wish
        else:
            passed_over += 1


def _equal_shares(size: int, setup: Setup) -> Counter[str]:
    names = setup.task.label_names
    each, rest = divmod(size, len(names))
    return Counter({name: each + (i < rest) for i, name in enumerate(names)})


def _drop_surplus(written: Written, size: int, setup: Setup) -> None:
    """Drop rows of a label beyond its equal share: a judge may have relabelled rows to it."""
    left, kept = _equal_shares(size, setup), list[Example]()
    for row in written.rows:
        left[str(row.label)] -= 1
        if left[str(row.label)] >= 0:
            kept.append(row)
            continue
        surplus = Rejected("surplus", row.text)
        written.unused.append(Unused(surplus, str(row.label), row.provenance, context=row.context))
    written.rows = kept


def _find_fault(order: Order, answer: Completion, setup: Setup) -> str | None:
    """Return why an answer cannot be read; of several texts, why they cannot be told apart."""
    found = (
        _parse(order.wishes[0], answer, setup)
        if len(order.wishes) == 1
        else split_texts(answer.text, truncated=answer.truncated)
    )
    return found.reason if isinstance(found, Rejected) else None


def _parse(wish: Wish, answer: Completion, setup: Setup) -> Example | Rejected:
    if answer.is_filtered:
        return Rejected("refusal", answer.text)
    row = setup.task.parse_example(answer.text, wish.like, truncated=answer.truncated)
    if setup.curator is not None and not setup.curator.settings.clean:
        return _as_it_is(answer.text, wish.like, row)
    return row


def _read(share: Share, setup: Setup, seen: set[str] | None) -> Example | Unused:
    wish, answer = share.wish, share.answer
    provenance = replace(
        wish.provenance, request=answer.request_id, draw=answer.draw, part=share.part
    )
    label, context = str(wish.like.label), wish.like.context
    if isinstance(answer, Failed):
        lost = Rejected(answer.reason, answer.raw)
        return Unused(lost, label, provenance, True, context, answer.detail)
    provenance = replace(provenance, model=answer.model or provenance.model)
    row = share.rejected or _parse(wish, answer, setup)
    if wish.check is not None and not isinstance(row, Rejected):
        row = wish.check(row)
    if setup.curator is not None and not isinstance(row, Rejected):
        parent = wish.like if wish.like.text else None
        said, shots = answer.text, wish.shots
        row = setup.curator.reject(row, parent=parent, completion=said, shots=shots) or row
    if isinstance(row, Rejected):
        return Unused(row, label, provenance, context=context, detail=answer.stop)
    if seen is not None:
        key = normalise(f"{row.context or ''}\n{row.text}")
        if key in seen:
            return Unused(Rejected("duplicate", answer.text), label, provenance, context=context)
        seen.add(key)
    return replace(row, provenance=provenance)


def _as_it_is(said: str, like: Example, read: Example | Rejected) -> Example | Rejected:
    """Return the row of a completion that is not cleaned.

    What was asked for as JSON, or with an answer of its own, has to be read all the same.
    """
    is_structured = isinstance(like.label, Answers) or said.lstrip().startswith(("{", "```"))
    return read if is_structured or not said.strip() else replace(like, text=said)


def extrapolation(parent: Example, setup: Setup, *, method: str, index: int) -> Wish:
    """Return the wish for another row like this one, with its gold label: the paper's T_mis."""
    return Wish(
        prompt=setup.task.extrapolation_prompt(parent),
        like=parent,
        schema=setup.task.answer_schema("extrapolate"),
        provenance=Provenance(
            method, index, "extrapolate", (parent.id,), model=setup.llm.settings.model
        ),
    )


def misclassified(model: Model, gold: Dataset, setup: Setup) -> tuple[Dataset, tuple[str, ...]]:
    """Return the gold rows that a model gets wrong, in gold order, and what it says of each.

    Paper:
        S3, Algorithm 2, line 6: D_mis. The gold label is kept, the prediction never used.
    """
    pairs = [
        (row, said)
        for row, said in zip(gold, model.predict(gold).labels, strict=True)
        if not setup.task.is_correct(row, said)
    ]
    return Dataset(row for row, _ in pairs), tuple(said for _, said in pairs)


def train_round(
    index: int,
    train: Dataset,
    setup: Setup,
    *,
    added: Written,
    weights: Sequence[float] | None = None,
) -> Round:
    """Return a round whose fresh student is fitted on `train`: what one-shot methods yield."""
    model = setup.student.new()
    model.fit(train, weights)
    missed, predicted = misclassified(model, setup.mine, setup)
    return finish_round(index, model, missed, predicted, setup, added=added)


def finish_round(
    index: int,
    model: FreshStudent,
    missed: Dataset,
    predicted: tuple[str, ...],
    setup: Setup,
    *,
    added: Written,
) -> Round:
    """Return the record of a round."""
    return Round(
        index=index,
        added=Dataset(added.rows),
        train=model.rows,
        model=model,
        misclassified=missed,
        predicted=predicted,
        select_score=setup.score(model),
        unused=tuple(added.unused),
        rationales=added.rationales,
        asked=tuple(added.asked),
        exchanges=added.exchanges,
        weights=model.weights,
        notes=added.notes,
    )


def ask(
    requests: Sequence[Request],
    parse: Callable[[Completion, Request], T | Rejected],
    setup: Setup,
    written: Written,
    *,
    method: str,
) -> list[T | None]:
    """Ask for what rows are written from, and return what each answer holds, or None.

    Args:
        requests: All of one kind: rationales, contexts, answers, ...
        parse: Reads an answer.
        setup: Gives the LLM.
        written: What was asked, and what could not be used, is kept here.
        method: The method that asks.
    """
    if not requests:
        return []
    kind = requests[0].tags["kind"]
    results: list[T | None] = []
    unused: list[Unused] = []
    answers = send(requests, setup, phase=kind)

    def find_fault(place: int, answer: Completion) -> str | None:
        found = parse(answer, requests[place])
        return found.reason if isinstance(found, Rejected) else None

    answers = correct(requests, answers, find_fault, setup, written, phase=kind)
    unsent = sum(isinstance(answer, Failed) and answer.reason == BUDGET for answer in answers)
    for request, answer in zip(requests, answers[: len(answers) - unsent], strict=False):
        model = setup.llm.settings.model
        if isinstance(answer, Failed):
            found, said, is_cut = Rejected(answer.reason, answer.raw), "", False
            detail = answer.detail
        else:
            found, said, is_cut = parse(answer, request), answer.text, answer.truncated
            model, detail = answer.model or model, answer.stop
            if answer.is_filtered:
                found = Rejected("refusal", said)
            elif copy := _find_copy(found, said, setup):
                found = Rejected(copy, said)
        tags = request.tags
        if answer.request_id:
            written.exchanges[answer.request_id] = (request.prompt, said)
        results.append(None if isinstance(found, Rejected) else found)
        if isinstance(found, Rejected):
            origin = Provenance(
                method,
                kind=kind,
                draw=answer.draw,
                request=answer.request_id,
                model=model,
            )
            is_failed, context = isinstance(answer, Failed), tags.get("context")
            label = tags.get("label", "")
            unused.append(Unused(found, label, origin, is_failed, context, detail))
        else:
            cut = {"truncated": True} if is_cut else {}
            written.asked.append({**tags, "draw": answer.draw, **cut, "completion": said})
    written.unused += unused
    setup.journal.unused += unused
    setup.journal.exchanges |= written.exchanges
    warn_of_failed(unused, setup, phase=kind, asked=len(requests))
    check_answered(answers, setup.llm, phase=kind)
    if unsent:
        setup.warn(f"{kind}: {unsent} of {len(requests)} requests were not sent: the budget is out")
    return results + [None] * unsent


def _find_copy(found: object, said: str, setup: Setup) -> str | None:
    """Return which held-out text an answer repeats that goes into prompts: whole, or in an item."""
    if setup.curator is None or isinstance(found, Rejected):
        return None
    items = [each for each in found if isinstance(each, str)] if isinstance(found, tuple) else []
    stops = map(setup.curator.gate.stop_text, [said, *said.splitlines(), *items])
    return next(filter(None, stops), None)


def read_list(answer: Completion, _: Request) -> tuple[str, ...] | Rejected:
    """Return the items of an answer that is a list, for `ask`."""
    return parse_list(answer.text, truncated=answer.truncated)
