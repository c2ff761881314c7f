"""A phase of many requests over shards: `python -m benchmarks.shards [--requests 200000]`.

Two servers of one model answer; one of them is killed on the way, and comes back on its port. What
the shards of several processes bring is compared with what one process brings: the answers in
their order, and the content of the store. The peak of memory is shown for a tenth of the requests,
too: it must not grow with their number.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any
from urllib.parse import urlsplit

from benchmarks.mock_server import MockServer, Stats
from stepsynth.llm import Completion, Request
from stepsynth.llm.store import StoreReader
from stepsynth.llm.store.merge import add_digests, digest
from stepsynth.runfolder import RunFolder
from stepsynth.runner import open_llm
from stepsynth.taskfile import load_config

LATENCY_MS, CONCURRENCY = 20.0, 64
DOWN_S = 5.0
"""Seconds for which the killed server is away."""
KILLED_AT = 0.4
"""Share of the requests after which it is killed."""
TASK = """\
task: {kind: classification, labels: [good, bad]}
data: {gold: none.jsonl}
method: zerogen
"""


@dataclass(frozen=True)
class Result:
    """What a phase took and brought.

    Attributes:
        answers: Digest of all texts, in their order.
        coordinator_mib: Peak of its resident memory; `worker_mib` of the largest of the others.
    """

    requests: int
    shards: int
    seconds: float
    cpu_s: float
    coordinator_cpu_s: float
    store_mb: float
    sent: int
    failed: int
    answers: str
    coordinator_mib: float
    worker_mib: float


def requests_of(number: int) -> Iterator[Request]:
    """Yield requests with prompts of some 600 characters, each another."""
    for i in range(number):
        prompt = f"Write review {i} of a film, in one sentence. " + "It is to be plain. " * 30
        yield Request(prompt, "seed", {"kind": "seed", "label": "good"})


def ask(task: Path, folder: Path, number: int) -> Result:
    """Have requests answered in this process and its workers."""
    config = load_config(task)
    assert config.llm is not None
    llm = open_llm(config, RunFolder(folder), "run")
    llm.on_notice = lambda text: print(text, file=sys.stderr, flush=True)
    began, texts, failed = time.monotonic(), hashlib.sha256(), 0
    try:
        for answer in llm.stream(requests_of(number), phase="seed data", total=number):
            failed += not isinstance(answer, Completion)
            texts.update((answer.text if isinstance(answer, Completion) else "").encode() + b"\0")
        seconds = time.monotonic() - began
    finally:
        llm.close()
    own, others = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return Result(
        requests=number,
        shards=config.llm.num_shards,
        seconds=round(seconds, 1),
        cpu_s=round(own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime, 1),
        coordinator_cpu_s=round(own.ru_utime + own.ru_stime, 1),
        store_mb=round(RunFolder(folder).store.stat().st_size / 1e6, 1),
        sent=llm.usage.requests,
        failed=failed,
        answers=texts.hexdigest()[:16],
        coordinator_mib=round(own.ru_maxrss / 1024, 1),
        worker_mib=round(others.ru_maxrss / 1024, 1),
    )


def content_of(store: Path) -> tuple[int, str]:
    """Return the number of completions of a store, and a digest of all of them."""
    number = total = 0
    with StoreReader(store) as reader:
        for each in reader.completions():
            number += 1
            asked = {"completion": each.completion, "request": each.request}
            total = add_digests((total, digest(each.id, asked)))
    return number, f"{total:032x}"[:16]


@dataclass
class Ended:
    """A phase, its store, and the counters of its servers, that of the killed one among them."""

    result: Result
    completions: int
    content: str
    stats: list[Stats]
    in_flight_at_kill: int


def run(number: int, shards: int, folder: Path, port: int, *, kills: bool) -> Ended:
    """Have requests answered in another process, while a server is killed and comes back.

    Args:
        number: Of requests.
        shards: Processes that they are shared out to.
        folder: For the run.
        port: Of the first server, whose URL names the LLM.
        kills: Whether the other one is killed.
    """
    killed: list[Stats] = []
    first, second = MockServer(latency_ms=LATENCY_MS, port=port), MockServer(latency_ms=LATENCY_MS)
    with first as one, second as two:
        servers = [one, two]
        task = folder / "task.yaml"
        llm: dict[str, Any] = {"backend": "openai_compatible", "model": "mock"}
        llm |= {"base_url": [one.url, two.url], "shards": shards, "concurrency": CONCURRENCY}
        task.write_text(f"{TASK}llm: {json.dumps(llm)}\n")
        command = [sys.executable, "-m", "benchmarks.shards", "--ask", str(folder)]
        client = subprocess.Popen(
            [*command, f"--requests={number}"], stdout=subprocess.PIPE, text=True
        )

        def kill() -> None:
            while two.stats().answered < KILLED_AT * number / 2:
                time.sleep(0.1)
            killed.append(two.kill())
            time.sleep(DOWN_S)
            same = MockServer(latency_ms=LATENCY_MS, port=urlsplit(two.url).port or 0)
            servers.append(same.__enter__())

        killer = threading.Thread(target=kill, daemon=True)
        if kills:
            killer.start()
        said, _ = client.communicate()
        if client.returncode:
            raise SystemExit("the phase failed")
        if kills:
            killer.join()
        alive = [server for server in servers if not (kills and server is two)]
        stats = [*killed, *(server.stats() for server in alive)]
        for extra in servers[2:]:
            extra.__exit__()
    completions, content = content_of(folder / "run" / "requests.sqlite")
    in_flight = killed[0].in_flight if killed else 0
    return Ended(Result(**json.loads(said)), completions, content, stats, in_flight)


def show(ended: Ended) -> None:
    """Print a row of the table."""
    result, stats = ended.result, ended.stats
    answered = sum(each.answered for each in stats)
    print(
        f"| {result.requests:,} | {result.shards} | {result.seconds:.0f} | {result.cpu_s:.0f} "
        f"| {1e6 * result.cpu_s / result.requests:.0f} "
        f"| {1e6 * result.coordinator_cpu_s / result.requests:.0f} | {result.store_mb:.0f} "
        f"| {result.failed} "
        f"| {answered - result.requests} | {ended.in_flight_at_kill} "
        f"| {result.coordinator_mib:.0f} | {result.worker_mib:.0f} "
        f"| {ended.completions:,} {ended.content} | {result.answers} |",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask is not None:
        result = ask(options.ask / "task.yaml", options.ask / "run", options.requests)
        print(json.dumps(vars(result)))
        return
    print(
        "| requests | shards | s | CPU s | CPU µs a request | of it the coordinator | store, MB "
        "| lost | answered twice | in flight at the kill | coordinator, MiB | worker, MiB "
        "| store | answers |"
    )
    print("|" + " --- |" * 14, flush=True)
    several = options.shards
    cases = [(options.requests // 10, several), (options.requests, several), (options.requests, 1)]
    found: list[Ended] = []
    with MockServer() as unused:
        port = urlsplit(unused.url).port or 0
    for number, shards in cases:
        with tempfile.TemporaryDirectory() as folder:
            found.append(run(number, shards, Path(folder), port, kills=shards > 1))
        show(found[-1])
    _, large, alone = found
    is_same = (large.content, large.result.answers) == (alone.content, alone.result.answers)
    print(f"answers and store are those of one process: {is_same}")
    if not is_same or any(ended.result.failed for ended in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
