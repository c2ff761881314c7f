"""Clients of `benchmarks.engine` and `benchmarks.kill`, each run in a process of its own.

`ours` is `LLM.stream` with its store on disk. `bare` is a loop around aiohttp that keeps only the
texts: no store, no retries, no limits. Both send the same prompts, made on demand, collect garbage
as rarely as the command line does, and print their measurements as one line of JSON.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import peak_mb
from benchmarks.mock_server import run_fast
from stepsynth._util.gc_tuning import collect_rarely

IN_FLIGHT = 256
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measured:
    """Measurements of one process.

    Attributes:
        rows: Requests that got a text.
        lost: Requests that got none.
        sent: Requests sent, with retries.
        import_s: Seconds to import the client.
        run_s: Seconds for the rest: open, send, read, keep, close.
        cpu_s: CPU seconds of the whole process.
        peak_mb: Peak memory of the process.
    """

    rows: int
    lost: int
    sent: int
    import_s: float
    run_s: float
    cpu_s: float
    peak_mb: float


def make_prompts(rows: int) -> Iterator[str]:
    """Yield distinct prompts of some 150 characters."""
    for i in range(rows):
        yield (
            f"Write one review of a restaurant, number {i}. Its kitchen is of kind {i % 83}, its "
            f"guest of mood {i % 17}. Plain words, one paragraph, a full stop at its end."
        )


def run_ours(url: str, rows: int, store: Path, results: Path | None, in_flight: int) -> Measured:
    """Send through the engine, which writes every answer to disk before it counts."""
    started = time.perf_counter()
    from stepsynth.llm import LLM, Failed, Request
    from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
    from stepsynth.llm.store.store import Store

    imported = time.perf_counter()
    settings = OpenAICompatible(model="mock", base_url=url, concurrency=in_flight)
    llm = LLM(OpenAICompatibleBackend(settings, 0), store=Store(store))
    requests = (Request(prompt, "bench") for prompt in make_prompts(rows))
    lost = came = 0
    with open(results or os.devnull, "w", encoding="utf-8") as file:
        for answer in llm.stream(requests, phase="bench", total=rows):
            came += 1
            lost += isinstance(answer, Failed)
            if results:
                # The id depends on the URL, and so on the server's port.
                file.write(json.dumps(asdict(answer) | {"request_id": ""}) + "\n")
    sent = llm.usage.requests
    llm.close()
    ended = time.perf_counter()
    times = (imported - started, ended - imported, time.process_time())
    return Measured(came - lost, lost, sent, *times, peak_mb())


def run_bare(url: str, rows: int, in_flight: int) -> Measured:
    """Send with aiohttp alone, from a loop for each request in flight."""
    started = time.perf_counter()
    import aiohttp

    imported = time.perf_counter()
    texts: list[str | None] = [None] * rows
    prompts = enumerate(make_prompts(rows))
    sampling = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 1024}

    async def work(session: aiohttp.ClientSession) -> None:
        for i, prompt in prompts:
            messages = [{"role": "user", "content": prompt}]
            body = {"model": "mock", "messages": messages, **sampling, "seed": i}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                answer = await response.json()
                texts[i] = answer["choices"][0]["message"]["content"]

    async def send() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(work(session) for _ in range(in_flight)))

    run_fast(send())
    ended = time.perf_counter()
    came = sum(text is not None for text in texts)
    times = (imported - started, ended - imported, time.process_time())
    return Measured(came, rows - came, rows, *times, peak_mb())


def start_client(kind: str, options: Mapping[str, object]) -> subprocess.Popen[str]:
    """Start one of the clients with the options of its command line; paths must be absolute."""
    command = [sys.executable, "-m", "benchmarks.clients", kind]
    command += [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def read_client(process: subprocess.Popen[str], timeout_s: float = 600) -> Measured:
    """Return the measurements of a client, once it has ended.

    Raises:
        SystemExit: The client failed, or took too long.
    """
    try:
        out, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise SystemExit(f"a client was not done in {timeout_s:g} s") from None
    if process.returncode:
        raise SystemExit(f"a client ended with exit code {process.returncode}")
    return Measured(**json.loads(out.splitlines()[-1]))


def main() -> None:
    """Run one client."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("ours", "bare"))
    parser.add_argument("--url", required=True, help="up to and with its /v1")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--store", type=Path, help="ours: the file of completions")
    parser.add_argument("--results", type=Path, help="ours: a file for what came back, as JSONL")
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT)
    a = parser.parse_args()
    collect_rarely()
    if a.kind == "bare":
        measured = run_bare(a.url, a.rows, a.in_flight)
    elif a.store is None:
        parser.error("ours needs --store")
    else:
        measured = run_ours(a.url, a.rows, a.store, a.results, a.in_flight)
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
