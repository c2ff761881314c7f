"""Progress of a run on stderr: live lines on a terminal, plain lines at intervals elsewhere.

The engine's thread only stores text here. A separate thread draws it, so a slow terminal delays
no request.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from stepsynth._util.text import shorten
from stepsynth._util.words import short, usd
from stepsynth.cli._shared import printable, say
from stepsynth.observer import Observer, round_in_words

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.live import Live

    from stepsynth.llm import Status
    from stepsynth.run_records import RoundMetrics

PLAIN_EVERY_S = 10.0
LONGEST_BAR = 30
SHORTEST_BAR = 5
LONGEST_NAME = 32


@dataclass(frozen=True, slots=True)
class Line:
    """Displayed state of a phase, as plain text, so that any thread can draw it.

    Attributes:
        use: Requests in flight, tokens, cost.
        trouble: Retries and failures by cause, and the reason for a wait.
    """

    phase: str
    done: int
    total: int | None
    rate: str = ""
    left: str = ""
    use: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether the phase is over; False while its total is unknown."""
        return self.total is not None and self.done >= self.total

    @property
    def count(self) -> str:
        """The steps done, and the total if it is known."""
        return f"{self.done}" if self.total is None else f"{self.done}/{self.total}"

    @property
    def speed(self) -> str:
        """The rate and the time left, as far as they are known."""
        return ", ".join(part for part in (self.rate, self.left and f"{self.left} left") if part)

    def to_text(self) -> str:
        """Return the plain line."""
        speed = f" ({self.speed})" if self.speed else ""
        said = ", ".join([f"{self.phase}: {self.count}{speed}", *self.use])
        return "; ".join([said, *self.trouble])


