"""Usage totals of a run, in numbers and in words, for the summary, display and report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stepsynth._util.text import shorten
from stepsynth.run_records import LLMTotals
from stepsynth.runner.shown import ShownGold

if TYPE_CHECKING:
    from stepsynth.llm import Usage
    from stepsynth.methods import Unused


def llm_totals(
    usage: "Usage",
    rejected: Mapping[str, int],
    shown: ShownGold,
    *,
    backend: str | None,
    kept_rows: int | None,
) -> LLMTotals:
    """Return the `llm` part of a summary.

    Args:
        usage: The requests sent, and the cost of all completions of the data set.
        rejected: Reason -> number of rejected answers.
        shown: The gold texts in prompts.
        backend: The name of the backend; None: the method asks no LLM.
        kept_rows: Number of rows of the final data set; None: there is none yet.
    """
    used = usage.to_dict()
    if backend is None:
        used["usd"] = 0.0
    tokens = used["prompt_tokens"] + used["completion_tokens"]
    rows = kept_rows if backend is not None else None
    return LLMTotals(
        **used,
        rejected=dict(sorted(rejected.items())),
        # No tokens at all means that the provider did not count them.
        tokens_per_kept_row=round(tokens / rows, 1) if rows and tokens else None,
        usd_per_kept_row=None if not rows or used["usd"] is None else used["usd"] / rows,
        backend=backend,
        gold_texts={llm: len(found) for llm, found in sorted(shown.texts.items())},
        gold_contexts={llm: len(found) for llm, found in sorted(shown.contexts.items())},
    )


def retried_by_cause(setbacks: Mapping[str, int], failures: Mapping[str, int]) -> Counter[str]:
    """Return the causes of retries: failed attempts, except the last one of a request."""
    return Counter(setbacks) - Counter(failures)


def by_cause(counts: Mapping[str, int], name: str) -> str:
    """Return counts in words ("12 retried: 10 rate_limit, 2 timeout"); "": there are none."""
    total = sum(counts.values())
    if not total:
        return ""
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(most_first) == 1:
        return f"{total} {name}: {most_first[0][0]}"
    return f"{total} {name}: " + ", ".join(f"{n} {cause}" for cause, n in most_first)


def unused_in_words(unused: "Sequence[Unused]") -> str:
    """Return why requests brought no row, with one example, in words; "": there are none."""
    if not unused:
        return ""
    counts = Counter(item.rejected.reason for item in unused)
    reason = counts.most_common(1)[0][0]
    last = next(item for item in reversed(unused) if item.rejected.reason == reason)
    said = shorten(last.detail or last.rejected.completion, 200)
    return f". Of what was asked, {by_cause(counts, 'became no row')}; the last {reason}: {said!r}"
