"""Diversity of the rows, and their nearness to gold.

Self-BLEU, entity entropy and MAUVE are as in SynthesizRR (Divekar and Durrett, EMNLP 2024). Beside
them stand n-gram diversity, a classifier two-sample test and Vendi scores. Gold is in every table
as the yardstick: no score means much alone.

**Departures.** Tokens are words and punctuation marks by a rule, not spaCy's, so that a text has
the same score everywhere. MAUVE's features are those of `encoder`, not GPT-2-XL's: its values
compare with each other, not with the paper's. G-Vendi (Jung et al.: "Prismatic Synthesis", 2025)
takes the gradients of a language model; here they are those of a logistic head on the encoder,
trained on the rows of `mine`. With two labels such a gradient is the vector itself up to sign and
length, so the score would be Vendi's and is left out. MAUVE's scale is 5, as in its authors'
package. SynthesizRR's is 1, at which plainly different sets get 0.97 and more with features as
small as these.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from stepsynth._util.rng import make_rng
from stepsynth.errors import DataError
from stepsynth.metrics import (
    Floats,
    SelfBleu,
    cosine_kernel,
    count_ngrams,
    distinct_n,
    entropy,
    gradient_kernel,
    mauve,
    self_bleu,
    tell_apart,
    tokenise,
    vendi_score,
)
from stepsynth.records import Dataset, union
from stepsynth.students import fit_head, predict_head
from stepsynth.studies._charts import line_chart
from stepsynth.studies._features import ENCODER_OPTION, LSA, word_features
from stepsynth.studies._sampling import draw, draw_alike, gold_sets, halve, without_copies
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Cell, Chart, Findings, Study, Table
from stepsynth.studies._vectors import Vectors, make_vectors

ORDERS = 5
_FEW = 100
_NOT_NEEDED = ("parser", "tagger", "lemmatizer", "attribute_ruler", "senter")
_Named = tuple[str, Dataset]


class Diversity(Study):
    """The `diversity` study."""

    name: ClassVar[str] = "diversity"

    rows: Literal["equal", "all"] | int = Field(
        default="equal",
        description="Rows of each set whose words are counted: as many as the smallest set has "
        "(`equal`), a number, or `all`, whose scores compare only with sets of the same size.",
    )
    sample: int = Field(
        default=2000, ge=10, description="Most rows of each set that are embedded or tagged."
    )
    encoder: str = Field(default=LSA, min_length=1, description=ENCODER_OPTION)
    buckets: int = Field(default=30, ge=2, description="MAUVE's k-means buckets.")
    scale: float = Field(
        default=5.0, gt=0, description="MAUVE's scaling factor; more is stricter (SynthesizRR: 1)."
    )
    pipeline: str = Field(
        default="en_core_web_sm",
        description="A spaCy pipeline that finds entities (a package or a folder).",
    )

    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return tables of words, self-BLEU, meaning, nearness to gold, and entities."""
        sets = [*((s.name, s.rows) for s in subjects), *gold_sets(subjects)]
        size = min(len(rows) for _, rows in sets) if self.rows == "equal" else self.rows
        warnings = self._warn_of_size(sets, size)
        drawn = [
            (name, rows if size == "all" else draw(rows, int(size), self._rng("words", name)))
            for name, rows in sets
        ]
        words, bleu, chart = _describe_words(sets, drawn)
        alike = [(s, self._draw_alike(s)) for s in subjects if s.unseen]
        if len(alike) < len(subjects):
            missing = ", ".join(s.name for s in subjects if not s.unseen)
            warnings.append(f"{missing}: there is no gold to compare with")
        few = min(self.sample, *(len(rows) for _, rows in sets))
        spread = [draw(rows, few, self._rng("meaning", name)) for name, rows in sets]
        mine = [
            draw(s.mine, self.sample, self._rng("proxy")) if _has_gradients(s) else Dataset()
            for s in subjects
        ]
        texts = union(*spread, *mine, *(rows for _, three in alike for rows in three)).texts
        vectors = make_vectors(texts, self.encoder, random_seed=self.random_seed)
        tables = [words, bleu, self._describe_meaning(subjects, sets, spread, mine, vectors)]
        if alike:
            near = [self._compare(s.name, three, vectors, warnings) for s, three in alike]
            tables.append(self._nearness_table(near))
        tables += self._count_entities(sets, warnings)
        return Findings(self.name, tuple(tables), (chart,), tuple(warnings))

    def _rng(self, *names: object) -> Any:
        return make_rng(self.random_seed, self.name, *names)

    def _warn_of_size(self, sets: Sequence[_Named], size: int | str) -> list[str]:
        warnings: list[str] = []
        for name, rows in sets:
            if len(rows) < 2:
                raise DataError(
                    f"{name} has {len(rows)} row; nothing can be said of its diversity",
                    hint="give a set of two rows or more",
                )
        short = [name for name, rows in sets if isinstance(size, int) and len(rows) < size]
        if short:
            warnings.append(
                f"{', '.join(short)}: fewer than {size} rows; fewer rows look more diverse"
            )
        if size != "all" and int(size) < _FEW:
            warnings.append(
                f"only {size} rows of each set are compared, because the smallest has no more; "
                "differences may be chance"
            )
        return warnings

    def _describe_meaning(
        self,
        subjects: Sequence[StudiedRun],
        sets: Sequence[_Named],
        drawn: Sequence[Dataset],
        mine: Sequence[Dataset],
        vectors: Vectors,
    ) -> Table:
        """Return the Vendi score of each set, and its G-Vendi by a head trained on gold."""
        heads = {
            subject.gold: _fit_proxy(subject, rows, vectors)
            for subject, rows in zip(subjects, mine, strict=True)
        }
        of_gold = [next(s for s in subjects if s.gold == rows) for _, rows in gold_sets(subjects)]
        owners = [*subjects, *of_gold]
        lines: list[tuple[Cell, ...]] = []
        for (name, _), rows, owner in zip(sets, drawn, owners, strict=True):
            features, head = vectors.of(rows.texts), heads[owner.gold]
            by_gradient = None
            if head is not None:
                gradients = _gradients(owner.task.label_names, head, rows, features)
                by_gradient = vendi_score(gradients)
            lines.append((name, len(rows), vendi_score(cosine_kernel(features)), by_gradient))
        return Table(
            "Meaning: how many different texts there are in effect",
            ("set", "texts", "Vendi", "G-Vendi"),
            tuple(lines),
            f"Vendi: exp of the entropy of the eigenvalues of the cosines of {self.encoder} "
            "vectors. G-Vendi: the same of the gradients (p - y) x of a logistic head on these "
            "vectors, trained on the rows of mine; with two labels it would be Vendi again. "
            "A text's context is not looked at. 1: all alike; as many as texts: nothing shared.",
        )

    def _draw_alike(self, subject: StudiedRun) -> list[Dataset]:
        """Return rows of the subject and of both halves of gold, equally many of each label."""
        half, other = halve(without_copies(subject.unseen), self._rng("halves"))
        sets = [without_copies(subject.rows), half, other]
        return draw_alike(sets, self.sample, self.random_seed)

    def _compare(
        self, name: str, three: Sequence[Dataset], known: Vectors, warnings: list[str]
    ) -> tuple[Cell, ...]:
        """Return the nearness of the rows to one half of gold, and of the other half to it."""
        size = len(three[0])
        if size < 2 * self.buckets:
            warnings.append(
                f"{name}: {size} rows can be matched with gold by label; MAUVE and the two-sample "
                f"test want {2 * self.buckets} or more"
            )
            return (name, size, *(None,) * 10)
        vectors = [known.of(rows.texts) for rows in three]
        terms = word_features(union(*three).texts)
        words = [terms[:size], terms[size : 2 * size]]
        near = [
            mauve(
                v, vectors[1], buckets=self.buckets, scale=self.scale, random_seed=self.random_seed
            )
            for v in (vectors[0], vectors[2])
        ]
        by_words, by_vectors = (
            tell_apart(f[0], f[1], random_seed=self.random_seed) for f in (words, vectors)
        )
        null = tell_apart(vectors[2], vectors[1], random_seed=self.random_seed)
        return (
            name,
            size,
            *near,
            *(by_words.auc, *by_words.auc_interval),
            *(by_vectors.auc, *by_vectors.auc_interval),
            by_vectors.accuracy,
            null.auc,
        )

    def _nearness_table(self, lines: Sequence[tuple[Cell, ...]]) -> Table:
        return Table(
            "Against gold that the method was not shown",
            (
                "set",
                "rows of each",
                "MAUVE",
                "MAUVE, gold itself",
                "AUC, words",
                "from",
                "to",
                "AUC, vectors",
                "from ",
                "to ",
                "accuracy, vectors",
                "AUC, vectors, gold itself",
            ),
            tuple(lines),
            "As many different texts of each label on both sides. MAUVE: 0-1, higher is nearer; "
            f"{self.encoder} vectors, {self.buckets} buckets, scaling factor {self.scale:g}. AUC "
            "and accuracy: of a logistic regression, trained on half of these rows, that says of "
            "the others whether a text is of the set or gold; 0.5 cannot tell, 1 always can; 95 % "
            "interval. Gold itself: the other half of gold in place of the set.",
        )

    def _count_entities(self, sets: Sequence[_Named], warnings: list[str]) -> list[Table]:
        """Return the entropy of entities by type, if spaCy and its pipeline are installed."""
        try:
            import spacy

            # Entities need none of these, which take most of the time.
            tagger = spacy.load(self.pipeline, exclude=_NOT_NEEDED)
        except (ImportError, OSError, ValueError) as error:
            what = "spaCy" if isinstance(error, ImportError) else f"its pipeline {self.pipeline}"
            warnings.append(
                f"entity entropy was left out: {what} is not installed (pip install "
                f"'stepsynth[entities]', python -m spacy download {self.pipeline})"
            )
            return []
        size = min(self.sample, *(len(rows) for _, rows in sets))
        found: list[dict[str, Counter[str]]] = []
        for name, rows in sets:
            counts: dict[str, Counter[str]] = {}
            for document in tagger.pipe(draw(rows, size, self._rng("entities", name)).texts):
                for entity in document.ents:
                    counts.setdefault(entity.label_, Counter())[entity.text] += 1
            found.append(counts)
        types = sorted({kind for counts in found for kind in counts})
        by_type = [
            [entropy(counts[kind].values()) if kind in counts else None for counts in found]
            for kind in types
        ]
        means = [
            float(np.mean([row[i] or 0.0 for row in by_type] or [0])) for i in range(len(sets))
        ]
        totals = [sum(c.total() for c in counts.values()) / size for counts in found]
        return [
            Table(
                "Entities: entropy of their strings by type",
                ("type", *(name for name, _ in sets)),
                (
                    ("mean over types", *means),
                    ("entities a text", *totals),
                    *((kind, *row) for kind, row in zip(types, by_type, strict=True)),
                ),
                f"{size} texts of each set; entities by spaCy's {self.pipeline}; entropy in nats, "
                "higher is more diverse; a type that a set lacks counts 0 in its mean.",
            )
        ]