class Display(Observer):
    """Display of a run's progress on stderr.

    Args:
        says_ends: Whether a finished phase leaves a line.
    """

    def __init__(self, *, says_ends: bool = True) -> None:
        from rich.console import Console

        from stepsynth.runfolder import Cadence

        self.console: Console = Console(stderr=True, highlight=False)
        self._is_live = self.console.is_terminal
        self._says_ends = says_ends
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}
        self._seen: dict[str, tuple[float, int, int]] = {}
        self._most_allowed = 0
        self._plain = Cadence[Line](_say, PLAIN_EVERY_S)

    def __enter__(self) -> Self:
        if self._is_live:
            from rich.live import Live

            self._live = Live(
                get_renderable=self._draw,
                console=self.console,
                refresh_per_second=5,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._leave_lines()

    def asking(self, status: "Status") -> None:
        """Show the progress of a phase of requests; called from the engine's thread."""
        self._most_allowed = max(self._most_allowed, status.allowed)
        average, is_done = self._average(status.phase, status.done), status.done == status.total
        self._show(
            Line(
                phase=status.phase,
                done=status.done,
                total=status.total,
                rate=_rate(average if is_done else status.per_second),
                left="" if is_done else _duration(status.left_s),
                use=tuple(_use(status, self._most_allowed)),
                trouble=tuple(_trouble(status)),
            )
        )

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Show the progress of training or indexing."""
        rate = self._average(phase, done)
        left = _duration((total - done) / rate) if rate and total and done < total else ""
        self._show(Line(phase, done, total, _rate(rate), left))

    def _average(self, phase: str, done: int) -> float:
        """Return the steps per second since the phase began; 0: not known yet."""
        now = time.monotonic()
        since, before, last = self._seen.get(phase, (now, done, done))
        if done < last:  # the phase has started again
            since, before = now, done
        # Steps that were done before the start say nothing of the speed.
        self._seen[phase] = (since, before, done)
        return (done - before) / (now - since) if now - since > 0.5 else 0.0

    def forget(self) -> None:
        """Drop the displayed phases, whose run is over."""
        with self._lock:
            self._lines.clear()
        self._plain.drop()

    def round_done(self, numbers: "RoundMetrics") -> None:
        """Print the numbers of a round."""
        self._leave_lines()
        self.tell(round_in_words(numbers))

    def warn(self, message: str) -> None:
        """Show a warning."""
        self.tell(f"warning: {message}")

    def tell(self, message: str) -> None:
        """Print a permanent line."""
        if self._live is not None:
            self.console.print(printable(message), markup=False)
        else:
            say(message)

    def _show(self, line: Line) -> None:
        if self._is_live:
            with self._lock:
                self._lines[line.phase] = line
        else:
            self._plain.tell(line.phase, line, is_end=line.is_done and self._says_ends)

    def _leave_lines(self) -> None:
        """Replace the live lines by plain ones: the phases are over, or will be drawn again."""
        if not self._says_ends:
            self.forget()
        self._plain.flush()
        with self._lock:
            lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            # Usage is shown while a phase runs, and in the totals at the end.
            self.tell(replace(line, use=(), trouble=()).to_text())

    def _draw(self) -> "RenderableType":
        from rich.console import Group

        with self._lock:
            lines = list(self._lines.values())
        return Group(*map(_Drawn, lines))


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A phase fitted to the width of the terminal; the least important parts are dropped first."""

    line: Line

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> "Iterator[RenderableType]":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        line, width = self.line, options.max_width
        left = f"ETA {line.left}" if line.left else ""
        end = "  ".join(part for part in (line.count, line.rate, left) if part)
        name = shorten(line.phase, max(8, min(LONGEST_NAME, width - len(end) - 1)))
        room = min(LONGEST_BAR, width - len(name) - len(end) - 2)
        if line.total is None or room < SHORTEST_BAR:
            yield _text(f"{name} {end}")
        else:
            row = Table.grid(padding=(0, 1, 0, 0))
            bar = ProgressBar(total=max(1, line.total), completed=line.done, width=room)
            row.add_row(Text(name, no_wrap=True), bar, Text(end, no_wrap=True))
            yield row
        if not line.is_done:
            for details, style in self._details(width - 2):
                yield _text(f"  {details}", style)

    def _details(self, width: int) -> Iterator[tuple[str, str]]:
        """Yield text and style: one line if all fits, else a line for use and one for trouble."""
        use, trouble = list(self.line.use), list(self.line.trouble)
        while len(", ".join(use)) > width and len(use) > 1:
            use.pop()
        together = "; ".join([", ".join(use), *trouble]) if use else "; ".join(trouble)
        if trouble and len(together) > width:
            yield ", ".join(use), "dim"
            while len("; ".join(trouble)) > width and len(trouble) > 1:
                trouble.pop()
            yield "; ".join(trouble), "yellow"
        elif together:
            yield together, "yellow" if trouble else "dim"


def _text(text: str, style: str = "") -> "RenderableType":
    """Return one line of text without markup, cut to the width of the terminal."""
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _say(line: Line) -> None:
    """Print a plain line; a closed stderr must not stop the engine."""
    with contextlib.suppress(OSError):
        say(line.to_text())


def _use(status: "Status", most_allowed: int) -> Iterator[str]:
    """Yield the requests in flight, the cost and the tokens, most important first."""
    usage = status.usage
    if status.in_flight:
        is_less = status.allowed < most_allowed
        yield f"{status.in_flight} in flight" + (f" of {status.allowed} allowed" if is_less else "")
    if usage.requests or usage.from_store:
        yield usd(usage.usd)
        if tokens := usage.prompt_tokens + usage.completion_tokens:
            yield f"{short(tokens)} tokens"


def _trouble(status: "Status") -> Iterator[str]:
    """Yield the reason for a wait, the failures and the retries, most urgent first."""
    from stepsynth.runner import by_cause, retried_by_cause

    usage = status.usage
    retried = retried_by_cause(usage.setbacks, usage.failures)
    said = (status.note, by_cause(usage.failures, "failed"), by_cause(retried, "retried"))
    yield from (printable(shorten(part, 200)) for part in said if part)


def _rate(per_second: float) -> str:
    if not per_second:
        return ""
    if per_second >= 1:
        return f"{per_second:.0f}/s" if per_second >= 10 else f"{per_second:.2g}/s"
    each_s = 1 / per_second
    return f"{each_s:.1f} s each" if each_s < 100 else f"{_duration(each_s)} each"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86400:.1f} days"
