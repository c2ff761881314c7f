"""The progress of a run for a watcher: drawn by the command line, silent in a library."""

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepsynth.llm import Status
    from stepsynth.run_records import RoundMetrics


class Observer:
    """A receiver of the progress of a run; this base class ignores it."""

    def asking(self, status: "Status") -> None:
        """Receive the status of a phase of requests, a few times a second, in the engine's thread.

        By default it is passed on to `progress` if the total is known.
        """
        if status.total is not None:
            self.progress(status.phase, status.done, status.total)

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Receive the number of steps done of a phase; total None: it is not known."""

    def round_done(self, numbers: "RoundMetrics") -> None:
        """Receive the numbers of a finished round; they have no `test` yet."""

    def warn(self, message: str) -> None:
        """Receive a warning for the user; the run goes on."""


class NamedObserver(Observer):
    """An observer of one run of several: it passes progress on, under the name of the run."""

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer, self._name = observer, name

    def asking(self, status: "Status") -> None:
        """Pass on the status of a phase of requests."""
        self._observer.asking(replace(status, phase=f"{self._name}: {status.phase}"))

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Pass on the progress of training or indexing."""
        self._observer.progress(f"{self._name}: {phase}", done, total)


def round_in_words(numbers: "RoundMetrics") -> str:
    """Return the numbers of a finished round in a line."""
    from stepsynth.metrics import SCORE_NAMES

    made = numbers.review.in_words if numbers.review else f"{numbers.added} rows added"
    scores = ", ".join(
        f"select {short} {numbers.select[key]:.3f}"
        for key, (_, short) in SCORE_NAMES.items()
        if key in numbers.select
    )
    return (
        f"round {numbers.round}: {made}, trained on {numbers.train_size}, "
        f"{numbers.misclassified} mining rows misclassified, {scores}"
    )
