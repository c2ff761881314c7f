"""Warnings of `check` about readable but unsuitable rows and settings, before anything is paid."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any

from stepsynth._util.words import listed
from stepsynth.data import Gold
from stepsynth.dryrun.lengths import fit_task
from stepsynth.dryrun.stubs import count_tokens
from stepsynth.llm import LLMSettings
from stepsynth.methods import show_shot
from stepsynth.records import Dataset, union
from stepsynth.taskfile import Config

FEW_ROWS = 5
"""Fewest rows of a label in a split without a warning."""
LONG_PROMPT = 2_000
"""Tokens of the longest prompt without a warning."""

TOKENS_OF_A_REASON = 20
"""Tokens of each reason in a list; weak LLMs write more."""

_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_MOST_LISTED = 10


@dataclass(frozen=True)
class PromptSizes:
    """Sizes of the prompts with gold rows, in tokens, as `plan` estimates them.

    Attributes:
        split: The split of the rows.
        tokens: Tokens of each row's prompt.
        usd: Cost of all prompts without the answers; None: the price is not known.
    """

    split: str
    tokens: tuple[int, ...]
    usd: float | None

    @property
    def most(self) -> int:
        """Tokens of the longest prompt."""
        return max(self.tokens)

    @property
    def median(self) -> int:
        """Tokens of the median prompt."""
        return median_low(self.tokens)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        total = sum(self.tokens)
        sizes = {"median": self.median, "most": self.most, "total": total}
        return {"split": self.split, **sizes, "usd": self.usd}

    def in_words(self) -> str:
        """Return the sizes as a sentence."""
        cost = "" if self.usd is None else f", {self.usd:.2g} USD"
        return (
            f"A prompt made of a row of {self.split} has about {self.median:,} tokens (median), at "
            f"most {self.most:,}; once through {self.split} are {sum(self.tokens):,}{cost}."
        )


def foresee(config: Config, gold: Gold, sizes: PromptSizes | None) -> Iterator[str]:
    """Yield warnings about data and settings that a run would accept silently."""
    yield from _few_rows(config, gold)
    if config.llm is not None:
        yield from _nameless_labels(config)
        yield from small_bounds(config, config.llm, gold.mine)
    if sizes is not None and (long := sum(size > LONG_PROMPT for size in sizes.tokens)):
        yield (
            f"{long} of {len(sizes.tokens)} rows of {sizes.split} make prompts of more than "
            f"{LONG_PROMPT:,} tokens, up to {sizes.most:,}: shorten the texts, or see `stepsynth "
            "plan` for what they cost"
        )


def measure_prompts(config: Config, gold: Gold) -> PromptSizes | None:
    """Return the sizes of the prompts with gold rows; None: the method sends none."""
    method = config.method
    task = fit_task(config.task, method, gold.mine)
    if config.llm is None:
        return None
    if "decide" in method.prompts:
        kind, split, rows = "decide", "select and test", union(gold.select, gold.test)
        if method.needs_unlabelled:  # whose texts are like these
            split, rows = "mine", gold.mine
        shots = [show_shot(row, task) for row in gold.mine[: getattr(method, "shots", 0)]]
        prompts = [task.prompt(kind, row, shots=shots) for row in rows]
    elif method.needs_gold:
        kind, split, rows = "extrapolate", "mine", gold.mine
        prompts = [task.extrapolation_prompt(row) for row in rows]
    elif task.has_context:
        kind, split, rows = "seed", "mine", gold.mine
        prompts = [task.seed_prompt(replace(row, text="")) for row in rows]
    else:
        return None
    if not prompts:
        return None
    tokens = tuple(map(count_tokens, prompts))
    price = config.llm.endpoints_of(kind)[0].known_price()
    return PromptSizes(split, tokens, None if price is None else price.usd(sum(tokens), 0))


def _few_rows(config: Config, gold: Gold) -> Iterator[str]:
    parts = [("mine", gold.mine), ("select", gold.select), ("test", gold.test)]
    if gold.select == gold.mine:
        del parts[1]
    names = config.task.label_names
    for name, rows in parts:
        counts = rows.label_counts()
        few = [f"{label!r} ({counts[label]})" for label in names if 0 < counts[label] < FEW_ROWS]
        if few:
            told = listed(few, _MOST_LISTED)
            yield f"the {name} split has fewer than {FEW_ROWS} rows of the label {told}"
    all_rows = union(*(rows for _, rows in parts)).label_counts()
    for label in names:
        if all_rows[label] == 1:
            (only,) = (name for name, rows in parts if rows.label_counts()[label])
            yield (
                f"the label {label!r} has 1 row in all, which is in {only}: it cannot be both "
                "learnt from and scored on; label more rows, or leave the label out"
            )


def _nameless_labels(config: Config) -> Iterator[str]:
    """Yield a warning if a label is only a number, which means nothing to the LLM."""
    task = config.task
    names = task.label_names
    numbers = [k for k in names if task.label_word(k) == k and _NUMBER.fullmatch(k)]
    if numbers:
        first, told = numbers[0], listed(list(map(repr, numbers)), _MOST_LISTED)
        yield (
            f"the LLM is told no word for the label {told}, and a {task.text_name} of the label "
            f"{first!r} means nothing to it: write what each means, "
            f"as in task: {{labels: {{{first}: negative, ...}}}}"
        )


def small_bounds(config: Config, llm: LLMSettings, mine: Dataset) -> Iterator[str]:
    """Yield a warning for each `max_tokens` that will cut off answers."""
    sizes = sorted(count_tokens(row.text) for row in mine)
    needs = {"seed": sizes[round(0.95 * (len(sizes) - 1))] if sizes else 0}
    needs["extrapolate"] = needs["seed"]
    for part in config.method.parts:
        if getattr(part, "rationales", False) and not config.task.has_context:
            needs["rationale"] = TOKENS_OF_A_REASON * getattr(part, "num_rationales", 0)
    sent = {name for part in config.method.parts for name in part.prompts}
    for kind, tokens in needs.items():
        for each in llm.endpoints_of(kind) if kind in sent else ():
            most = each.live().max_tokens
            if each.stores_completions and most < tokens:
                key = f"llm.phases.{kind}" if kind in llm.phases else "llm"
                yield (
                    f"{key}.max_tokens is {most}, and an answer to the prompt {kind!r} "
                    f"can take some {tokens}: answers will be cut off; raise it"
                )
