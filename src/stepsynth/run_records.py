"""What a run writes down, as types: the files of a run folder hold these as JSON.

`docs/run-folder.md` says which file holds what. A key that a file of an earlier version lacks has
its default here; one that is not known here is left alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

FORMAT = 1
"""Of the files of a run folder: raised where a file of before cannot be read as it was meant."""


class Record(BaseModel):
    """A part of what a run writes down."""

    model_config = ConfigDict(frozen=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: what was given, defaults left out."""
        return self.model_dump(mode="json", exclude_unset=True)


class Scores(Record):
    """Scores of a model on labelled rows, by name: `scores["accuracy"]`.

    Attributes:
        n: How many rows; None: not written here.
        confusion: Gold label -> predicted label -> rows; None: not written here, or no labels.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, float | None]  # pyright: ignore[reportIncompatibleVariableOverride]

    n: int | None = None
    confusion: Mapping[str, Mapping[str, int]] | None = None

    @property
    def names(self) -> list[str]:
        """The names of the scores that there are."""
        return list(self.__pydantic_extra__)

    def brief(self, *, with_n: bool = False) -> "Scores":
        """Return the scores alone, as a summary tells them."""
        told: dict[str, Any] = {**self.__pydantic_extra__, **({"n": self.n} if with_n else {})}
        return Scores(**told)

    def known(self) -> Iterator[tuple[str, float]]:
        """Yield name and value of the scores that could be told, 0-1."""
        yield from ((k, v) for k, v in self.__pydantic_extra__.items() if v is not None)

    def get(self, name: str) -> float | None:
        """Return a score, 0-1; None: it is not there, or could not be told."""
        return self.__pydantic_extra__.get(name)

    def __getitem__(self, name: str) -> float:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self.__pydantic_extra__


class RoundSummary(Record):
    """A round in a summary: its number, rows, and the scores that tables show.

    Attributes:
        round: 0 for the first training.
        added: Rows that it added.
        train_size: Rows that its model was trained on.
        misclassified: Mining rows that its model gets wrong.
        select: On the rows that choose between rounds.
        test: On the test rows; None: not scored yet.
    """

    round: int
    added: int
    train_size: int
    misclassified: int
    select: Scores
    test: Scores | None = None


class RoundMetrics(RoundSummary):
    """All numbers of a round: `rounds/N/metrics.json`.

    Attributes:
        duplicates: Rows of the training data that are there more than once.
        labels: Label -> rows of the training data.
        added_labels: Label -> rows that the round added.
        repaired: Answers that stood elsewhere in their passage than the LLM said.
        rejected: Reason -> answers that became no row.
        failed: Reason -> requests that got no answer.
        copies_seen: Part of gold -> rows that repeat a text of it, where they were only counted.
    """

    duplicates: int = 0
    labels: Mapping[str, int] = {}
    added_labels: Mapping[str, int] = {}
    repaired: int = 0
    rejected: Mapping[str, int] = {}
    failed: Mapping[str, int] = {}
    copies_seen: Mapping[str, int] = {}

    def summary(self) -> RoundSummary:
        """Return what a summary tells of the round."""
        told = RoundSummary(
            round=self.round,
            added=self.added,
            train_size=self.train_size,
            misclassified=self.misclassified,
            select=self.select.brief(),
        )
        if self.test is None:
            return told
        return told.model_copy(update={"test": self.test.brief()})


class LLMTotals(Record):
    """What a run asked of its LLM, and what that cost.

    Attributes:
        requests: Sent in the last invocation, retries included.
        from_store: Answered from the store.
        failed: Given up.
        rejected: Reason -> answers that became no row.
        prompt_tokens: Of all answers that the data set is made of, stored ones included.
        completion_tokens: The same of what was written.
        usd: The same in money; None: not known.
        cached_tokens: Of the prompt tokens, those that the provider had in its cache.
        reasoning_tokens: Of the completion tokens, those that were no part of an answer.
        retries: Requests that were sent again.
        setbacks: Cause -> attempts that failed.
        failures: Cause -> requests that were given up.
        replayed: Recorded answers, for which no LLM was asked.
        tokens_per_kept_row: Tokens for a row of the data set; None: not counted.
        usd_per_kept_row: The same in money.
        backend: Name of the backend; None: the method asks no LLM.
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

    @property
    def calls(self) -> int:
        """The requests that a run asked, whoever answered; a retry is no request of its own."""
        # Attempts are counted, retries too; recorded answers that are used up are requests as well.
        asked = self.requests - self.retries + self.from_store + self.replayed
        return asked + (self.failed if self.replayed else 0)


class Summary(Record):
    """What a run came to, as `stepsynth run --json` prints it.

    Attributes:
        run: The run folder.
        task: Name of the task file.
        method: Its name.
        student: Its name.
        random_seed: Of all that is drawn.
        search: `trials`, `pruned`, `score` and `values` of a search of hyper-parameters, if any.
        rounds: In order.
        kept_round: Index of the round that is kept; None: the run is not done.
        test: Scores of the kept round's model.
        llm: What was asked.
        warnings: In order.
        seconds: Of the last invocation.
        usd_per_1000_predictions: Where the LLM itself predicts (method `llm`).
        stopped: Why the run ended early, if it did.
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

    @property
    def kept(self) -> RoundSummary:
        """The round that is kept.

        Raises:
            LookupError: None is: the run is not done.
        """
        if self.kept_round is None:
            raise LookupError("the run is not done")
        return self.rounds[self.kept_round]


class Manifest(Record):
    """What a run that is done was: `manifest.json`, written last.

    Attributes:
        summary: What it came to.
        data: Split -> digest of its rows.
        rows: Round -> digest of the rows that its model was trained on.
        prompts: Name -> digest of a template.
        versions: Library -> version.
        commit: Of the source checkout that it ran from, if it did.
        platform: The operating system and its version.
        began: Of the last invocation, in UTC, ISO 8601.
        ended: The same.
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
    """What decides the results of a run: `identity.json`.

    Sections of the task file stand beside these as they were.

    Attributes:
        random_seed: Of all that is drawn.
        data: Split -> digest of its rows.
    """

    random_seed: int = 0
    data: Mapping[str, str] = {}


class AnsweredTest(Record):
    """What a round's model said of the test rows: `rounds/N/test_predictions.json`.

    Attributes:
        ids: Of the test rows, in order; None: an earlier version did not write them.
        gold: Their labels: a text each, or answers as in SQuAD.
        predicted: What the model said.
    """

    ids: tuple[str, ...] | None = None
    gold: tuple[Any, ...]
    predicted: tuple[str, ...]


class Prompt(Record):
    """A prompt template that was in force: `prompts.json`.

    Attributes:
        template: Its source.
        filled: With rows of the run; None: there were none.
    """

    template: str
    filled: str | None = None
