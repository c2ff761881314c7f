"""Preparation of rows for training: label checks, density-ratio weights and gold rows.

Hu et al.: "SYNT++: Utilizing Imperfect Synthetic Data to Improve Speech Recognition", ICASSP 2022,
filters synthetic rows by the density ratio of a discriminator between them and real ones. Here
(`reweight: density_ratio`) the ratio is a weight, so that no row is paid for and thrown away.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stepsynth._util.rng import make_rng
from stepsynth.curation import Curation, disagree, flag_confident, out_of_fold
from stepsynth.methods._method import Method, Round, Setup, SynthesisMethod, texts_per_prompt
from stepsynth.methods._writer import misclassified
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory, students

RATIO = (0.1, 10.0)
"""Bounds of density ratios: a confident classifier would otherwise silence most rows."""

SYNTHETIC, REAL = "synthetic", "gold"


@dataclass
class Preparation:
    """A function from rows and weights to those that a student is trained on.

    Attributes:
        method: Says whether rows are weighted.
        curation: Says whether labels are checked by students.
        factory: Makes the students that check.
        mine: Gold rows that synthetic ones are compared with.
        random_seed: Determines the folds.
        warn: Called with a sentence that the user should read.
        wrong: The rows of the last fit whose labels the check found wrong, with the new labels.
    """

    method: SynthesisMethod
    curation: Curation
    factory: StudentFactory
    mine: Dataset
    random_seed: int
    warn: Callable[[str], None]
    wrong: tuple[Mapping[str, Any], ...] = ()

    def __call__(
        self, dataset: Dataset, weights: Sequence[float] | None
    ) -> tuple[Dataset, Sequence[float] | None]:
        """Return the rows and weights to train on."""
        if self.curation.check in ("student", "confident"):
            dataset, weights = self._check_labels(dataset, weights)
        if self.method.reweight == "density_ratio":
            ratios = density_ratios(dataset, self.mine, self.random_seed)
            own = [1.0] * len(dataset) if weights is None else weights
            weights = [weight * ratio for weight, ratio in zip(own, ratios, strict=True)]
        return dataset, weights

    def _check_labels(
        self, dataset: Dataset, weights: Sequence[float] | None
    ) -> tuple[Dataset, Sequence[float] | None]:
        rng = make_rng(self.random_seed, "label check")
        said = out_of_fold(dataset, self.factory.fit_predict, rng=rng)
        check = disagree if self.curation.check == "student" else flag_confident
        verdict = check(dataset, said)
        if verdict.spared:
            self.warn(
                f"label check: every row of {', '.join(map(repr, verdict.spared))} was found wrong "
                "and is kept all the same"
            )
        kept: list[Example] = []
        places: list[int] = []
        for i, (row, is_wrong) in enumerate(zip(dataset, verdict.wrong, strict=True)):
            if not is_wrong or self.curation.on_wrong == "relabel":
                kept.append(replace(row, label=verdict.predicted[i]) if is_wrong else row)
                places.append(i)
        self.wrong = tuple(
            {"row": row.id, "text": row.text, "was": row.label, "now": now}
            for row, now, is_wrong in zip(dataset, verdict.predicted, verdict.wrong, strict=True)
            if is_wrong
        )
        self.warn(
            f"label check: {sum(verdict.wrong)} of {len(dataset)} rows have a label that "
            f"{self.curation.check} finds wrong: "
            + ("relabelled" if self.curation.on_wrong == "relabel" else "not trained on")
        )
        return Dataset(kept), weights and [weights[i] for i in places]


def density_ratios(rows: Dataset, gold: Dataset, random_seed: int) -> list[float]:
    """Return the density ratio of each row, gold over synthetic.

    It is the odds of a `linear` classifier that has not seen the row and weighs both classes alike,
    clipped to `RATIO` and scaled to a mean of 1.
    """
    both = Dataset(
        [Example(r.text, SYNTHETIC, r.context) for r in rows]
        + [Example(r.text, REAL, r.context) for r in gold]
    )
    classes = StudentFactory(students().get("linear")(), (SYNTHETIC, REAL), random_seed)
    said = out_of_fold(both, classes.fit_predict, rng=make_rng(random_seed, "density ratio"))
    real, synthetic = (said.of([name] * len(both))[: len(rows)] for name in (REAL, SYNTHETIC))
    cut = np.clip(real / np.maximum(synthetic, 1e-9), *RATIO)
    return (cut / cut.mean()).tolist()


def run_method(method: Method, setup: Setup) -> Iterator[Round]:
    """Yield a method's rounds, with models trained on gold rows too if its keys say so.

    Errors are still mined with a model of synthetic rows alone: one that has learnt the gold rows
    makes few errors on them.
    """
    setup = replace(setup, texts_per_prompt=texts_per_prompt(method))
    prepare = setup.student.prepare
    for done in method.synthesize(setup):
        if isinstance(prepare, Preparation) and prepare.wrong:
            done = replace(done, notes={**done.notes, "label_check": prepare.wrong})
        # Without synthetic rows there is nothing to add gold rows to.
        if isinstance(method, SynthesisMethod) and method.train_on == "both" and done.train:
            done = train_on_both(done, method.gold_weight, setup)
        yield done


def train_on_both(done: Round, gold_weight: float, setup: Setup) -> Round:
    """Return the round with a model trained on its rows and the gold rows of `mine`."""
    own = done.weights or (1.0,) * len(done.train)
    weights = [*own, *(gold_weight for _ in setup.mine)]
    return retrain(done, Dataset([*done.train, *setup.mine]), weights, setup)


def retrain(done: Round, rows: Dataset, weights: Sequence[float], setup: Setup) -> Round:
    """Return the round with a model trained on other rows, as they are given."""
    model = setup.student.new(as_given=True)
    model.fit(rows, None if all(weight == weights[0] for weight in weights) else weights)
    missed, predicted = misclassified(model, setup.mine, setup)
    return replace(
        done,
        model=model,
        train=model.rows,
        weights=model.weights,
        misclassified=missed,
        predicted=predicted,
        select_score=setup.score(model),
    )
