"""One fault: the disturbed commands, the same command until the run has ended, and the checks."""

import os
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import stepsynth
from benchmarks.torture import checks, hooks
from benchmarks.torture.child import Child, HangError
from benchmarks.torture.scene import Scene, read_outputs
from benchmarks.torture.server import Asked, Ledger, Server

TABLE = {0, 2, 3, 4, 5, 130}
"""The documented exit codes, except 1 for a bug of stepsynth."""
KILLED = -9
ATTEMPTS = 4
"""Most repetitions of the command after a fault until the run has ended."""


class SkippedError(Exception):
    """Error: a fault cannot be done here, and why."""


class Episode:
    """Episode of one run and its fault.

    Args:
        scene: The task and its command.
        server: The LLM.
        folder: An empty folder for this episode alone.
        seed: Seed of everything random.

    Attributes:
        out: The run folder.
        sets: The `--set` values of every command.
        args: The arguments of the command, from the scene.
        problems: The problems found.
        codes: The exit codes of the commands, in order.
        losses: Times at which answers may have been lost, and how many seconds back.
        has_same_bytes: Whether the results must equal those of an undisturbed run.
        has_killed: Whether a process with child processes was killed.
    """

    def __init__(self, scene: Scene, server: Server, folder: Path, seed: int | str) -> None:
        self.scene = scene
        self.folder = folder
        self.rng = random.Random(seed)
        self.out = folder / "out"
        self.sets: dict[str, Any] = {}
        self.args = list(scene.args)
        self.problems: list[str] = []
        self.codes: list[int] = []
        self.losses: list[tuple[float, float]] = []
        self.has_same_bytes = True
        self.has_killed = False
        self._server = server
        self._key = f"sk-torture-{secrets.token_hex(16)}"
        self.ledger: Ledger = server.open(self._key)
        self._children: list[Child] = []

    @property
    def server_url(self) -> str:
        """The URL of the LLM."""
        return self._server.url

    def start(
        self,
        *,
        out: Path | None = None,
        sets: Mapping[str, Any] | None = None,
        orders: Sequence[hooks.Order] = (),
        env: Mapping[str, str | None] | None = None,
        wrap: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> Child:
        """Start the command.

        Args:
            out: Another run folder.
            sets: Further `--set` values of this command.
            orders: Faults to inject into its processes.
            env: Environment variables to set, or (None) to remove.
            wrap: The command that starts it.
            cwd: Its working directory.
        """
        path = os.environ.get("PYTHONPATH", "")
        source = Path(stepsynth.__path__[0]).parent
        given = {**os.environ, "OPENAI_API_KEY": self._key, "PYTHONPATH": f"{source}:{path}"}
        # Single threads, so that a busy machine does not slow commands beyond the fault's effect.
        given |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        if orders:
            given |= hooks.environment(list(orders), given["PYTHONPATH"])
        given |= {name: value for name, value in (env or {}).items() if value is not None}
        for name in [name for name, value in (env or {}).items() if value is None]:
            given.pop(name, None)
        values = {**self.sets, **(sets or {})}
        args = [*self.args, "--out", str(out or self.out)]
        args += [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        log = self.folder / f"command-{len(self._children)}"
        child = Child(args, log, given, wrap=wrap, cwd=cwd or self.scene.folder)
        self._children.append(child)
        return child

    def end(self, child: Child, *allowed: int) -> int:
        """Wait for the end of a command, and check its exit code; by default any of `TABLE`."""
        try:
            code = child.wait(self.scene.limit_s)
        except HangError as error:
            self.problems.append(f"{error}; it had printed: {child.stderr[-300:]!r}")
            code = KILLED
        if code == KILLED:
            self.has_killed = True
            self.lose(2.0)
        self.codes.append(code)
        wanted = {*(allowed or TABLE), *([KILLED] if child.was_killed else [])}
        if code not in wanted:
            said = " ".join(child.stderr.split())[-400:]
            self.problems.append(f"exit code {code}, expected one of {sorted(wanted)}: {said}")
        if trace := checks.find_traceback(child.stderr + child.stdout, is_orphan=self.has_killed):
            self.problems.append(f"a traceback: {trace[-900:]}")
        if left := child.wait_for_processes():
            self.problems.append(f"processes were left: {left}")
        return code

    def run(self, *allowed: int, **options: Any) -> int:
        """Start the command, wait for its end, and return its exit code."""
        return self.end(self.start(**options), *allowed)

    def lose(self, back_s: float) -> None:
        """Record that the answers of the last seconds may have been lost."""
        self.losses.append((time.monotonic(), back_s))

    def marks(self) -> Path:
        """Return the path at which processes record that they got a signal."""
        return self.folder / f"struck-{len(self._children)}"

    def finish(self) -> None:
        """Repeat the command until the run has ended, and check its results."""
        for _ in range(ATTEMPTS):
            if self.run() == 0:
                break
            if any("did not end" in problem for problem in self.problems):
                return
        else:
            self.problems.append(f"the same command did not end with 0: {self.codes}")
            return
        self.check(self.out)

    def check(self, *outs: Path) -> None:
        """Check the requests, and the results in the run folders."""
        self.problems += checks.check_repeats(self.ledger, self.losses)
        for out in outs:
            self.problems += checks.check_whole(out)
            if self.has_same_bytes:
                known = self.scene.known.outputs
                self.problems += checks.compare_outputs(read_outputs(out), known)

    def close(self) -> None:
        """Kill remaining processes, refuse the key, and check that no file contains it."""
        for child in self._children:
            child.end()
        self._server.close(self.ledger)
        if found := checks.find_bytes(self.folder, self._key.encode()):
            self.problems.append(f"the key is in {found}")

    def nth(self, kind: str | None = None) -> tuple[str, int]:
        """Return a kind of request of the scene, and the random index of one such request."""
        counts = self.scene.known.requests
        kind = kind or self.rng.choice(sorted(counts))
        return kind, self.rng.randrange(counts[kind])

    def at_request(self, kind: str | None = None) -> "Counter":
        """Return a condition that holds from a random request on."""
        return Counter(*self.nth(kind))


class Counter:
    """Condition that holds from the n-th request of a kind on."""

    def __init__(self, kind: str, n: int) -> None:
        self.kind = kind
        self.n = n

    def __call__(self, asked: Asked) -> bool:
        """Count a request; return whether it is the n-th or a later one."""
        self.n -= asked.kind == self.kind
        return self.n < 0
