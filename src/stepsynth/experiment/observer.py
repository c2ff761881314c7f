"""What a run tells whoever watches it. The command line draws it; a library user gets silence."""

from typing import Any


class Observer:
    """Receives the progress of a run; this one ignores it."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """Some requests of a phase are done; called from the engine's thread."""

    def round_done(self, numbers: dict[str, Any]) -> None:
        """A round is over; `numbers` is as in `metrics.json`, without test."""

    def warn(self, message: str) -> None:
        """Something the user should know; the run goes on."""
