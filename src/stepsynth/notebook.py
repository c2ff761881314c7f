"""What the Python interface tells while it works: warnings, and in a notebook its progress."""

import os
import sys
import threading
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from stepsynth._util.html import to_html
from stepsynth._util.words import usd, whole
from stepsynth.comparison import Outcome, Plan, PlannedRun, Silence, Watcher
from stepsynth.errors import StepsynthWarning
from stepsynth.observer import NamedObserver, Observer, round_in_words

if TYPE_CHECKING:
    from stepsynth.llm import Status
    from stepsynth.run_records import RoundMetrics

EVERY_S = 0.25
"""Seconds from one drawing to the next, except of what ends."""

_OURS = f"{Path(__file__).parent}{os.sep}"
"""Beginning of the path of every file of ours."""

_PRE = '<pre style="margin: 0; white-space: pre-wrap">{}</pre>'


def default_observer() -> Observer:
    """Return the observer of a call that names none."""
    return NotebookObserver() if in_notebook() else WarningObserver()


def default_watcher() -> Watcher:
    """Return the watcher of a comparison that names none."""
    return NotebookWatcher() if in_notebook() else WarningWatcher()


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook, and not a script or a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class _Caller:
    """The user's line that calls us, to which warnings belong, whatever thread they come from."""

    def __init__(self) -> None:
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        self._globals: dict[str, Any] = sys.__dict__
        self._file, self._line = "sys", 1
        # Behind `arun` is a pool's thread; `sys` stands for an unknown caller, as in `warnings`.
        if frame is not None and frame.f_globals.get("__name__") != "concurrent.futures.thread":
            self._globals = frame.f_globals
            self._file, self._line = frame.f_code.co_filename, frame.f_lineno

    def warn(self, message: str) -> None:
        """Warn by `warnings.warn`."""
        registry = self._globals.setdefault("__warningregistry__", {})
        name = str(self._globals.get("__name__", "sys"))
        warnings.warn_explicit(message, StepsynthWarning, self._file, self._line, name, registry)


class WarningObserver(_Caller, Observer):
    """Observer that passes warnings to `warnings`, as coming from the line that calls us."""


class WarningWatcher(_Caller, Silence):
    """Watcher that does the same."""


class NotebookObserver(WarningObserver):
    """Observer that shows a run below the cell: a line a round, and a bar for what goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board()

    def asking(self, status: "Status") -> None:
        """Show a phase of requests; called from the engine's thread."""
        self.board.show(status.phase, status.done, status.total, _use(status))

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Show the progress of training or indexing."""
        self.board.show(phase, done, total)

    def round_done(self, numbers: "RoundMetrics") -> None:
        """Show the numbers of a round in place of its phases."""
        self.board.add(round_in_words(numbers))


class NotebookWatcher(WarningWatcher):
    """Watcher that shows a comparison below the cell: a line a run, and a bar for what goes on."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = NotebookObserver()
        self._board = self._shown.board

    def observer_of(self, run: PlannedRun) -> Observer:
        """Return the observer of a run in this process."""
        return NamedObserver(self._shown, run.name)

    def planned(self, plan: Plan, done: int, total: int) -> None:
        """Show the number of runs, and methods that cannot run."""
        self._board.add(f"{total} runs, {done} of them done before; each has {plan.budget}")
        for name, failure in plan.failures.items():
            self._board.add(f"{name} cannot run: {failure.message}")
        self._board.show("runs", done, total)

    def progressed(self, run: PlannedRun, phase: str, done: int, total: int) -> None:
        """Show how far a run is that goes on in another process."""
        self._board.show(f"{run.name}: {phase}", done, total)

    def run_ended(self, outcome: Outcome, done: int, total: int) -> None:
        """Show how a run ended."""
        failure = outcome.failure
        how = f"failed: {failure.message}" if failure else f"done in {outcome.seconds:.1f} s"
        self._board.add(f"[{done}/{total}] {outcome.run.name}: {how}")
        self._board.show("runs", done, total)


class Board:
    """Lines and bars below a cell, drawn anew in their place from any thread."""

    def __init__(self) -> None:
        from IPython.display import display

        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._bars: dict[str, tuple[int, int | None, str]] = {}
        self._drawn_s = 0.0
        self._handle: Any = display(self._content(), raw=True, display_id=True)

    def show(self, phase: str, done: int, total: int | None, more: str = "") -> None:
        """Show how far a phase is."""
        with self._lock:
            self._bars[phase] = done, total, more
            if done == total or time.monotonic() - self._drawn_s >= EVERY_S:
                self._draw()

    def add(self, line: str) -> None:
        """Show a line that stays, in place of the phases before it."""
        with self._lock:
            self._bars.clear()
            self._lines.append(line)
            self._draw()

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        self._handle.update(self._content(), raw=True)

    def _content(self) -> dict[str, str]:
        """Return the board as HTML and, for readers without it, as text."""
        told: list[str] = []
        drawn = [_PRE.format(to_html(line)) for line in self._lines]
        for phase, (done, total, more) in self._bars.items():
            count = whole(done) if total is None else f"{whole(done)}/{whole(total)}"
            text = f"{phase}: {count}{more and f', {more}'}"
            told.append(text)
            bar = (
                ""
                if total is None
                else f'<progress value="{done}" max="{max(1, total)}"></progress> '
            )
            drawn.append(_PRE.format(bar + to_html(text)))
        return {"text/html": "".join(drawn), "text/plain": "\n".join([*self._lines, *told])}


def _use(status: "Status") -> str:
    """Return cost, failures and the reason for a wait."""
    usage, failed = status.usage, status.usage.failures.total()
    parts = (
        usd(usage.usd) if usage.usd else "",
        f"{failed} failed" if failed else "",
        status.note,
    )
    return ", ".join(part for part in parts if part)
