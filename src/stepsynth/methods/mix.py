"""Mix: rows that the LLM writes, and texts of the user's own that it labels, in a chosen share.

The rounds of a synthesis method come first, as they are alone. A last round adds texts that
`annotate` labels: models are trained with several shares of them, and the one that is best on
`select` is kept. Shares 0 and 1 are among them, so there it is no worse than either alone.

No paper has it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import Field, field_validator, model_validator

from stepsynth.methods._method import Method, Round, Setup, SynthesisMethod, methods
from stepsynth.methods._training import retrain, run_method, train_on_both
from stepsynth.methods._writer import Writer
from stepsynth.methods.annotate import Annotate
from stepsynth.metrics import SCORE_NAMES
from stepsynth.records import Dataset, Example
from stepsynth.registry import Named

SHARES = (0.5, 0.25, 0.75, 0.0, 1.0)
"""Shares of labelled texts that are tried; of equally good ones the first is chosen."""

BUDGET_SHARE = 1 / 2
"""Share of the budget for the synthesis method."""


class Mix(Annotate):
    """The `mix` method."""

    name: ClassVar[str] = "mix"

    synthesis: Annotated[Method, Named(methods, default="s3", is_nested=True)] = Field(
        default=cast("Any", "s3"),
        validate_default=True,
        description="The method that writes rows: its name, or its keys with `name`. The other "
        "keys are those of `annotate`.",
    )

    @field_validator("synthesis")
    @classmethod
    def _check_synthesis(cls, method: Method) -> Method:
        if isinstance(method, Annotate) or not isinstance(method, SynthesisMethod):
            raise ValueError(f"expected a method that writes rows; {method.name!r} writes none")
        if method.reweight != "none":
            raise ValueError("reweight is a key of mix itself: all rows are weighed alike")
        return method

    @model_validator(mode="after")
    def _check_gold(self) -> Self:
        if self.train_on == "both" and self.synthesis.joins_gold:
            raise ValueError(
                f"train_on: both would count gold rows twice: {self.synthesis.name!r} is trained "
                "on them already"
            )
        return self

    @property
    def parts(self) -> tuple[Method, ...]:
        """The method itself and the one that writes rows."""
        return self, self.synthesis

    @property
    def uses_gold(self) -> bool:
        """Whether it needs gold rows, given its keys."""
        return super().uses_gold or self.synthesis.uses_gold

    @property
    def uses_corpus(self) -> bool:
        """Whether it needs passages, given its keys."""
        return self.synthesis.uses_corpus

    @property
    def joins_gold(self) -> bool:
        """Whether its models are trained on gold rows beside the synthetic ones."""
        return super().joins_gold or self.synthesis.joins_gold

    @property
    def seen(self) -> str:
        """The gold rows it uses, and their purpose, given its keys."""
        said = super().seen, self.synthesis.seen
        return "; ".join(dict.fromkeys(each for each in said if each != "none")) or "none"

    def mapped(self, change: Callable[[Method], Method]) -> Method:
        """Return the method with a change to each of its parts."""
        return change(self).model_copy(update={"synthesis": change(self.synthesis)})

    def sized(self, rows: int) -> Self:
        """Return the method with half of the rows labelled and half written."""
        half = max(1, rows // 2)
        return self.model_copy(
            update={"size": half, "synthesis": self.synthesis.sized(rows - half)}
        )

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the rounds of the synthesis method, then the one with the labelled texts."""
        rounds: list[Round] = []
        with setup.spending.part(BUDGET_SHARE):
            for done in run_method(self.synthesis, setup):
                rounds.append(done)
                yield done
        written = rounds[self.synthesis.choose_round(rounds, setup.select)]
        labelled = self.label(Writer(setup, Annotate.name, len(rounds)))
        yield self.choose_share(written, labelled, setup)

    def choose_share(self, written: Round, labelled: Round, setup: Setup) -> Round:
        """Return the round with the share of labelled texts that is best on `select`."""
        tried = {share: join(written, labelled, share, setup) for share in SHARES}
        finals = {
            share: train_on_both(done, self.gold_weight, setup) if self.train_on == "both" else done
            for share, done in tried.items()
        }
        scores = {share: done.select_score for share, done in finals.items()}
        share = max(SHARES, key=scores.__getitem__)
        listed = ", ".join(f"{scores[each]:.3f} at {each:.0%}" for each in sorted(SHARES))
        told = (
            f"labelled texts have {share:.0%} of the weight of all rows, chosen on select "
            f"({SCORE_NAMES[setup.task.score_name][0]}: {listed})"
        )
        said = [each.rstrip(".") for each in (labelled.verdict, told, written.verdict) if each]
        return replace(tried[share], verdict="; ".join(said))


def join(written: Round, labelled: Round, share: float, setup: Setup) -> Round:
    """Return the round of labelled texts with a model of both rounds' rows.

    Args:
        written: Its rows have the rest of the weight.
        labelled: The round to return.
        share: Share of the weight of all rows that labelled texts have; rows without any are left
            out.
        setup: Its student is trained.
    """
    kept = [(done, part) for done, part in ((written, 1 - share), (labelled, share)) if part]
    own = [done.weights or (1.0,) * len(done.train) for done, _ in kept]
    whole = sum(map(sum, own))
    rows: list[Example] = []
    weights: list[float] = []
    for (done, part), each in zip(kept, own, strict=True):
        rows += done.train
        factor = part * whole / sum(each)
        weights += [factor * weight for weight in each]
    return retrain(labelled, Dataset(rows), weights, setup)
