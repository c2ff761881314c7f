"""Quality of extrapolation (S3, Table 6), beside that of random pairs.

Wang, Zhou, Sachan (Findings of EMNLP 2023), Table 6 and section 4, ask whether an extrapolation is
close to its error in meaning (mean cosine) and yet another text (mean edit distance).

A cosine alone says little: in the space of a mean-pooled encoder, any two texts of one kind are
close (the paper's cosines are 0.94 to 0.95). So each extrapolation is also compared with two random
errors: one of the same label, and one of any label. Pairs and questions are compared by their text
alone: the context is the error's own, verbatim.

Edit distance is in words, which need no encoder. The paper's is in DistilBERT's tokens, with both
special tokens, cut at 512. Counted so, the published extrapolations of IMDb and RTE are exactly as
long as its table says (218.72 and 24.61). `unit: tokens` counts this way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stepsynth._util.pretrained import load_sentence_encoder
from stepsynth._util.rng import make_rng
from stepsynth._util.text import normalise
from stepsynth.errors import ConfigError, DataError
from stepsynth.metrics import Floats
from stepsynth.records import Example
from stepsynth.studies._charts import histogram
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Chart, Findings, Study, Table
from stepsynth.studies._vectors import TFIDF, Vectors, find_encoder, make_vectors

NEARNESS = ("pairs", "cosine", "random, same label", "random", "nearer than random")
WORDING = ("edit distance", "random, same label", "random")
MOST_TOKENS = 512
"""Tokens at which the paper cuts a text before it counts them."""

Split = Callable[[str], Sequence[Any]]
"""Text -> its words or tokens."""

EXTRAPOLATE = "extrapolate"
_NEEDS = "`s3` and `goldgen` write each row from one gold row; other methods do not"


@dataclass(frozen=True)
class Pair:
    """An extrapolation and the gold row that it was written from."""

    round: int
    added: Example
    error: Example


@dataclass(frozen=True)
class Measured:
    """Measurements of n pairs; every array is (n,), with NaN where there is no random error.

    Attributes:
        cosine: Cosine with the own error, a random one of the label, a random one of any label.
        edits: Edit distance from the same three, in words or tokens.
        lengths: Lengths of the error and of the extrapolation, in the same unit.
    """

    pairs: tuple[Pair, ...]
    cosine: tuple[Floats, Floats, Floats]
    edits: tuple[Floats, Floats, Floats]
    lengths: tuple[Floats, Floats]


class Quality(Study):
    """Table 6: nearness of each extrapolation to its error, and difference of its wording."""

    name: ClassVar[str] = "quality"

    encoder: str = Field(
        default="",
        description="A sentence encoder (a name or a folder) whose space cosines are taken in; "
        "default: the encoder of the run's student, else TF-IDF.",
    )
    unit: Literal["words", "tokens"] = Field(
        default="words",
        description="What lengths and edit distances are counted in; `tokens` are the encoder's, "
        "as in the paper.",
    )

    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return the table of each run, by round and label, and histograms of its pairs.

        Raises:
            DataError: No run holds a row that was written from a gold row.
            ConfigError: `unit` is tokens, and there is no encoder to split texts into them.
        """
        tables: list[Table] = []
        charts: list[Chart] = []
        warnings: list[str] = []
        for subject in subjects:
            pairs, lost = find_pairs(subject)
            if lost:
                warnings.append(
                    f"{subject.name}: {lost} rows are left out: the gold row that they were "
                    "written from is not among the gold data of today"
                )
            if not pairs:
                warnings.append(f"{subject.name}: no row was written from a gold row; {_NEEDS}")
                continue
            measured, space = self._measure(pairs, subject)
            tables += _tables(subject, measured, space, self.unit)
            charts += _charts(subject, measured, space, self.unit)
        if not tables:
            listed = ", ".join(f"{s.name} ({s.config.method.name})" for s in subjects)
            raise DataError(
                f"no extrapolation is here: no row of {listed} was written from one gold row",
                hint=_NEEDS,
            )
        return Findings(self.name, tuple(tables), tuple(charts), tuple(warnings))

    def _measure(self, pairs: Sequence[Pair], subject: StudiedRun) -> tuple[Measured, str]:
        errors = [pair.error for pair in pairs]
        others = (
            self._draw_others(pairs, same_label=True),
            self._draw_others(pairs, same_label=False),
        )
        encoder = self.encoder or find_encoder(subject)
        texts = [*(p.added.text for p in pairs), *(e.text for e in errors)]
        split = self._split_by(encoder)
        vectors = make_vectors(texts, encoder)
        self._on_progress("measure pairs", 0, len(pairs))
        compared = (errors, *others)
        cosine = tuple(_cosines(pairs, with_, vectors) for with_ in compared)
        edits = tuple(_edits(pairs, with_, split) for with_ in compared)
        lengths = tuple(
            np.array([len(split(row.text)) for row in rows], dtype=np.float64)
            for rows in (errors, [pair.added for pair in pairs])
        )
        self._on_progress("measure pairs", len(pairs), len(pairs))
        return Measured(tuple(pairs), cosine, edits, lengths), vectors.space  # type: ignore[arg-type]

    def _split_by(self, encoder: str) -> Split:
        """Return a function that splits a text into words or tokens."""
        if self.unit == "words":
            return str.split
        if not encoder:
            raise ConfigError(
                "unit=tokens: there is no encoder whose tokens could be counted",
                hint="--set encoder=NAME (the paper's is distilbert-base-uncased)",
            )
        loaded = load_sentence_encoder(encoder, where="encoder", extra="transformers")
        tokenizer: Any = loaded.tokenizer
        return lambda text: tokenizer(text, truncation=True, max_length=MOST_TOKENS)["input_ids"]

    def _draw_others(self, pairs: Sequence[Pair], *, same_label: bool) -> list[Example | None]:
        """Return for each pair another error, drawn at random; None where there is no other."""
        rng = make_rng(self.random_seed, "quality", same_label)
        errors: dict[str, dict[str, Example]] = {}
        for pair in pairs:
            key = pair.error.stratum if same_label else ""
            errors.setdefault(key, {})[pair.error.id] = pair.error
        pools = {key: list(found.values()) for key, found in errors.items()}
        places = {key: {e.id: i for i, e in enumerate(pool)} for key, pool in pools.items()}
        drawn: list[Example | None] = []
        for pair in pairs:
            key = pair.error.stratum if same_label else ""
            pool, own = pools[key], places[key][pair.error.id]
            # One of the others, each as likely: skip over the pair's own error.
            i = rng.randrange(len(pool) - 1) if len(pool) > 1 else None
            drawn.append(None if i is None else pool[i + (i >= own)])
        return drawn


