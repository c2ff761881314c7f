"""What a run tells whoever watches it. The command line draws it; a library user gets silence."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepsynth.llm import Status
    from stepsynth.run_records import RoundMetrics


class Observer:
    """Receives the progress of a run; this one ignores it."""

    def asking(self, status: "Status") -> None:
        """How far a phase of requests is; called some times a second, from the engine's thread.

        By default it is passed on to `progress`, where the total is known.
        """
        if status.total is not None:
            self.progress(status.phase, status.done, status.total)

    def progress(self, phase: str, done: int, total: int) -> None:
        """So many steps of training, indexing or asking are done."""

    def round_done(self, numbers: "RoundMetrics") -> None:
        """A round is over; its numbers have no `test` yet."""

    def warn(self, message: str) -> None:
        """Something the user should know; the run goes on."""
