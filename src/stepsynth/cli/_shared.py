"""What the commands share: errors without a traceback, progress, the table of rounds."""

import functools
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import typer

from stepsynth.errors import StepsynthError
from stepsynth.experiment.observer import Observer

if TYPE_CHECKING:
    from rich.progress import TaskID

F = TypeVar("F", bound=Callable[..., Any])

JSON = typer.Option(False, "--json", help="Print one line of JSON on stdout as the last line.")


def handle_errors(command: F) -> F:
    """Make a command print our errors as a message with a hint, and exit with their code."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except StepsynthError as error:
            print_error(error)
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            say("stopped by Ctrl-C")
            raise SystemExit(130) from None
        except BrokenPipeError:
            # The reader (`| head`) has gone; what is still buffered has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except Exception as error:
            if os.environ.get("STEPSYNTH_DEBUG"):
                raise
            say(f"error: this is a bug of stepsynth: {type(error).__name__}: {error}")
            say("hint: STEPSYNTH_DEBUG=1 shows where; please report it with the command")
            raise SystemExit(1) from None

    return wrapped  # type: ignore[return-value]


def print_error(error: StepsynthError) -> None:
    """Print an error to stderr, its hint on a line of its own."""
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")


def say(message: str) -> None:
    """Print a line to stderr."""
    print(message, file=sys.stderr, flush=True)


def command_line(*args: str) -> str:
    """Return a command of ours that can be pasted into the shell it was called from."""
    program = sys.argv[0] if "/" in sys.argv[0] and not shutil.which("stepsynth") else "stepsynth"
    if program.endswith("__main__.py"):
        program = f"{sys.executable} -m stepsynth"
    return " ".join([program, *map(shlex.quote, args)])


def print_json(value: Mapping[str, Any]) -> None:
    """Print a value as one line on stdout."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


class Display(Observer):
    """Shows a run's progress on stderr: a live line on a terminal, plain lines elsewhere."""

    PLAIN_EVERY_S = 2.0

    def __init__(self) -> None:
        from rich.console import Console

        self.console: Console = Console(stderr=True, highlight=False)
        self._is_live = self.console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._printed: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._is_live:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_live:
            self._progress.stop()

    def progress(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase is; called from the engine's thread."""
        now = time.monotonic()
        if phase not in self._started:
            # What is done at the start came from the store, and says nothing of the speed.
            self._started[phase] = (now, done)
        since, before = self._started[phase]
        rate = (done - before) / (now - since) if now - since > 0.5 else 0.0
        shown = (f"{rate:.0f}/s" if rate >= 1 else f"{1 / rate:.1f} s each") if rate else ""
        if self._is_live:
            if phase not in self._tasks:
                self._tasks[phase] = self._progress.add_task(phase, total=total, rate="")
            self._progress.update(self._tasks[phase], completed=done, total=total, rate=shown)
        elif self._is_due(phase, done, total, now):
            left = f", {(total - done) / rate:.0f} s left" if done < total and rate else ""
            say(f"{phase}: {done}/{total}" + (f" ({shown}{left})" if rate else ""))

    def _is_due(self, phase: str, done: int, total: int, now: float) -> bool:
        if (
            done < total
            and now - self._printed.get(phase, self._started[phase][0]) < self.PLAIN_EVERY_S
        ):
            return False
        self._printed[phase] = now
        return True

    def round_done(self, numbers: dict[str, Any]) -> None:
        """Say what a round brought."""
        self._print(
            f"round {numbers['round']}: {numbers['added']} rows added, trained on "
            f"{numbers['train_size']}, {numbers['misclassified']} of mine misclassified, "
            + ", ".join(f"select {n} {numbers['select'][k]:.3f}" for k, n in shown(numbers))
        )

    def warn(self, message: str) -> None:
        """Show a warning."""
        self._print(f"warning: {message}")

    def _print(self, message: str) -> None:
        if self._is_live:
            self._progress.console.print(message, markup=False)
        else:
            say(message)


def shown(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the keys and names of a round's scores to show."""
    from stepsynth.metrics import SCORE_NAMES

    scores = numbers.get("select", {})
    return [(key, short) for key, (_, short) in SCORE_NAMES.items() if key in scores]


def round_table(summary: Mapping[str, Any]) -> Any:
    """Return the table of a run's rounds."""
    from rich.markup import escape
    from rich.table import Table

    title = f"{summary['task']}: {summary['method']} with {summary['student']}"
    table = Table(title=escape(title))
    for name in ("round", "added", "train\nrows", "mine\nwrong"):
        table.add_column(name, justify="right")
    keys = shown(summary["rounds"][0]) if summary["rounds"] else []
    for split in ("select", "test"):
        for _, name in keys:
            table.add_column(f"{split}\n{name}", justify="right")
    table.add_column("")
    for row in summary["rounds"]:
        counts = [str(row[k]) for k in ("round", "added", "train_size", "misclassified")]
        scores = [
            f"{row[split][key]:.3f}" if split in row else "-"
            for split in ("select", "test")
            for key, _ in keys
        ]
        table.add_row(*counts, *scores, "kept" if row["round"] == summary["kept_round"] else "")
    f1 = "EM: exact match" if ("f1", "F1") in keys else "F1: macro-F1"
    table.caption = f"mine: gold that errors are taken from; {f1}"
    return table


def print_summary(summary: Mapping[str, Any], extra: Sequence[str] = ()) -> None:
    """Print the table of rounds, the LLM's counts and where the results are, on stdout."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(round_table(summary))
    llm = summary["llm"]
    rejected = f"{llm['failed']} failed, {sum(llm['rejected'].values())} rejected"
    if llm["replayed"]:
        said = f"LLM: none was called, {llm['replayed']} recorded answers; {rejected}."
    else:
        usd = "cost not known" if llm["usd"] is None else f"{llm['usd']:.4f} USD"
        tokens = f"{llm['prompt_tokens']} prompt + {llm['completion_tokens']} completion tokens"
        said = (
            f"LLM: {llm['requests']} requests sent now, {llm['from_store']} from the store, "
            f"{rejected}. The whole run: {tokens}, {usd}."
        )
    console.print(f"{said} {summary['seconds']:.1f} s.", markup=False)
    for line in extra:
        console.print(line, markup=False, soft_wrap=True)
