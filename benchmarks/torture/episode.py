"""One fault: commands that it befalls, the same command until the run has ended, and the checks."""

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
"""The exit codes that are documented, but 1: a bug of ours."""
KILLED = -9
ATTEMPTS = 4
"""So often the same command is given after a fault until the run has ended."""


class SkippedError(Exception):
    """A fault cannot be done here; says why."""


class Episode:
    """What befalls one run.

    Args:
        scene: What is run.
        server: The LLM.
        folder: An empty folder, for this alone.
        seed: Decides all that is random.

    Attributes:
        out: The run folder.
        sets: What is set for every command.
        args: The command; the scene's.
        problems: What was found wrong.
        codes: The exit codes of the commands, in order.
        losses: When what had just been answered may have been lost, and how many seconds back.
        has_same_bytes: Whether the results must be those of an undisturbed run.
        has_killed: A process that had others was killed.
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
        """Where the LLM is."""
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
            sets: What is set for this time.
            orders: What is done within its processes.
            env: Variables to set, or (None) to do without.
            wrap: What it is started by.
            cwd: Where it is started.
        """
        path = os.environ.get("PYTHONPATH", "")
        source = Path(stepsynth.__path__[0]).parent
        given = {**os.environ, "OPENAI_API_KEY": self._key, "PYTHONPATH": f"{source}:{path}"}
        # What a fault does to a busy machine should not be done by threads that wait for threads.
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
        """Wait until a command has ended, and check how; any code of the table, if none is said."""
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
        """Start the command, and wait until it has ended."""
        return self.end(self.start(**options), *allowed)

    def lose(self, back_s: float) -> None:
        """Note that what was answered in the last seconds may not have been kept."""
        self.losses.append((time.monotonic(), back_s))

    def marks(self) -> Path:
        """Return where processes note that they were struck."""
        return self.folder / f"struck-{len(self._children)}"

    def finish(self) -> None:
        """Give the same command until the run has ended, and check what it came to."""
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
        """Check what was asked, and what runs came to."""
        self.problems += checks.check_repeats(self.ledger, self.losses)
        for out in outs:
            self.problems += checks.check_whole(out)
            if self.has_same_bytes:
                known = self.scene.known.outputs
                self.problems += checks.compare_outputs(read_outputs(out), known)

    def close(self) -> None:
        """End what still runs, refuse the key, and check that it is nowhere."""
        for child in self._children:
            child.end()
        self._server.close(self.ledger)
        if found := checks.find_bytes(self.folder, self._key.encode()):
            self.problems.append(f"the key is in {found}")

    def nth(self, kind: str | None = None) -> tuple[str, int]:
        """Return a kind of request that the scene sends, and a number of one of them."""
        counts = self.scene.known.requests
        kind = kind or self.rng.choice(sorted(counts))
        return kind, self.rng.randrange(counts[kind])

    def at_request(self, kind: str | None = None) -> "Counter":
        """Return what says of requests whether it is the one, at random, that is waited for."""
        return Counter(*self.nth(kind))


class Counter:
    """Says of the n-th request of a kind that it is the one."""

    def __init__(self, kind: str, n: int) -> None:
        self.kind = kind
        self.n = n

    def __call__(self, asked: Asked) -> bool:
        """Count a request; say whether it is the one, or comes after it."""
        self.n -= asked.kind == self.kind
        return self.n < 0
