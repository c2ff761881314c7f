"""Several texts from one request: wishes for the same are grouped, and an answer is divided."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepsynth._util.hashing import digest
from stepsynth.llm import Completion, Failed, Request
from stepsynth.methods._method import Setup
from stepsynth.methods._written import Wish
from stepsynth.prompts import Part, split_texts
from stepsynth.records import Example, Provenance, Rejected


@dataclass(frozen=True)
class Order:
    """One request, and the wishes that its answer is to fulfil."""

    request: Request
    wishes: Sequence[Wish]


@dataclass(frozen=True)
class Share:
    """What an answer holds for one wish.

    Attributes:
        wish: What was wished for.
        answer: The answer, with the text for this wish alone.
        part: Which text of the answer that is, from 1; 0: the answer is that text.
        rejected: Why the answer has no text for it, where it has none.
    """

    wish: Wish
    answer: Completion | Failed
    part: int = 0
    rejected: Rejected | None = None


def group_wishes(wishes: Sequence[Wish], setup: Setup) -> list[Order]:
    """Return what to send: up to `setup.texts_per_prompt` equal wishes in one request.

    Orders come in the order of their first wish. A wish alone is sent as it is.
    """
    if setup.texts_per_prompt == 1:
        return [_order([wish], setup) for wish in wishes]
    groups: list[list[Wish]] = []
    unfilled: dict[tuple[str, Example, Provenance, str], list[Wish]] = {}
    for wish in wishes:
        same = (wish.prompt, wish.like, wish.provenance, digest(wish.note))
        if same not in unfilled:
            unfilled[same] = []
            groups.append(unfilled[same])
        unfilled[same].append(wish)
        if len(unfilled[same]) == setup.texts_per_prompt:
            del unfilled[same]
    return [_order(group, setup) for group in groups]


def _order(wishes: Sequence[Wish], setup: Setup) -> Order:
    request = wishes[0].request()
    if setup.text_tokens is not None:
        request = replace(request, max_tokens=len(wishes) * setup.text_tokens)
    if len(wishes) > 1:
        suffix = setup.task.render("several", number=len(wishes))
        # A schema is that of one text.
        request = replace(request, prompt=f"{request.prompt}\n\n{suffix}", schema=None)
    return Order(request, wishes)


def divide(order: Order, answer: Completion | Failed) -> tuple[list[Share], int]:
    """Return what an answer holds for each wish, and how many texts it has beyond them.

    A request that failed is one share: it is listed once.
    """
    wishes = order.wishes
    if isinstance(answer, Failed) or len(wishes) == 1:
        return [Share(wishes[0], answer)], 0
    parts = split_texts(answer.text, truncated=answer.truncated)
    if isinstance(parts, Rejected):
        return [Share(wish, answer, i, parts) for i, wish in enumerate(wishes, start=1)], 0
    lacking = Rejected("missing", answer.text)
    shares = [
        _share(wish, answer, i, parts[i - 1])
        if i <= len(parts)
        else Share(wish, answer, i, lacking)
        for i, wish in enumerate(wishes, start=1)
    ]
    return shares, max(0, len(parts) - len(wishes))


def _share(wish: Wish, answer: Completion, number: int, part: Part) -> Share:
    own = replace(answer, text=part.text, truncated=part.is_open and answer.truncated)
    rejected = Rejected("broken_tags", part.text) if part.is_broken else None
    return Share(wish, own, number, rejected)
