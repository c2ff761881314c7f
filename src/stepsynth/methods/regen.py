"""ReGen: passages of a corpus as rows, with pseudo labels from retrieval and without an LLM.

Yu, Zhuang, Zhang, Meng, Shen, Zhang: "ReGen: Zero-Shot Text Classification via Training Data
Generation with Progressive Dense Retrieval", Findings of ACL 2023.

In round 0 the word for each label (its verbaliser) is a query, and the passages it finds get that
label. From round 1 on, each row kept in the round before is a query, after its label's word:
"sports [SEP] the passage". Two consistency filters follow. The five queries nearest to a passage
must all have its label, and a classifier must predict that label. Gold labels serve only to report
a score on `select`.

As in the published code, the rows of a round replace those of the round before. A passage that is
found again stays, since it is nearest to itself.

Departures:
    - The encoder is not tuned on the corpus by contrastive learning; `retrieval` sets it.
    - In round 0 there is one query for each label, so a passage need only be nearest to its own.
      If a label has fewer than five queries later, only that number is compared.
    - The classifier is the student of the round before. Round 0 has none: students that have not
      seen a row judge it (five folds).
    - A label is exempt if the classifier predicts it for none of its passages.
    - The paper's classifier is RoBERTa with label smoothing 0.1.
    - A passage is one row; the code keeps it once for each query that finds it.
    - Queries hold the first 75 words of a passage (the code: 100 tokens); rows hold all of it.
    - `size` limits a round to the passages nearest to their queries, since each is a query of the
      next round.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from stepsynth.curation import out_of_fold
from stepsynth.errors import ConfigError, TooFewRowsError
from stepsynth.methods._balancing import equal_shares
from stepsynth.methods._method import Model, Round, Setup, SynthesisMethod, Unused
from stepsynth.methods._writer import Writer
from stepsynth.records import Dataset, Example, Provenance, Rejected
from stepsynth.retrieval import Hit, Index

QUERY_WORDS = 75
"""Most words of a passage in a query."""

_AT_ONCE = 1024
"""Passages whose cosines to all queries are held in memory together."""

_LEVEL = 1e-6
"""Cosines that differ by less count as equal."""


@dataclass(frozen=True)
class Query:
    """A query to the corpus.

    Attributes:
        text: The label's word, with a passage from round 1 on.
        label: The pseudo label of the passages it finds.
        passage: Id of the passage in the text; "" in round 0.
    """

    text: str
    label: str
    passage: str = ""


@dataclass
class Found:
    """A passage with a pseudo label.

    Attributes:
        hit: Passage, rank and cosine, for the nearest query of the label that found it.
        query: That query.
        outcome: "kept", or the filter it failed: "inconsistent", "disagreed", "beyond size", or a
            reason of curation.
    """

    hit: Hit
    query: Query
    outcome: str = "kept"

    def to_row(self, round_index: int) -> Example:
        """Return the passage as a row."""
        origin = Provenance(ReGen.name, round_index, "retrieve")
        return Example(self.hit.passage.text, self.query.label, provenance=origin)


class ReGen(SynthesisMethod):
    """The `regen` method."""

    name: ClassVar[str] = "regen"
    kinds: ClassVar[tuple[str, ...]] = ("classification",)
    sees: ClassVar[str] = "none"
    needs_gold: ClassVar[bool] = False
    needs_llm: ClassVar[bool] = False
    needs_corpus: ClassVar[bool] = True
    prompts: ClassVar[tuple[str, ...]] = ()

    rounds: int = Field(default=2, ge=0, description="Rounds of retrieval after round 0.")
    per_query: int = Field(
        default=100, gt=0, description="Passages retrieved for a query (the paper: 50 to 100)."
    )
    neighbours: int = Field(
        default=5, ge=0, description="Nearest queries that must have a passage's label; 0: none."
    )
    agreement: bool = Field(
        default=True, description="Keep rows only whose label the classifier agrees with."
    )
    size: int | None = Field(
        default=1000,
        gt=0,
        description="Most rows of a round, as many of each label; null: no limit.",
    )
    queries: dict[str, str] | None = Field(
        default=None,
        description="Label -> the query of round 0, such as `a sports news`; default: label words.",
    )

    def sized(self, rows: int) -> Self:
        """Return the method with at most this number of rows in a round."""
        return self.model_copy(update={"size": rows})

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield rounds 0 to R, each with the rows it kept and the model trained on them."""
        index = setup.need_index(self.name)
        words = self._label_queries(setup)
        queries = [Query(text, label) for label, text in words.items()]
        classifier: Model | None = None
        verdicts: dict[str, Rejected | None] = {}
        for r in range(self.rounds + 1):
            found = self.retrieve(queries, index)
            self.keep_consistent(found, queries, index)
            writer = Writer(setup, self.name, r)
            curate(found, writer, verdicts)
            if self.agreement:
                self.keep_agreed(found, r, classifier, setup)
            self.limit(found, setup)
            if missing := _labels_without(found, setup):
                self._give_up(found, missing, r, setup)
                return
            kept = [one for one in found if one.outcome == "kept"]
            writer.written.rows += [one.to_row(r) for one in kept]
            note(found, writer)
            done = writer.train()
            yield done
            classifier = done.model
            queries = [
                Query(_join(words[one.query.label], one.hit), one.query.label, one.hit.passage.id)
                for one in kept
            ]

    def _label_queries(self, setup: Setup) -> dict[str, str]:
        """Return every label's query of round 0: its verbaliser."""
        names = setup.task.label_names
        if self.queries is not None:
            if set(self.queries) != set(names):
                raise ConfigError(
                    f"method.queries: these are for {sorted(self.queries)}, and the task has the "
                    f"labels {sorted(names)}",
                    hint="give a query for every label",
                )
            return {name: self.queries[name] for name in names}
        return {name: setup.task.label_word(name) for name in names}

    def retrieve(self, queries: Sequence[Query], index: Index) -> list[Found]:
        """Return the passages found, once for each label, with the label's nearest query."""
        nearest: dict[tuple[str, str], Found] = {}
        hits = index.search([query.text for query in queries], self.per_query)
        for query, found in zip(queries, hits, strict=True):
            for hit in found:
                known = nearest.get((hit.passage.id, query.label))
                if known is None or hit.cosine > known.hit.cosine:
                    nearest[hit.passage.id, query.label] = Found(hit, query)
        return list(nearest.values())

    def keep_consistent(
        self, found: Sequence[Found], queries: Sequence[Query], index: Index
    ) -> None:
        """Mark passages whose nearest queries do not all have their label (first filter).

        A passage found for two labels keeps one of them at most. For a label with fewer queries
        than `neighbours`, as in round 0, only that number is compared.
        """
        if not self.neighbours:
            return
        labels = np.array([query.label for query in queries])
        counts = Counter(query.label for query in queries)
        texts = [query.text for query in queries]
        for at in range(0, len(found), _AT_ONCE):
            part = found[at : at + _AT_ONCE]
            cosines = index.cosines(texts, [one.hit.passage.text for one in part])
            ranked = -np.sort(-cosines, axis=0)
            for place, one in enumerate(part):
                k = min(self.neighbours, counts[one.query.label])
                # Queries as near as the k-th count too: a tie between labels is not consistent.
                is_near = cosines[:, place] >= ranked[k - 1, place] - _LEVEL
                if (labels[is_near] != one.query.label).any():
                    one.outcome = "inconsistent"

    def keep_agreed(
        self, found: Sequence[Found], r: int, classifier: Model | None, setup: Setup
    ) -> None:
        """Mark passages whose label the classifier does not predict (second filter).

        A label that it predicts for none of its passages would be lost; it is exempt, with a
        warning.
        """
        if classifier is None and (few := _labels_without(found, setup, at_least=2)):
            listed = ", ".join(map(repr, few))
            setup.warn(f"regen: too few passages of the label {listed} to check agreement")
            return
        left = [one for one in found if one.outcome == "kept"]
        rows = Dataset(one.to_row(r) for one in left)
        if classifier is None:
            said = out_of_fold(rows, setup.student.fit_predict, rng=setup.rng("folds")).labels
        else:
            said = classifier.predict(rows).labels
        agreed = {
            one.query.label
            for one, label in zip(left, said, strict=True)
            if label == one.query.label
        }
        for one, label in zip(left, said, strict=True):
            if label != one.query.label and one.query.label in agreed:
                one.outcome = "disagreed"
        if spared := sorted(set(rows.labels) - agreed):
            setup.warn(
                f"regen, round {r}: the classifier agrees with no passage of the label "
                f"{', '.join(map(repr, spared))}; those are kept, for none else would be"
            )

    def limit(self, found: Sequence[Found], setup: Setup) -> None:
        """Keep at most `size` rows, equally many of each label: those nearest to their queries."""
        if self.size is None:
            return
        for name, share in equal_shares(self.size, setup).items():
            own = [one for one in found if one.outcome == "kept" and one.query.label == name]
            own.sort(key=lambda one: -one.hit.cosine)
            for one in own[max(1, share) :]:
                one.outcome = "beyond size"

    def _give_up(self, found: Sequence[Found], missing: list[str], r: int, setup: Setup) -> None:
        """Raise in round 0; later, warn that the round before is the last."""
        counts = [f"{name!r} ({_counted(found, name) or 'nothing found'})" for name in missing]
        said = f"regen, round {r}: no passage is left for the label {', '.join(counts)}"
        if r == 0:
            raise TooFewRowsError(
                said,
                hint="a corpus that has texts of every label, other method.queries, more "
                "method.per_query, or method.agreement: false",
            )
        setup.warn(f"{said}; round {r - 1} is the last")


