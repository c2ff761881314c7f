"""Kill -9 at random moments of one run: `python -m benchmarks.kill [--times 20] [--rows 20000]`.

A client sends the rows and is killed; the same command resumes, until the last one ends by itself.
The server counts repeated requests. The results must equal those of an undisturbed run, byte for
byte.
"""

import argparse
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import IN_FLIGHT, read_client, start_client
from benchmarks.mock_server import MockServer

LATENCY_MS = 50.0
GROUP = 64
"""Most answers that the store may not have written yet when it is killed."""
EARLY_SHARE, EARLY_S = 0.25, 0.5
"""Share of kills within these seconds of the start, while imports run and the store is opened."""


@dataclass(frozen=True)
class Outcome:
    """Effect of many kills.

    Attributes:
        sent_again: For each kill, the number of requests that were sent again after it.
        answered_again: Number of these requests whose answer the server had written before.
        is_same: Whether the results equal those of an undisturbed run, byte for byte.
    """

    sent_again: list[int]
    answered_again: int
    is_same: bool


def wait_until(is_so: Callable[[], bool], limit_s: float = 120) -> None:
    """Wait until a condition holds.

    Raises:
        SystemExit: It does not hold in time.
    """
    ends = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > ends:
            raise SystemExit(f"it did not happen in {limit_s:g} s")
        time.sleep(0.005)


def run_undisturbed(rows: int, folder: Path, in_flight: int = IN_FLIGHT) -> bytes:
    """Return the results of a run with a server and a store of its own."""
    results = folder / "undisturbed.jsonl"
    with MockServer(latency_ms=LATENCY_MS) as server:
        read_client(
            start_client(
                "ours",
                {
                    "url": server.url,
                    "rows": rows,
                    "store": folder / "undisturbed.sqlite",
                    "results": results,
                    "in_flight": in_flight,
                },
            )
        )
    return results.read_bytes()


def kill_at(
    moment: int, process: subprocess.Popen[str], server: MockServer, rng: random.Random
) -> None:
    """Kill a client after a number of distinct requests, and wait until all requests have ended."""
    if rng.random() < EARLY_SHARE:
        time.sleep(rng.uniform(0, EARLY_S))
    else:
        wait_until(lambda: process.poll() is not None or server.stats().distinct >= moment)
        time.sleep(rng.uniform(0, LATENCY_MS / 1000))
    process.kill()
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"it ended before the kill, with exit code {process.returncode}")
    wait_until(lambda: server.stats().in_flight == 0)


def run_killed(
    rows: int, times: int, folder: Path, *, in_flight: int = IN_FLIGHT, random_seed: int = 0
) -> Outcome:
    """Kill a run at random moments, let it end, and compare its results.

    Raises:
        SystemExit: A client failed by itself, or ended before it could be killed.
    """
    rng = random.Random(random_seed)
    moments = sorted(rng.randrange(rows - in_flight) for _ in range(times))
    results = folder / "killed.jsonl"
    repeated = [0]
    with MockServer(latency_ms=LATENCY_MS) as server:
        options = {
            "url": server.url,
            "rows": rows,
            "store": folder / "killed.sqlite",
            "results": results,
            "in_flight": in_flight,
        }
        for moment in moments:
            kill_at(moment, start_client("ours", options), server, rng)
            repeated.append(server.stats().repeated)
        read_client(start_client("ours", options))
        stats = server.stats()
    after = [*repeated[2:], stats.repeated]
    return Outcome(
        sent_again=[b - a for a, b in zip(repeated[1:], after, strict=True)],
        answered_again=stats.repeated_after_answer,
        is_same=results.read_bytes() == run_undisturbed(rows, folder, in_flight),
    )


def main() -> None:
    """Kill, count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--random-seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_killed(
            options.rows, options.times, Path(folder), random_seed=options.random_seed
        )
    most = IN_FLIGHT + GROUP
    print(f"{options.times} kills of a run of {options.rows:,} rows, {IN_FLIGHT} in flight")
    print(f"sent again after each: {outcome.sent_again}; at most {most} are to be")
    print(f"of {sum(outcome.sent_again)}, the server had answered {outcome.answered_again} before")
    print(f"the results are those of an undisturbed run: {outcome.is_same}")
    if max(outcome.sent_again) > most or not outcome.is_same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
