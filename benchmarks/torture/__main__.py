"""The command of the torture bench: faults up to a number or a time, and their results."""

import argparse
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.torture import checks
from benchmarks.torture.episode import Episode, SkippedError
from benchmarks.torture.faults import Kind, load_kinds
from benchmarks.torture.scene import Scene, Undisturbed, make_scene, read_outputs, size_of
from benchmarks.torture.server import Server


@dataclass
class Result:
    """Result of one fault.

    Attributes:
        problems: The problems found; none: the fault was survived.
        skipped: Why the fault could not be done here.
        codes: The exit codes of its commands.
    """

    kind: str
    seed: int
    problems: list[str] = field(default_factory=list)
    skipped: str = ""
    codes: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        """The result in a word."""
        return "skipped" if self.skipped else "failed" if self.problems else "survived"


class Bench:
    """Torture bench with its scenes, server and folder.

    Args:
        folder: The working folder.
        server: The LLM.
        keep: Target of the folders of failed faults; None: they are removed.
    """

    def __init__(self, folder: Path, server: Server, keep: Path | None = None) -> None:
        self._folder = folder
        self._server = server
        self.keep = keep
        self._scenes: dict[str, Scene] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def do(self, kind: Kind, seed: int) -> Result:
        """Do one fault."""
        began = time.monotonic()
        result = Result(kind.name, seed)
        scene = self._scene(kind.scene)
        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix="fault-"))
        episode = Episode(scene, self._server, folder, f"{kind.name} {seed}")
        try:
            kind.do(episode)
        except SkippedError as error:
            result.skipped = str(error)
        except Exception as error:  # a bug of the bench is reported, and the others go on
            episode.problems.append(f"the bench itself: {type(error).__name__}: {error}")
        finally:
            episode.close()
        result.problems, result.codes = episode.problems, episode.codes
        result.seconds = time.monotonic() - began
        if result.problems and self.keep:
            name = "".join(c if c.isalnum() else "-" for c in kind.name)
            shutil.move(folder, self.keep / f"{name}-{seed}")
        shutil.rmtree(folder, ignore_errors=True)
        return result

    def _scene(self, name: str) -> Scene:
        """Return a scene; the first caller runs it undisturbed."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._scenes:
                scene = make_scene(name, self._folder / name, self._server.url)
                scene.undisturbed = self._run_undisturbed(scene)
                self._scenes[name] = scene
        return self._scenes[name]

    def _run_undisturbed(self, scene: Scene) -> Undisturbed:
        folder = self._folder / f"{scene.name}-undisturbed"
        folder.mkdir()
        episode = Episode(scene, self._server, folder, 0)
        episode.run(0)
        episode.problems += checks.check_repeats(episode.ledger, [])
        episode.close()
        outputs = read_outputs(episode.out)
        if episode.problems or not outputs:
            raise SystemExit(f"undisturbed, {scene.name}: {episode.problems or 'no rows'}")
        asked = episode.ledger.asked
        kinds = Counter(each.kind for each in asked)
        tokens = sum(each.tokens for each in asked)
        return Undisturbed(outputs, kinds, tokens, size_of(episode.out))


def deal(kinds: Sequence[Kind], seed: int) -> list[Kind]:
    """Return the kinds in random order, each as often as its weight."""
    deck = [kind for kind in kinds for _ in range(kind.weight)]
    random.Random(seed).shuffle(deck)
    return deck


def run_faults(
    bench: Bench, deck: Sequence[Kind], seed: int, *, faults: int, minutes: float, jobs: int
) -> list[Result]:
    """Do faults in the order of a deck, repeatedly, and print each result."""
    results: list[Result] = []
    ends = time.monotonic() + 60 * minutes
    pending: set[Future[Result]] = set()
    begun = 0
    with ThreadPoolExecutor(jobs) as pool:
        while pending or (begun < faults and time.monotonic() < ends):
            while len(pending) < jobs and begun < faults and time.monotonic() < ends:
                pending.add(pool.submit(bench.do, deck[begun % len(deck)], seed + begun))
                begun += 1
            try:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                print("stopping after those that are under way", file=sys.stderr)
                begun, ends = faults, 0.0
                continue
            for future in done:
                results.append(result := future.result())
                shown = result.skipped or "; ".join(result.problems)
                print(
                    f"[{len(results)}/{faults}] {result.kind}, seed {result.seed}: "
                    f"{result.outcome} {result.codes} {result.seconds:.0f} s {shown}"[:600],
                    file=sys.stderr,
                    flush=True,
                )
    return results


def print_results(results: Sequence[Result]) -> None:
    """Print the tried, survived, failed and skipped faults by kind and family, and each failure."""
    _print_table(results, lambda result: result.kind)
    _print_table(results, lambda result: result.kind.partition(":")[0])
    for result in results:
        if result.problems:
            again = f"--only '{result.kind}' --seed {result.seed} --faults 1"
            print(f"failed: {again}\n  exit codes {result.codes}")
            for problem in result.problems:
                print(f"  {problem}")
        elif result.skipped:
            print(f"skipped: {result.kind}: {result.skipped}")


def _print_table(results: Sequence[Result], name_of: Callable[[Result], str]) -> None:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        counts[name_of(result)][result.outcome] += 1
    print("| fault | tried | survived | failed | skipped |\n|---|---|---|---|---|")
    for name, count in [*sorted(counts.items()), ("all", Counter(r.outcome for r in results))]:
        tried = count.total() - count["skipped"]
        print(
            f"| {name} | {tried} | {count['survived']} | {count['failed']} | {count['skipped']} |"
        )
    print()


def main() -> None:
    """Run the bench; exit with 1 if a fault was not survived."""
    kinds = load_kinds()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="kinds that begin so, separated by commas")
    parser.add_argument("--jobs", type=int, default=2, help="faults at once")
    parser.add_argument("--keep", type=Path, help="keep the folders of what failed here")
    options = parser.parse_args()
    starts = tuple((options.only or "").split(","))
    chosen = [kind for name, kind in kinds.items() if name.startswith(starts)]
    if not chosen:
        raise SystemExit(f"--only: no kind begins so; there are {', '.join(kinds)}")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    # A shell's background jobs ignore Ctrl-C, and so would the processes started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Server() as server:
        bench = Bench(Path(folder), server, options.keep)
        results = run_faults(
            bench,
            deal(chosen, options.seed),
            options.seed,
            faults=options.faults,
            minutes=options.minutes,
            jobs=options.jobs,
        )
    with contextlib.suppress(BrokenPipeError):
        print_results(results)
    if any(result.problems for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
