"""The records of a run: types of the JSON files in a run folder.

`docs/run-folder.md` says which file holds what. A key that files of earlier versions lack has a
default here; an unknown key is ignored.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

REVIEWED = ("edited", "relabelled", "rejected", "approved")
"""What a reviewer may have done with a row."""

FORMAT = 1
"""Version of the file format, raised when older files can no longer be read as they were meant."""


class Record(BaseModel):
    """A record that a run writes."""

    model_config = ConfigDict(frozen=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of the fields that were set; defaults are left out."""
        return self.model_dump(mode="json", exclude_unset=True)


class Scores(Record):
    """Scores of a model on labelled rows, by name: `scores["accuracy"]`.

    Attributes:
        n: Number of rows; None: not recorded here.
        confusion: Gold label -> predicted label -> rows; None: not recorded here, or a row has not
            one label.
        by_label: Label -> `precision`, `recall`, `f1` and `rows` of gold; None: not recorded here,
            or there are no labels.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, float | None]  # pyright: ignore[reportIncompatibleVariableOverride]

    n: int | None = None
    confusion: Mapping[str, Mapping[str, int]] | None = None
    by_label: Mapping[str, Mapping[str, float]] | None = None

    @property
    def names(self) -> list[str]:
        """The names of the scores."""
        return list(self.__pydantic_extra__)

    def brief(self, *also: Literal["n", "by_label"]) -> "Scores":
        """Return the scores alone, as in a summary, and the fields named, where they are known."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in also}
        known = {name: value for name, value in fields.items() if value is not None}
        told: dict[str, Any] = {**self.__pydantic_extra__, **known}
        return Scores(**told)

    def known(self) -> Iterator[tuple[str, float]]:
        """Yield name and value of each score that is defined, 0-1."""
        yield from ((k, v) for k, v in self.__pydantic_extra__.items() if v is not None)

    def get(self, name: str) -> float | None:
        """Return a score, 0-1; None: missing or undefined."""
        return self.__pydantic_extra__.get(name)

    def __getitem__(self, name: str) -> float:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self.__pydantic_extra__


class Reviewed(Record):
    """What a reviewer's decisions made of the rows of a round.

    Attributes:
        base: The round whose rows they are; this one is trained on them with the decisions applied.
        edited: Rows that got another text, and perhaps another label.
        relabelled: Rows that got another label alone.
        rejected: Rows that were left out.
        approved: Rows that stay as they are by decision.
        unused: Decisions on rows that were not trained on.
        decisions: Digest of the decisions.
    """

    base: int
    edited: int
    relabelled: int
    rejected: int
    approved: int
    unused: int
    decisions: str

    @property
    def in_words(self) -> str:
        """What was done, in words ("12 rows edited, 3 rejected by a reviewer")."""
        counts = {name: getattr(self, name) for name in REVIEWED}
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        noun = " row " if told.startswith("1 ") else " rows "
        return f"{told.replace(' ', noun, 1) or 'no row changed'} by a reviewer"


class RoundSummary(Record):
    """A round in a summary: its number, rows, and the scores that tables show.

    Attributes:
        round: 0 for the first training.
        added: Rows that it added.
        train_size: Rows that its model was trained on.
        misclassified: Mining rows that its model gets wrong.
        select: Scores on the rows that choose between rounds.
        test: Scores on the test rows; None: not scored yet.
        review: What a reviewer's decisions changed; None: the method made the round.
    """

    round: int
    added: int
    train_size: int
    misclassified: int
    select: Scores
    test: Scores | None = None
    review: Reviewed | None = None


class RoundMetrics(RoundSummary):
    """All numbers of a round: `rounds/N/metrics.json`.

    Attributes:
        duplicates: Rows of the training data that repeat an earlier one.
        labels: Label -> rows of the training data.
        added_labels: Label -> rows that the round added.
        repaired: Answers whose offset or wording was corrected to fit the passage.
        rejected: Reason -> answers that became no row.
        failed: Reason -> requests that got no answer.
        copies_seen: Split of gold -> rows that repeat one of its texts, where copies are allowed.
        verdict: Whether synthetic rows help, in a sentence; None: the method does not look.
    """

    duplicates: int = 0
    labels: Mapping[str, int] = {}
    added_labels: Mapping[str, int] = {}
    repaired: int = 0
    rejected: Mapping[str, int] = {}
    failed: Mapping[str, int] = {}
    copies_seen: Mapping[str, int] = {}
    verdict: str | None = None

    def summary(self) -> RoundSummary:
        """Return the numbers that a summary holds."""
        more: dict[str, Any] = {"test": self.test.brief("by_label")} if self.test else {}
        if self.review is not None:
            more["review"] = self.review
        return RoundSummary(
            round=self.round,
            added=self.added,
            train_size=self.train_size,
            misclassified=self.misclassified,
            select=self.select.brief(),
            **more,
        )


class Reference(Record):
    """What a run is measured against, on the same rows; it costs no LLM.

    Attributes:
        name: "majority class" or "gold alone".
        train_size: Gold rows that it is made from.
        select: Its scores on the rows that choose between rounds.
        test: Its scores on the test rows.
        kept_minus: Accuracy (of sets of labels: exact match) of the run's model minus its own on
            test, with the 95 % interval of the paired difference, 0-1.
        kept_minus_by_label: Label -> the same of recall, over the test rows that have the label.
    """

    name: str
    train_size: int
    select: Scores
    test: Scores
    kept_minus: tuple[float, float, float]
    kept_minus_by_label: Mapping[str, tuple[float, float, float]] = {}


