"""An LLM that answers where a model abstains, in the words of the method `llm`.

Answers are remembered in a store, and the caps of `limits` hold over all invocations. Whatever
happens to the LLM, a text without an answer gets none, and the caller goes on.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from stepsynth._util.hashing import digest
from stepsynth.errors import ConfigError, LimitReachedError, StepsynthError
from stepsynth.llm import Completion, Failed, LLMSettings, Request, Spent
from stepsynth.methods import decide_request, read_decision
from stepsynth.records import Example, Label
from stepsynth.runfolder import RunFolder
from stepsynth.runner import CountedLLM, open_llm
from stepsynth.students import Student
from stepsynth.taskfile import Config, load_config
from stepsynth.tasks import Task

TIMEOUT_S = 30.0
"""Seconds that the LLM has for an answer."""
REST_S = 30.0
"""Seconds that an LLM which failed is left alone: nobody should wait for each text anew."""
ATTEMPTS = 2

UNREADABLE = "the LLM named no label"
DOWN = "the LLM does not answer"


@dataclass(frozen=True)
class Reply:
    """What the LLM says of a text.

    Attributes:
        label: None: there is no label; `why` says so.
        why: Why there is no label; "": there is one.
        usd: What the answer cost, now or when it was first asked for; None: not known, or none.
    """

    label: Label | None
    why: str = ""
    usd: float | None = None


def read_task(place: Path, student: Student) -> Config:
    """Return the configuration of the LLM that answers in place of a model.

    Args:
        place: A task file, or a run folder, whose own settings are taken.
        student: The model.

    Raises:
        ConfigError: It has no LLM, other labels, or another number of them a text.
    """
    file = RunFolder(place).config if place.is_dir() else place
    # Whatever the method of the file asks, the LLM is asked as the method `llm` does.
    config = load_config(file, ["method=llm"])
    task, labels = config.task, set(student.label_names)
    if set(task.label_names) != labels or task.has_label_sets != student.gives_sets:
        theirs = _in_words(task.label_names, task.has_label_sets)
        raise ConfigError(
            f"{file}: its labels are {theirs}; those of the model are "
            f"{_in_words(student.label_names, student.gives_sets)}",
            hint="give the task file that the model was trained with",
        )
    return config


def _in_words(labels: Sequence[str], are_sets: bool) -> str:
    return ", ".join(labels) + (" (several a text)" if are_sets else "") or "none"


class FallBack:
    """An LLM behind a model.

    Args:
        config: Its task, LLM and caps.
        folder: The run folder, which keeps the store unless `llm.store` names another file.
        timeout_s: Seconds for an attempt.
        on_notice: Told in a sentence when it fails; never with a text.

    Raises:
        ConfigError: The LLM cannot be used as it is set.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        *,
        timeout_s: float = TIMEOUT_S,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        assert config.llm is not None
        self.task: Task = config.task
        self.settings = _for_now(config.llm, config.llm.store_path(folder.fall_back), timeout_s)
        # Minutes are those of a run: a server is there for longer.
        limits = config.limits.model_copy(update={"minutes": None})
        # Runs of other random seeds pay for an answer once: it is no draw of a run.
        self._config = replace(config, llm=self.settings, limits=limits, random_seed=0)
        self._folder = folder
        self._run = digest(["fall-back", self.settings.identity(), config.task.model_dump()])
        self._on_notice = on_notice
        self._spent_before = Spent()
        self._rests_until = 0.0
        self._lock = Lock()
        self._llm: CountedLLM | None = None
        self._open()

    @property
    def store(self) -> Path:
        """The file that remembers the answers."""
        return self.settings.store_path(self._folder.fall_back)

    @property
    def spent(self) -> Spent:
        """Requests, USD and tokens of this process; answers from the store cost nothing."""
        llm = self._llm  # another thread may close it meanwhile
        return self._spent_before if llm is None else Spent.sum((self._spent_before, llm.spent))

    @property
    def is_priced(self) -> bool:
        """Whether the price of the LLM is known."""
        return all(each.known_price() for each in self.settings.endpoints_of("decide"))

    def ping(self) -> None:
        """Ask for one token.

        Raises:
            ProviderError: The LLM cannot be used.
        """
        self._open().ping()

    def ask(self, rows: Sequence[Example]) -> list[Reply]:
        """Return what the LLM says of each row; equal rows are asked about once.

        Nothing is raised that the LLM, its caps or its store are the cause of.
        """
        different = {(row.text, row.context): row for row in rows}
        with self._lock:
            replies = dict(zip(different, self._ask(list(different.values())), strict=True))
        return [replies[row.text, row.context] for row in rows]

    def close(self) -> None:
        """Close connections and the store."""
        with self._lock:
            self._close()

    def _ask(self, rows: Sequence[Example]) -> list[Reply]:
        replies: list[Reply] = []
        requests = [decide_request(row, self.task) for row in rows]
        why = DOWN
        try:
            if time.monotonic() >= self._rests_until:
                answers = self._open().stream(requests, phase="decide", total=len(requests))
                for row, request, answer in zip(rows, requests, answers, strict=True):
                    replies.append(self._read(row, request, answer))
        except LimitReachedError as error:
            why = f"{error.cap} is reached"
        except StepsynthError as error:
            self._rest(error)
        left = len(replies)
        return replies + self._remembered(rows[left:], requests[left:], why)

    def _remembered(
        self, rows: Sequence[Example], requests: Sequence[Request], why: str
    ) -> list[Reply]:
        """Return what the store has of rows that the LLM is not asked about now."""
        known: list[Completion | None] = [None] * len(rows)
        if rows:
            with suppress(StepsynthError):
                known = self._open().stored(requests)
        return [
            Reply(None, why) if answer is None else self._read(row, request, answer)
            for row, request, answer in zip(rows, requests, known, strict=True)
        ]

    def _read(self, row: Example, request: Request, answer: Completion | Failed) -> Reply:
        if isinstance(answer, Failed):
            return Reply(None, DOWN)
        usd = self._open().usd_of(request, answer)
        label = read_decision(answer, row, self.task)
        return Reply(label, "" if label is not None else UNREADABLE, usd)

    def _rest(self, error: StepsynthError) -> None:
        """Leave the LLM alone for a while; then it is asked afresh, whatever state it was in."""
        # The message of a provider may repeat the text that it was asked about.
        self._on_notice(f"{DOWN} ({type(error).__name__}); asked again in {REST_S:.0f} s")
        with suppress(StepsynthError):  # a full disk, say: what is wrong is told already
            self._close()
        self._rests_until = time.monotonic() + REST_S

    def _open(self) -> CountedLLM:
        if self._llm is None:
            self._llm = open_llm(self._config, self._folder, self._run)
        return self._llm

    def _close(self) -> None:
        if (llm := self._llm) is not None:
            self._spent_before, self._llm = self.spent, None
            llm.close()


def _for_now(settings: LLMSettings, store: Path, timeout_s: float) -> LLMSettings:
    """Return settings for somebody who waits: live, with few attempts, in this process."""
    wanted = {
        "timeout_s": timeout_s,
        "patience_s": timeout_s,
        "max_attempts": ATTEMPTS,
        "store": str(store),
        "batch": False,
        "shards": 1,
    }
    known = {key: value for key, value in wanted.items() if key in type(settings).model_fields}
    phases = {
        kind: tuple(_for_now(each, store, timeout_s) for each in several)
        for kind, several in settings.phases.items()
    }
    return settings.model_copy(update={**known, "phases": phases})
