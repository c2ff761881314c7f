"""The stepsynth commands as processes, each watched in a session of its own until all has ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

COMMAND = [sys.executable, "-m", "stepsynth"]
LINGER_S = 15.0
"""Seconds that processes may outlive a killed parent: answers in flight are paid for."""
_POLL_S = 0.02


class HangError(Exception):
    """Error: a command did not end in time."""


class Child:
    """Process of one command.

    Args:
        args: The arguments after `stepsynth`.
        log: Path of its output, to which .out and .err are added.
        env: Its environment.
        wrap: The command that starts it ("sh", "-c", ...).
        cwd: Its working directory.

    Attributes:
        peak_mb: The highest observed memory use.
        was_killed: Whether `kill` has killed it.
    """

    def __init__(
        self,
        args: Sequence[str],
        log: Path,
        env: Mapping[str, str],
        *,
        wrap: Sequence[str] = (),
        cwd: Path,
    ) -> None:
        self._log = log
        with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err:
            self._process = subprocess.Popen(
                [*wrap, *COMMAND, *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.peak_mb = 0.0
        self.was_killed = False

    @property
    def stderr(self) -> str:
        """The output to stderr so far."""
        return Path(f"{self._log}.err").read_text(encoding="utf-8", errors="replace")

    @property
    def stdout(self) -> str:
        """The output to stdout so far."""
        return Path(f"{self._log}.out").read_text(encoding="utf-8", errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Send SIGKILL (kill -9)."""
        self.was_killed = True
        self._process.kill()

    def interrupt(self) -> None:
        """Send Ctrl-C to all of its processes, as a terminal does."""
        if self.is_running:
            os.killpg(self.pid, signal.SIGINT)

    def stop(self) -> None:
        """Suspend the process until `go_on`."""
        if self.is_running:
            self._process.send_signal(signal.SIGSTOP)

    def processes(self) -> list[int]:
        """Return the processes of its session that have not ended, including itself."""
        return [pid for pid, session, state in _processes() if session == self.pid and state != "Z"]

    def workers(self) -> list[int]:
        """Return its worker processes."""
        return [pid for pid in self.processes() if b"spawn_main" in _read(f"/proc/{pid}/cmdline")]

    def is_stopped(self, pid: int) -> bool:
        """Return whether one of its processes is suspended."""
        return any(each == pid and state == "T" for each, _, state in _processes())

    def go_on(self, pid: int) -> None:
        """Resume one of its suspended processes."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def wait(self, limit_s: float) -> int:
        """Wait for the process and return its exit code.

        Raises:
            HangError: The process does not end in time.
        """
        ends = time.monotonic() + limit_s
        while self.is_running:
            for line in _read(f"/proc/{self.pid}/status").splitlines():
                if line.startswith(b"VmHWM:"):
                    self.peak_mb = max(self.peak_mb, int(line.split()[1]) / 1024)
            if time.monotonic() > ends:
                self.end()
                raise HangError(f"it did not end in {limit_s:.0f} s")
            time.sleep(_POLL_S)
        return self._process.wait()

    def wait_for_processes(self) -> list[str]:
        """Kill its processes that outlive it for too long, and return their commands."""
        ends = time.monotonic() + LINGER_S
        while (left := self.processes()) and time.monotonic() < ends:
            time.sleep(_POLL_S)
        commands = [_read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode() for pid in left]
        self.end()
        return commands

    def end(self) -> None:
        """Kill all of its processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _read(path: str) -> bytes:
    """Return a file of /proc; empty if the process has ended."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _processes() -> list[tuple[int, int, str]]:
    """Return id, session and state of every process."""
    found: list[tuple[int, int, str]] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            # The name may hold any character; after it come state, parent, group, session.
            words = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()
            if len(words) > 3:
                found.append((int(name), int(words[3]), words[0].decode()))
    return found