class Trained(Record):
    """A student that `stepsynth train` has trained on rows of files: `trained.json`.

    Attributes:
        task: Kind of the task.
        student: Name of the student.
        sources: The files and runs that its rows come from.
        rows: Number of rows that it was trained on.
        rows_by_label: Label -> rows that have it; empty for questions.
        random_seed: The random seed.
        select: Its scores on the rows that choose an epoch and a calibration.
        test: Its scores on the test rows.
        seconds: Wall time, reading included.
    """

    task: str
    student: str
    sources: tuple[str, ...]
    rows: int
    rows_by_label: Mapping[str, int]
    random_seed: int
    select: Scores
    test: Scores
    seconds: float


class LLMTotals(Record):
    """The requests of a run to its LLM, and their cost.

    Attributes:
        requests: Requests sent in the last invocation, retries included.
        from_store: Requests answered from the store.
        failed: Requests given up.
        rejected: Reason -> answers that became no row.
        prompt_tokens: Prompt tokens of all answers behind the data set, stored ones included.
        completion_tokens: Completion tokens of the same answers.
        usd: Their cost in USD, 0 where no LLM is asked; None: not known.
        cached_tokens: Prompt tokens that the provider had in its cache.
        reasoning_tokens: Completion tokens that were no part of an answer.
        retries: Requests that were sent again.
        setbacks: Cause -> attempts that failed.
        failures: Cause -> requests that were given up.
        replayed: Recorded answers, for which no LLM was asked.
        tokens_per_kept_row: Tokens per row of the data set; None: not counted.
        usd_per_kept_row: USD per row of the data set; None: not known.
        backend: Name of the backend; None: the method asks no LLM.
        gold_texts: LLM -> texts of `mine` that stood in prompts to it; None: an earlier version
            did not look.
        gold_contexts: LLM -> contexts of `mine` that did, likewise.
    """

    requests: int
    from_store: int = 0
    failed: int = 0
    rejected: Mapping[str, int] = {}
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    retries: int = 0
    setbacks: Mapping[str, int] = {}
    failures: Mapping[str, int] = {}
    replayed: int = 0
    tokens_per_kept_row: float | None = None
    usd_per_kept_row: float | None = None
    backend: str | None = None
    gold_texts: Mapping[str, int] | None = None
    gold_contexts: Mapping[str, int] | None = None

    @property
    def calls(self) -> int:
        """Requests of the run, whoever answered; a retry does not count."""
        # `requests` counts all attempts. With recordings, it misses requests that found no answer.
        asked = self.requests - self.retries + self.from_store + self.replayed
        return asked + (self.failed if self.replayed else 0)


class Summary(Record):
    """The outcome of a run, as `stepsynth run --json` prints it.

    Attributes:
        run: The run folder.
        task: Name of the task file.
        method: Name of the method.
        student: Name of the student.
        random_seed: Seed of every draw.
        search: `trials`, `pruned`, `score` and `values` of a hyper-parameter search, if any.
        rounds: The rounds, in order.
        kept_round: Index of the round that is kept; None: the run is not done.
        test: Test scores of the kept round's model.
        llm: Requests and cost.
        warnings: The warnings, in order.
        seconds: Duration of the last invocation.
        usd_per_1000_predictions: Cost, where the LLM itself predicts (method `llm`).
        stopped: Why the run ended early, if it did.
        verdict: Whether synthetic rows help, in a sentence, if the method looks.
        references: What the run is measured against; empty: it is not done, or has no labels.
    """

    run: str
    task: str
    method: str
    student: str
    random_seed: int
    search: Mapping[str, Any] | None = None
    rounds: tuple[RoundSummary, ...]
    kept_round: int | None
    test: Scores | None
    llm: LLMTotals
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    usd_per_1000_predictions: float | None = None
    stopped: str | None = None
    verdict: str | None = None
    references: tuple[Reference, ...] = ()

    @property
    def kept(self) -> RoundSummary:
        """The round that is kept.

        Raises:
            LookupError: There is none yet: the run is not done.
        """
        if self.kept_round is None:
            raise LookupError("the run is not done")
        return self.rounds[self.kept_round]


class Manifest(Record):
    """The record of a finished run: `manifest.json`, written last.

    Attributes:
        summary: The outcome of the run.
        data: Split -> digest of its rows.
        rows: Round -> digest of the rows that its model was trained on.
        prompts: Name -> digest of a template.
        versions: Library -> version.
        commit: Commit of the source checkout that it ran from, if any.
        platform: The operating system and its version.
        began: Start of the last invocation, in UTC, ISO 8601.
        ended: End of the last invocation, likewise.
    """

    summary: Summary
    data: Mapping[str, str] = {}
    rows: Mapping[int, str] = {}
    prompts: Mapping[str, str] = {}
    versions: Mapping[str, str | None] = {}
    commit: str | None = None
    platform: str = ""
    began: str = ""
    ended: str = ""


class Identity(Record):
    """All that decides the results of a run: `identity.json`.

    The file also holds sections of the task file, as they were.

    Attributes:
        random_seed: Seed of every draw.
        data: Split -> digest of its rows.
    """

    random_seed: int = 0
    data: Mapping[str, str] = {}


class AnsweredTest(Record):
    """A round's predictions on the test rows: `rounds/N/test_predictions.json`.

    Attributes:
        ids: Ids of the test rows, in order; None: an earlier version did not write them.
        gold: Their labels: a text each, a list of texts, or answers as in SQuAD.
        predicted: Predictions of the model.
    """

    ids: tuple[str, ...] | None = None
    gold: tuple[Any, ...]
    predicted: tuple[str, ...]


class Prompt(Record):
    """A prompt template that the run used: `prompts.json`.

    Attributes:
        template: Source of the template.
        filled: The template filled in with rows of the run; None: there were none.
    """

    template: str
    filled: str | None = None
