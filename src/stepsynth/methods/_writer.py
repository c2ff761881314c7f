"""The writer of a round: it requests rows from the LLM and keeps every outcome."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain, islice, repeat
from math import ceil
from typing import Any, TypeVar

from stepsynth._util.text import shorten
from stepsynth.llm import Completion, Failed, Request
from stepsynth.methods._balancing import drop_surplus, of_short_labels
from stepsynth.methods._corrections import correct
from stepsynth.methods._grouping import divide, group
from stepsynth.methods._judge import judge_labels
from stepsynth.methods._method import Model, Round, Setup, Unused
from stepsynth.methods._reading import find_copy, find_fault, read_row
from stepsynth.methods._sending import (
    BUDGET,
    check_answered,
    send,
    warn_of_failed,
    warn_of_thoughts,
)
from stepsynth.methods._written import RowRequest, Written
from stepsynth.metrics import AnyPredictions
from stepsynth.prompts import parse_list
from stepsynth.records import Dataset, Example, Provenance, Rejected
from stepsynth.students import FreshStudent

T = TypeVar("T")

DRAWS_PER_ROW = 1.5
"""Most draws per wanted row: a rejected draw is replaced by a further one."""


class Writer:
    """The writer of a round.

    Args:
        setup: Gives the LLM, the task's parser, curation and the budget.
        method: Name of the requesting method.
        index: Index of the round.
        seen: Digests of rows that no row may repeat; kept up to date. None: they may.

    Attributes:
        written: Rows, unused answers and notes of the round.
    """

    def __init__(
        self, setup: Setup, method: str, index: int = 0, *, seen: set[bytes] | None = None
    ) -> None:
        self.setup = setup
        self.method = method
        self.index = index
        self.written = Written()
        self._seen = seen
        # Rows often share a prompt; one copy of it is kept.
        self._prompts: dict[str, str] = {}

    def next_round(self) -> "Writer":
        """Return the writer of the next round, with the same rows that may not be repeated."""
        return Writer(self.setup, self.method, self.index + 1, seen=self._seen)

    @property
    def rows(self) -> Dataset:
        """The rows kept so far."""
        return Dataset(self.written.rows)

    def share(self, share: float) -> AbstractContextManager[None]:
        """Limit a `with` block to a share of the budget that is left."""
        return self.setup.spending.part(share)

    # Requests for rows ------------------------------------------------------------------------

    def row(
        self,
        kind: str,
        prompt: str,
        like: Example,
        *,
        parents: Sequence[Example] = (),
        **more: Any,
    ) -> RowRequest:
        """Return the request for a row.

        Args:
            kind: Kind of the prompt, as in provenance and phases.
            prompt: The prompt to send.
            like: Gives the label and the context of the row; its text is the error to extrapolate
                ("" for seed data).
            parents: Gold rows that it is written from.
            more: `check`, `source`, `shots`, `schema` and `note` of the request.
        """
        names = tuple(parent.id for parent in parents)
        model = self.setup.llm.settings.model
        origin = Provenance(self.method, self.index, kind, names, model=model)
        prompt = self._prompts.setdefault(prompt, prompt)
        return RowRequest(prompt, like, origin, **more)

    def extrapolation(self, parent: Example) -> RowRequest:
        """Return the request to extrapolate a gold row, with its gold label (T_mis)."""
        task = self.setup.task
        prompt, schema = task.extrapolation_prompt(parent), task.answer_schema("extrapolate")
        return self.row("extrapolate", prompt, parent, parents=[parent], schema=schema)

    # Asking -----------------------------------------------------------------------------------

    def ask(
        self,
        requests: Sequence[Request],
        parse: Callable[[Completion, Request], T | Rejected],
    ) -> list[T | None]:
        """Request what rows are written from, and return the content of each answer, or None.

        Args:
            requests: All of one kind: rationales, contexts, answers, ...
            parse: Parses an answer.
        """
        if not requests:
            return []
        setup, written, kind = self.setup, self.written, requests[0].tags["kind"]

        def fault(place: int, answer: Completion) -> str | None:
            found = parse(answer, requests[place])
            return found.reason if isinstance(found, Rejected) else None

        answers = send(requests, setup, phase=kind)
        answers = correct(requests, answers, fault, setup, written, phase=kind)
        sent = [a for a in answers if not (isinstance(a, Failed) and a.reason == BUDGET)]
        before = len(written.unused)
        results: list[T | None] = [
            self._take(request, answer, parse)
            for request, answer in zip(requests, sent, strict=False)
        ]
        unused = written.unused[before:]
        setup.journal.add(unused, written.exchanges)
        warn_of_failed(unused, setup, phase=kind, asked=len(requests))
        check_answered(answers, setup.llm, phase=kind)
        unsent = len(requests) - len(sent)
        if unsent:
            setup.warn(
                f"{kind}: {unsent} of {len(requests)} requests were not sent: "
                "the budget for them is used up"
            )
        return results + [None] * unsent

    def request(
        self, kind: str, label: str = "", *, tagged: Sequence[str] = (), **fields: Any
    ) -> Request:
        """Return the request for what rows are written from, by the task's prompt of that kind.

        Args:
            kind: Name of the prompt, and of its stream.
            label: The label that it is about; "": none.
            tagged: Names of fields that become tags.
            fields: Fields of the prompt.
        """
        prompt = self.setup.task.prompt(kind, Example("", label), **fields)
        tags = {"kind": kind} | ({"label": label} if label else {})
        return Request(prompt, stream=kind, tags=tags | {name: fields[name] for name in tagged})

    def ask_lists(
        self,
        requests: Sequence[Request],
        read: Callable[..., tuple[str, ...] | Rejected] = parse_list,
    ) -> list[tuple[str, ...]]:
        """Request lists, and return the items of each answer; an unreadable answer has none.

        Args:
            requests: One for each list.
            read: Returns the items of a text, as `parse_list` does.
        """

        def parse(answer: Completion, _: Request) -> tuple[str, ...] | Rejected:
            return read(answer.text, truncated=answer.truncated)

        return [items or () for items in self.ask(requests, parse)]

    def last_unused(self) -> str:
        """Return the reason and the beginning of the last answer that could not be used."""
        unused = self.written.unused
        last = unused[-1].rejected if unused else Rejected("nothing sent", "")
        return f"{last.reason}, {shorten(last.completion)!r}"

    def _take(
        self,
        request: Request,
        answer: Completion | Failed,
        parse: Callable[[Completion, Request], T | Rejected],
    ) -> T | None:
        """Return the content of an answer, if any; record it, or why it is unusable."""
        written, tags, model = self.written, request.tags, self.setup.llm.settings.model
        said = answer.text if isinstance(answer, Completion) else ""
        if answer.request_id:
            written.exchanges[answer.request_id] = (request.prompt, said)
        if isinstance(answer, Failed):
            found, detail = Rejected(answer.reason, answer.raw), answer.detail
        else:
            found, model, detail = parse(answer, request), answer.model or model, answer.stop
            if answer.is_filtered:
                found = Rejected("refusal", said)
            elif copy := find_copy(found, said, self.setup):
                found = Rejected(copy, said)
            if not isinstance(found, Rejected):
                cut = {"truncated": True} if answer.truncated else {}
                written.asked.append({**tags, "draw": answer.draw, **cut, "completion": said})
                return found
        origin = Provenance(
            self.method,
            kind=tags["kind"],
            draw=answer.draw,
            request=answer.request_id,
            model=model,
        )
        is_failed, context = isinstance(answer, Failed), tags.get("context")
        label = tags.get("label", "")
        written.unused.append(Unused(found, label, origin, is_failed, context, detail))
        return None

    # Writing ----------------------------------------------------------------------------------

    def write(self, requests: Sequence[RowRequest], *, phase: str) -> None:
        """Request each row once and keep the readable ones: the paper's x ~ P_LLM( · | T).

        Args:
            requests: One for each row; equal ones may share a prompt.
            phase: For the progress display.
        """
        self.written.extend(self._write(requests, phase))

    def write_until(self, size: int, requests: Iterator[RowRequest], *, phase: str) -> None:
        """Request rows in turn until `size` more are kept, or 1.5 x `size` draws are used up.

        If curation balances labels, requests for a label that has its share are skipped. With
        several texts in one prompt, each request is for that many rows.
        """
        setup = self.setup
        written, drawn, most = Written(), 0, int(DRAWS_PER_ROW * size)
        balance = setup.curator.settings.balance
        while len(written.rows) < size and drawn < most:
            wanted = min(size - len(written.rows), most - drawn)
            due = chain.from_iterable(repeat(each, setup.texts_per_prompt) for each in requests)
            if balance:
                due = of_short_labels(due, written.rows, size, setup)
            batch = list(islice(due, self._affordable_rows(wanted)))
            drawn += len(batch)
            if not batch:
                break
            name = phase if drawn == len(batch) else f"{phase}, in place of rejected"
            written.extend(self._write(batch, name))
            if balance:
                drop_surplus(written, size, setup)
        if len(written.rows) < size and self._affordable_rows(1):
            setup.warn(f"{phase}: {len(written.rows)} of {size} rows were kept after {drawn} draws")
        self.written.extend(written)

    def _affordable_rows(self, wanted: int) -> int:
        """Return how many of the wanted rows are affordable; a judge costs a request for each."""
        setup = self.setup
        each = setup.texts_per_prompt
        is_judged = setup.curator.settings.check == "llm"
        asked = ceil(wanted / each) + wanted * is_judged
        paid = setup.spending.affordable(asked)
        return wanted if paid >= asked else paid * each // (1 + each * is_judged)

    def _write(self, requests: Sequence[RowRequest], phase: str) -> Written:
        setup, written = self.setup, Written()
        groups = group(requests, setup)
        sent = [each.request for each in groups]

        def fault(place: int, answer: Completion) -> str | None:
            return find_fault(groups[place], answer, setup)

        answers = send(sent, setup, phase=phase)
        answers = correct(sent, answers, fault, setup, written, phase=phase)
        extra = 0
        for grouped, answer in zip(groups, answers, strict=True):
            if isinstance(answer, Failed) and answer.reason == BUDGET:
                break
            said = answer.text if isinstance(answer, Completion) else ""
            if answer.request_id:
                written.exchanges[answer.request_id] = (grouped.request.prompt, said)
            if note := grouped.rows[0].note:
                written.known[answer.request_id] = note
            found, beyond = divide(grouped, answer)
            extra += beyond
            for each in found:
                row = read_row(each, setup, self._seen)
                if isinstance(row, Unused):
                    written.unused.append(row)
                else:
                    written.rows.append(row)
        setup.journal.add(written.unused, written.exchanges)
        if extra:
            setup.warn(f"{phase}: {extra} texts more than were asked for were left out")
        warn_of_failed(written.unused, setup, phase=phase, asked=len(groups))
        warn_of_thoughts(answers, setup, phase=phase)
        check_answered(answers, setup.llm, phase=phase)
        if setup.curator.settings.check == "llm":
            on_wrong = setup.curator.settings.on_wrong
            judge_labels(written, setup, on_wrong=on_wrong, phase=f"{phase}: label check")
        return written

    # The round --------------------------------------------------------------------------------

    def train(self, rows: Dataset | None = None, weights: Sequence[float] | None = None) -> Round:
        """Fit a fresh student and return the round.

        Args:
            rows: Training rows; default: the rows kept.
            weights: Weight of each row; None: all equal.
        """
        model = self.setup.student.new()
        model.fit(self.rows if rows is None else rows, weights)
        missed, predicted = misclassified(model, self.setup.mine, self.setup)
        return self.finish(model, missed, predicted)

    def finish(self, model: FreshStudent, missed: Dataset, predicted: tuple[str, ...]) -> Round:
        """Return the record of the round.

        Args:
            model: The fitted student.
            missed: Gold rows of `mine` that it gets wrong.
            predicted: Its prediction for each of them.
        """
        written = self.written
        return Round(
            index=self.index,
            added=self.rows,
            train=model.rows,
            model=model,
            misclassified=missed,
            predicted=predicted,
            select_score=self.setup.score(model),
            unused=tuple(written.unused),
            rationales=written.rationales,
            asked=tuple(written.asked),
            exchanges=written.exchanges,
            weights=model.weights,
            offsets=model.offsets,
            notes=written.notes,
        )


def misclassified(model: Model, gold: Dataset, setup: Setup) -> tuple[Dataset, tuple[str, ...]]:
    """Return the gold rows that a model gets wrong, in order, and its prediction for each.

    Paper:
        S3, Algorithm 2, line 6: D_mis. The gold label is kept, the prediction never used.
    """
    return missed_by(model.predict(gold), gold, setup)


def missed_by(
    predictions: AnyPredictions, gold: Dataset, setup: Setup
) -> tuple[Dataset, tuple[str, ...]]:
    """Return the gold rows with wrong predictions, in order, and the prediction for each."""
    pairs = [
        (row, said)
        for row, said in zip(gold, predictions.labels, strict=True)
        if not setup.task.is_correct(row, said)
    ]
    return Dataset(row for row, _ in pairs), tuple(said for _, said in pairs)
