"""Label balancing: requests for labels that have enough rows are skipped."""

from collections import Counter
from collections.abc import Iterator, Sequence

from stepsynth.methods._method import Setup, Unused
from stepsynth.methods._written import RowRequest, Written
from stepsynth.records import Example, Rejected

REQUESTS_PER_ROW = 100
"""Most requests to skip per wanted row before balancing gives up."""


def of_short_labels(
    requests: Iterator[RowRequest], kept: Sequence[Example], size: int, setup: Setup
) -> Iterator[RowRequest]:
    """Yield the requests for labels that are short of their equal share."""
    lacking = equal_shares(size, setup)
    lacking.subtract(str(row.label) for row in kept)
    passed_over = 0
    for request in requests:
        # Contexts may fix labels, so that a wanted label never comes: this must end.
        if passed_over > REQUESTS_PER_ROW * size:
            return
        label = str(request.like.label)
        if lacking[label] > 0:
            lacking[label] -= 1
            yield request
        else:
            passed_over += 1


def drop_surplus(written: Written, size: int, setup: Setup) -> None:
    """Drop rows beyond their label's equal share: a judge may have relabelled rows to it."""
    left, kept = equal_shares(size, setup), list[Example]()
    for row in written.rows:
        left[str(row.label)] -= 1
        if left[str(row.label)] >= 0:
            kept.append(row)
            continue
        surplus = Rejected("surplus", row.text)
        written.unused.append(Unused(surplus, str(row.label), row.provenance, context=row.context))
    written.rows = kept


def equal_shares(size: int, setup: Setup) -> Counter[str]:
    """Return the rows of each label that share `size` rows equally."""
    names = setup.task.label_names
    each, rest = divmod(size, len(names))
    return Counter({name: each + (i < rest) for i, name in enumerate(names)})