def _describe_words(sets: Sequence[_Named], drawn: Sequence[_Named]) -> tuple[Table, Table, Chart]:
    """Return a table of words and n-grams, a table of self-BLEU, and its chart."""
    words: list[tuple[Cell, ...]] = []
    bleu: list[tuple[Cell, ...]] = []
    points: list[dict[str, Any]] = []
    for (name, everything), (_, rows) in zip(sets, drawn, strict=True):
        ngrams = count_ngrams([tokenise(text) for text in rows.texts], ORDERS)
        found: SelfBleu = self_bleu(ngrams)
        copies = 1 - len(without_copies(rows)) / len(rows)
        lengths, distinct = ngrams.lengths, map(float, distinct_n(ngrams)[:3])
        words.append(
            (
                name,
                len(everything),
                len(rows),
                copies,
                float(lengths.mean()),
                float(lengths.std()),
                len(np.unique(ngrams.ids[0])),
                *distinct,
            )
        )
        bleu.append((name, len(rows), *map(float, found.mean), float(found.error.max())))
        points += [
            {
                "n": n,
                "self-BLEU": float(mean),
                "set": name,
                "low": float(mean - 2 * error),
                "high": float(mean + 2 * error),
            }
            for n, (mean, error) in enumerate(zip(found.mean, found.error, strict=True), start=1)
        ]
    spec = line_chart(
        points, x="n", y="self-BLEU", series="set", band=("low", "high"), x_is_ordinal=True
    )
    return (
        Table(
            "Words",
            (
                "set",
                "rows",
                "studied",
                "copies",
                "tokens a text",
                "their spread",
                "vocabulary",
                "distinct-1",
                "distinct-2",
                "distinct-3",
            ),
            tuple(words),
            "Copies: share of texts that an earlier one equals but for case and punctuation. "
            "Distinct-n: share of n-grams that are different ones; higher is more diverse.",
        ),
        Table(
            "Self-BLEU",
            ("set", "texts", *(f"self-BLEU-{n}" for n in range(1, ORDERS + 1)), "standard error"),
            tuple(bleu),
            "Each text against all others, smoothing method 1; lower is more diverse. The "
            "standard error is the largest of the five.",
        ),
        Chart("Self-BLEU, lower is more diverse", spec),
    )


def _has_gradients(subject: StudiedRun) -> bool:
    """Say whether a head's gradients tell more of a row than its vector does."""
    return len(subject.task.label_names) > 2


def _fit_proxy(subject: StudiedRun, mine: Dataset, vectors: Vectors) -> tuple[Any, Any] | None:
    """Return the weights of a logistic head trained on gold; None: G-Vendi is left out."""
    names = subject.task.label_names
    if not _has_gradients(subject) or set(names) - set(mine.label_counts()):
        return None
    return fit_head(vectors.of(mine.texts), mine, names, C=10.0, rows=None)


def _gradients(
    names: tuple[str, ...], head: tuple[Any, Any], rows: Dataset, features: Any
) -> Floats:
    """Return the kernel of the rows' gradients with respect to the head's weights."""
    said = predict_head(features, *head, names)
    labels = np.array([names.index(label) for label in rows.labels])
    return gradient_kernel(said.probabilities, labels, features)
