"""Speeds as ratios of one run on one machine: `python -m benchmarks.speed` or `make bench`."""

import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

ROWS = 2000
LATENCY_S = 0.05
IN_FLIGHT = 256


def serve(connection: Any) -> None:
    """Run a server of its own process until the other end of the pipe closes."""
    from tests.stub_server import StubServer

    with StubServer(delay_s=LATENCY_S) as server:
        connection.send(server.url)
        connection.recv()


def seconds(action: Callable[[], Any]) -> float:
    """Return how long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def bare_loop(url: str) -> None:
    """Send the requests with aiohttp alone: no store, no retries, no limits."""

    async def send() -> None:
        gate = asyncio.Semaphore(IN_FLIGHT)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one(i: int) -> None:
                body = {"model": "m", "seed": i, "messages": [{"role": "user", "content": "hi"}]}
                async with gate, session.post(f"{url}/chat/completions", json=body) as response:
                    json.loads(await response.read())

            await asyncio.gather(*(one(i) for i in range(ROWS)))

    asyncio.run(send())


def engine(url: str, store: Path) -> None:
    """Send the same requests through the engine, every answer on disk before it is counted."""
    from stepsynth.llm import LLM, Request
    from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
    from stepsynth.llm.store import Store

    settings = OpenAICompatible(model="m", base_url=url, concurrency=IN_FLIGHT)
    llm = LLM(OpenAICompatibleBackend(settings, 0), store=Store(store))
    llm.generate([Request("hi", "s") for _ in range(ROWS)], phase="bench")
    llm.close()


def fit_and_predict() -> tuple[float, float]:
    """Return the seconds to fit `linear` on 2,000 made texts and to predict as many."""
    import random

    from stepsynth.records import Dataset, Example
    from stepsynth.students import StudentFactory
    from stepsynth.students.linear import Linear

    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(5000)]
    data = Dataset(
        Example(" ".join(rng.choices(words, k=100)), rng.choice("ab")) for _ in range(ROWS)
    )
    model = StudentFactory(Linear(), ("a", "b"), 0).new()
    return seconds(lambda: model.fit(data)), seconds(lambda: model.predict(data))


def main() -> None:
    """Measure and print."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = here.recv()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.sqlite"
        bare = seconds(lambda: bare_loop(url))
        sent = seconds(lambda: engine(url, store))
        stored = seconds(lambda: engine(url, store))
    here.send("stop")
    fit, predict = fit_and_predict()
    python = seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True))
    command = [sys.executable, "-m", "stepsynth", "--help"]
    help_ = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    print(f"{ROWS} requests, {IN_FLIGHT} in flight, {1000 * LATENCY_S:.0f} ms each:")
    print(f"  bare aiohttp loop, nothing kept     {bare:6.2f} s   1.0 x")
    print(f"  engine, every answer in the store   {sent:6.2f} s   {sent / bare:.1f} x")
    print(f"  engine, all of it stored before     {stored:6.2f} s   {stored / bare:.2f} x")
    print(f"linear on {ROWS} texts of 100 words:")
    print(f"  fit                                 {fit:6.2f} s   {ROWS / fit:,.0f} rows/s")
    print(f"  predict                             {predict:6.2f} s   {ROWS / predict:,.0f} rows/s")
    print(f"stepsynth --help {help_:.2f} s, {help_ / python:.1f} x an empty Python")


if __name__ == "__main__":
    main()
