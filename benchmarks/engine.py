"""Speed and memory of the engine beside a bare loop: `python -m benchmarks.engine`.

256 requests in flight. Every measurement is a fresh process against a fresh server. The engine and
the bare loop alternate. Results are medians of `TIMES`, except for the long runs. Seconds count
from the first line after the imports to the closed store; CPU seconds are of the whole process.

With `--json` one size is measured, and the last line is a JSON object. `ours_s` and `bare_s` are
these seconds, `ratio` is the engine to the bare loop, `peak_mb` the peak memory of the engine's
process. `cpu_ms_per_row` is (CPU at `rows` - CPU at a tenth of them) / nine tenths of `rows`, so
imports and start-up drop out. `stored_rows_per_s`: the same requests again, all of them stored.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.clients import IN_FLIGHT, Measured, read_client, start_client
from benchmarks.mock_server import MockServer

TIMES = 3
SIZES = (2_000, 20_000)
LATENCIES_MS = (0.0, 50.0)
SLOW_MS, SLOW_SIGMA = 1000.0, 0.5
MANY = 200_000
_IMPORT = (
    "import time; started = time.perf_counter(); import stepsynth.llm.store.store; "
    "from stepsynth.llm import LLM; "
    "from stepsynth.llm.backends.openai_compatible import OpenAICompatibleBackend; "
    "print(time.perf_counter() - started)"
)


def measure(kind: str, rows: int, server: MockServer, store: Path | None = None) -> Measured:
    """Measure one client.

    Raises:
        SystemExit: The client failed, lost a row, or reported a wrong number of requests.
    """
    before = server.stats().requests
    options = {"url": server.url, "rows": rows} | ({"store": store} if store else {})
    run = read_client(start_client(kind, options))
    arrived = server.stats().requests - before
    if run.rows != rows or arrived != run.sent:
        raise SystemExit(f"{kind}: {run.rows} of {rows} rows came, {arrived} requests arrived")
    return run


@dataclass(frozen=True)
class Pair:
    """Alternating runs of the engine and the bare loop, and engine runs that find all stored."""

    ours: list[Measured]
    bare: list[Measured]
    stored: list[Measured]

    @property
    def ratio(self) -> float:
        """Return the seconds of the engine relative to the bare loop."""
        return middle(self.ours, "run_s") / middle(self.bare, "run_s")


def middle(runs: list[Measured], what: str) -> float:
    """Return the median of one measurement over runs."""
    return median(getattr(run, what) for run in runs)


def measure_pair(
    folder: Path, rows: int, latency_ms: float, sigma: float = 0, times: int = TIMES
) -> Pair:
    """Measure the engine and the bare loop in turn, several times; stores go into the folder."""
    pair = Pair([], [], [])
    for i in range(times):
        store = folder / f"{rows}-{latency_ms:g}-{sigma:g}-{i}.sqlite"
        with MockServer(latency_ms=latency_ms, sigma=sigma) as server:
            pair.ours.append(measure("ours", rows, server, store))
            # The URL is part of a request's id, so completions are stored for this server only.
            pair.stored.append(measure("ours", rows, server, store))
        if pair.stored[-1].sent:
            raise SystemExit(f"{pair.stored[-1].sent} requests were sent that were stored")
        with MockServer(latency_ms=latency_ms, sigma=sigma) as server:
            pair.bare.append(measure("bare", rows, server))
    return pair


def measure_ours(folder: Path, rows: int, latency_ms: float) -> Measured:
    """Measure the engine alone, once."""
    with MockServer(latency_ms=latency_ms) as server:
        place = Path(tempfile.mkdtemp(dir=folder))
        return measure("ours", rows, server, place / "store.sqlite")


def cpu_ms(few: list[Measured], many: list[Measured]) -> float:
    """Return the CPU milliseconds of an additional row."""
    cpu_s = middle(many, "cpu_s") - middle(few, "cpu_s")
    return 1000 * cpu_s / (many[0].rows - few[0].rows)


def import_s() -> float:
    """Return the seconds to import the engine with its client and its store."""
    command = [sys.executable, "-c", _IMPORT]
    done = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(5)]
    return median(float(each.stdout) for each in done)


def print_json(rows: int, latency_ms: float, folder: Path) -> None:
    """Measure one size and print it as a line of JSON."""
    pair = measure_pair(folder, rows, latency_ms)
    tenth = [measure_ours(folder, max(1, rows // 10), latency_ms) for _ in range(TIMES)]
    line = {
        "rows": rows,
        "latency_ms": latency_ms,
        "ours_s": round(middle(pair.ours, "run_s"), 3),
        "bare_s": round(middle(pair.bare, "run_s"), 3),
        "ratio": round(pair.ratio, 3),
        "cpu_ms_per_row": round(cpu_ms(tenth, pair.ours), 4),
        "peak_mb": round(middle(pair.ours, "peak_mb"), 1),
        "stored_rows_per_s": round(rows / middle(pair.stored, "run_s")),
    }
    print(json.dumps(line))


def print_row(name: str, rows: int, runs: list[Measured], note: str = "") -> None:
    """Print one line of the table."""
    run_s = middle(runs, "run_s")
    print(
        f"{name:28} {rows:8,} {run_s:8.2f} {rows / run_s:8,.0f} {middle(runs, 'cpu_s'):7.2f} "
        f"{middle(runs, 'peak_mb'):8.0f} {note}",
        flush=True,
    )


def print_table(folder: Path) -> None:
    """Measure everything and print it."""
    print(f"{IN_FLIGHT} in flight; the import of the engine takes {import_s():.2f} s")
    print(f"{'':28} {'rows':>8} {'s':>8} {'rows/s':>8} {'CPU s':>7} {'peak MB':>8}")
    pairs: dict[tuple[float, int], Pair] = {}
    for latency_ms in LATENCIES_MS:
        for rows in SIZES:
            pair = pairs[latency_ms, rows] = measure_pair(folder, rows, latency_ms)
            print_row(f"bare loop, {latency_ms:g} ms", rows, pair.bare)
            print_row(f"ours, {latency_ms:g} ms", rows, pair.ours, f"{pair.ratio:.2f} x bare")
            print_row("ours, all of it stored", rows, pair.stored)
    few, many = (pairs[LATENCIES_MS[-1], rows] for rows in SIZES)
    ours, bare = cpu_ms(few.ours, many.ours), cpu_ms(few.bare, many.bare)
    print(f"CPU of a further row: ours {ours:.3f} ms, bare {bare:.3f} ms")
    slow = measure_pair(folder, SIZES[0], SLOW_MS, SLOW_SIGMA, times=1)
    print_row("bare loop, lognormal 1 s", SIZES[0], slow.bare)
    print_row("ours, lognormal 1 s", SIZES[0], slow.ours, f"{slow.ratio:.3f} x bare")
    huge = measure_ours(folder, MANY, 0)
    base = middle(pairs[0.0, SIZES[-1]].ours, "peak_mb")
    print_row("ours, 0 ms", MANY, [huge], f"{huge.peak_mb / base:.2f} x the peak of {SIZES[-1]:,}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=SIZES[-1])
    parser.add_argument("--latency-ms", type=float, default=LATENCIES_MS[-1])
    parser.add_argument("--json", action="store_true", help="one size, as a line of JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.json:
            print_json(options.rows, options.latency_ms, Path(folder))
        else:
            print_table(Path(folder))


if __name__ == "__main__":
    main()