def find_pairs(subject: StudiedRun) -> tuple[list[Pair], int]:
    """Return each row that was written from one gold row, with that row, in order.

    Returns:
        The pairs, and the number of rows whose gold row is missing.
    """
    gold = {row.id: row for row in subject.mine}
    for done in subject.rounds:
        gold |= {row.example.id: row.example for row in done.missed}
    pairs: list[Pair] = []
    lost = 0
    for done in subject.rounds:
        for row in done.added:
            origin = row.provenance
            # Other methods name a gold row too, as an example or a query: it is no error.
            if origin.kind != EXTRAPOLATE:
                continue
            if (error := gold.get(origin.parents[0])) is None:
                lost += 1
            else:
                pairs.append(Pair(done.index, row, error))
    return pairs, lost


def count_edits(ours: str, theirs: str, split: Split = str.split) -> int:
    """Return the Levenshtein distance in words or tokens: insert, delete, replace cost 1."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(split(ours), split(theirs))


def _cosines(pairs: Sequence[Pair], others: Sequence[Example | None], vectors: Vectors) -> Floats:
    found = np.full(len(pairs), np.nan)
    there = [i for i, other in enumerate(others) if other is not None]
    if there:
        theirs = [other.text for other in others if other is not None]
        found[there] = vectors.cosines([pairs[i].added.text for i in there], theirs)
    return found


def _edits(pairs: Sequence[Pair], others: Sequence[Example | None], split: Split) -> Floats:
    return np.array(
        [
            np.nan if other is None else count_edits(pair.added.text, other.text, split)
            for pair, other in zip(pairs, others, strict=True)
        ]
    )


def _groups(measured: Measured) -> Iterator[tuple[str, str, list[int]]]:
    """Yield round, label and indices of their pairs; also for each whole round, and for all."""
    pairs = measured.pairs
    every = range(len(pairs))
    for index, of_round in groupby(every, key=lambda i: pairs[i].round):
        places = list(of_round)
        by_label: dict[str, list[int]] = {}
        for i in places:
            by_label.setdefault(pairs[i].error.stratum, []).append(i)
        if len(by_label) > 1:
            for label, found in sorted(by_label.items()):
                yield str(index), label, found
        yield str(index), "all", places
    if len({pair.round for pair in pairs}) > 1:
        yield "all", "all", list(every)


def _tables(subject: StudiedRun, measured: Measured, space: str, unit: str) -> tuple[Table, Table]:
    groups = list(_groups(measured))
    why = " (the student has no encoder; --set encoder=NAME takes one)" if space == TFIDF else ""
    drawn = "Random: another error of the run, drawn for each extrapolation, of its label or any."
    return (
        Table(
            f"Nearness of extrapolations to their errors: {subject.name}",
            ("round", "label", *NEARNESS),
            tuple((r, label, *_nearness(measured, places)) for r, label, places in groups),
            f"Cosine: {space}{why}. {drawn} Nearer than random: share of extrapolations whose "
            "cosine with their own error is above that with the random one of the label.",
        ),
        Table(
            f"Wording of extrapolations beside their errors: {subject.name}",
            ("round", "label", *WORDING, f"{unit} of error", f"{unit} written", "copies"),
            tuple((r, label, *_wording(measured, places)) for r, label, places in groups),
            f"Edit distance and lengths in {unit}, means. {drawn} Copies: extrapolations that "
            "equal their error but for case, punctuation and spaces.",
        ),
    )


def _nearness(measured: Measured, places: Sequence[int]) -> tuple[int | float, ...]:
    chosen = np.array(places)
    own, same, other = (values[chosen] for values in measured.cosine)
    drawn = ~np.isnan(same)
    nearer = float((own > same)[drawn].mean()) if drawn.any() else float("nan")
    return len(places), _mean(own), _mean(same), _mean(other), nearer


def _wording(measured: Measured, places: Sequence[int]) -> tuple[int | float, ...]:
    pairs = [measured.pairs[i] for i in places]
    chosen = np.array(places)
    return (
        *(_mean(values[chosen]) for values in measured.edits),
        *(_mean(values[chosen]) for values in measured.lengths),
        sum(normalise(p.added.text) == normalise(p.error.text) for p in pairs),
    )


def _mean(values: npt.NDArray[np.generic]) -> float:
    found = np.asarray(values, dtype=float)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else float("nan")


def _charts(subject: StudiedRun, measured: Measured, space: str, unit: str) -> list[Chart]:
    parts: Mapping[str, tuple[Floats, Floats, Floats]] = {
        f"cosine ({space})": measured.cosine,
        f"edit distance in {unit}": measured.edits,
    }
    charts: list[Chart] = []
    for title, (own, same, _) in parts.items():
        values = {"its own error": own, "a random error of the label": same[~np.isnan(same)]}
        spec = histogram({k: list(v) for k, v in values.items() if len(v)}, title=title)
        charts.append(Chart(f"{subject.name}: extrapolations by {title}", spec))
    return charts