def curate(found: Sequence[Found], writer: Writer, verdicts: dict[str, Rejected | None]) -> None:
    """Apply curation to passages: a corpus may hold copies of test rows.

    Args:
        found: Passages; rejected ones are marked with the reason.
        writer: Writer of the round, which records rejected passages.
        verdicts: Passage id -> its verdict from an earlier round; updated in place.
    """
    curator = writer.setup.curator
    for one in found:
        if one.outcome != "kept":
            continue
        passage, row = one.hit.passage, one.to_row(writer.index)
        if passage.id not in verdicts:
            verdicts[passage.id] = curator.reject(row, parent=None, completion=passage.text)
        if rejected := verdicts[passage.id]:
            one.outcome = rejected.reason
            unused = Unused(rejected, str(row.label), row.provenance)
            writer.written.unused.append(unused)


def note(found: Sequence[Found], writer: Writer) -> None:
    """Note the outcome of every retrieved passage, and the counts by label."""
    written = writer.written
    for one in found:
        written.note(
            "passages",
            passage=one.hit.passage.id,
            label=one.query.label,
            query=one.query.passage,
            rank=one.hit.rank,
            cosine=round(one.hit.cosine, 4),
            outcome=one.outcome,
        )
    for label in writer.setup.task.label_names:
        outcomes = [one.outcome for one in found if one.query.label == label]
        counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        written.note("filters", label=label, retrieved=len(outcomes), **counts)


def _join(word: str, hit: Hit) -> str:
    """Return a query of round 1 or later: verbaliser, [SEP], a passage kept before."""
    return f"{word} [SEP] {' '.join(hit.passage.text.split()[:QUERY_WORDS])}"


def _labels_without(found: Sequence[Found], setup: Setup, *, at_least: int = 1) -> list[str]:
    """Return the labels with fewer than `at_least` kept passages."""
    kept = [one.query.label for one in found if one.outcome == "kept"]
    return [name for name in setup.task.label_names if kept.count(name) < at_least]


def _counted(found: Sequence[Found], label: str) -> str:
    outcomes = [one.outcome for one in found if one.query.label == label]
    return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
