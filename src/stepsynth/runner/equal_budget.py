"""The equal budget of compared methods: rows, calls or USD."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from stepsynth.errors import ConfigError
from stepsynth.llm import LLM
from stepsynth.methods import Method, SpendingLimit, texts_per_prompt

Kind = Literal["rows", "calls", "usd"]
_OPEN_END = 1_000_000
"""Rows to ask for if only the spending limit ends the run."""


@dataclass(frozen=True)
class EqualBudget:
    """Budget of one run.

    Attributes:
        kind: rows: training rows of the last round; calls: all requests, including those for
            rationales, for rejected answers and to a judge; usd: the cost of these requests.
        amount: The number of rows, requests or USD.
    """

    kind: Kind
    amount: float

    def apply(self, method: Method, by_hand: Collection[str] = ()) -> Method:
        """Return the method with sizes that use up the budget.

        Args:
            method: Any method.
            by_hand: Keys that were set by hand; they are kept.

        Raises:
            ConfigError: A size that was set by hand contradicts the others.
        """
        sized = self._sized(method)
        kept = {name: getattr(method, name) for name in self.kept_sizes(method, by_hand)}
        try:
            return type(method).model_validate(sized.model_dump() | kept)
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(
                f"the method {method.name!r} with a budget of {self}: {said}",
                hint="leave the size out, or give a larger --budget",
            ) from error

    def kept_sizes(self, method: Method, by_hand: Collection[str]) -> tuple[str, ...]:
        """Return the keys set by hand to which the budget would give another value."""
        sized = self._sized(method)
        return tuple(
            key
            for key in sorted(by_hand)
            if getattr(sized, key) != (own := getattr(method, key)) and not isinstance(own, Method)
        )

    def fits(self, method: Method) -> bool:
        """Return whether the method has a size to budget; `gold` and some others have none."""
        return method.sized(_OPEN_END) != method.sized(_OPEN_END // 2)

    def spending(self, llm: LLM) -> SpendingLimit:
        """Return the spending limit of a run that asks this LLM."""
        if self.kind == "calls":
            return SpendingLimit(requests=int(self.amount))
        if self.kind == "usd":
            return SpendingLimit(usd=self.amount, spent_usd=lambda: _spent(llm))
        return SpendingLimit()

    def _sized(self, method: Method) -> Method:
        each = max(map(texts_per_prompt, method.parts)) if self.kind == "calls" else 1
        return method.sized(_OPEN_END if self.kind == "usd" else int(self.amount) * each)

    def __str__(self) -> str:
        return f"{self.amount:.10g} {'USD' if self.kind == 'usd' else self.kind}"


def _spent(llm: LLM) -> float:
    if llm.usage.usd is None:
        raise ConfigError(
            "what the LLM costs is not known: it does not say how many tokens an answer has, or "
            "it has no price, so a budget in USD cannot be kept",
            hint="--equal calls, or set llm.price",
        )
    return llm.usage.usd
