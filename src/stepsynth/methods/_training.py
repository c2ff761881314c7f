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
from stepsynth._util.words import listed
from stepsynth.curation import Curation, disagree, flag_confident, out_of_fold, split_by_texts
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
        checked, lone = split_by_texts(dataset)
        unchecked = set(lone.labels)
        if unchecked:
            names = listed(sorted(map(repr, unchecked)))
            self.warn(f"label check: no other text has the label {names}: it is not checked")
        if not checked:
            return dataset, weights
        said = out_of_fold(checked, self.factory.fit_predict, rng=rng, always=lone)
        check = disagree if self.curation.check == "student" else flag_confident
        verdict = check(checked, said)
        if verdict.spared:
            self.warn(
                f"label check: every row of {', '.join(map(repr, verdict.spared))} was found wrong "
                "and is kept all the same"
            )
        places = [i for i, row in enumerate(dataset) if row.label not in unchecked]
        judged = zip(places, verdict.wrong, verdict.predicted, strict=True)
        wrong = {i: now for i, is_wrong, now in judged if is_wrong}
        self.wrong = tuple(
            {"row": dataset[i].id, "text": dataset[i].text, "was": dataset[i].label, "now": now}
            for i, now in wrong.items()
        )
        relabels = self.curation.on_wrong == "relabel"
        self.warn(
            f"label check: {len(wrong)} of {len(dataset)} rows have a label that "
            f"{self.curation.check} finds wrong: {'relabelled' if relabels else 'not trained on'}"
        )
        kept = [i for i in range(len(dataset)) if relabels or i not in wrong]
        rows = (replace(dataset[i], label=wrong[i]) if i in wrong else dataset[i] for i in kept)
        return Dataset(rows), weights and [weights[i] for i in kept]


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
