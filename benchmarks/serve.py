"""`stepsynth serve` under load: `python -m benchmarks.serve [--clients 16] [--requests 2000]`.

The server is a process of its own; clients ask for one text, or 32, at a time. Then it is stopped
and started again in the middle, behind clients that try again: no answer may be lost.
"""

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.encoder import minilm
from stepsynth.records import Dataset, Example
from stepsynth.students import students

ROWS = 300
WORDS = [
    "the",
    "a",
    "film",
    "was",
    "so",
    "very",
    "good",
    "bad",
    "and",
    "but",
    "not",
    "this",
    "that",
    "with",
    "of",
    "in",
    "on",
    "it",
    "they",
    "we",
    "card",
    "parcel",
    "late",
    "lost",
    "money",
    "never",
    "came",
    "again",
    "today",
    "help",
    "please",
    "order",
    "phone",
    "story",
    "actor",
    "music",
    "end",
    "start",
]
PORT = 8531
URL = f"http://127.0.0.1:{PORT}/predict"


def made_texts(number: int) -> list[str]:
    """Return different texts of 30 common words, and a number."""
    rng = random.Random(number)
    return [f"{' '.join(rng.choices(WORDS, k=30))} {i}" for i in range(number)]


def start(folder: Path) -> subprocess.Popen[str]:
    """Start a server, and wait until it answers."""
    command = [sys.executable, "-m", "stepsynth", "serve", str(folder), f"--port={PORT}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "/predict takes" not in (line := process.stderr.readline()):
        if not line:
            raise SystemExit("the server did not start")
    return process


async def ask(texts: list[str], clients: int, batch: int) -> tuple[list[float], int]:
    """Return the seconds of each request, and how many texts were answered."""
    took: list[float] = []
    groups = [texts[i : i + batch] for i in range(0, len(texts), batch)]
    answered = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        while groups:
            body, began = {"texts": groups.pop()}, time.perf_counter()
            while True:
                try:
                    async with session.post(URL, json=body) as response:
                        said = await response.json()
                        answered += len(said["predictions"])
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.2)
            took.append(time.perf_counter() - began)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(work(session) for _ in range(clients)))
    return took, answered


def measure(folder: Path, texts: list[str], clients: int) -> None:
    """Print the load of one model."""
    server = start(folder)
    for batch in (1, 32):
        began = time.perf_counter()
        took, answered = asyncio.run(ask(texts, clients, batch))
        seconds = time.perf_counter() - began
        p50, p99 = 1000 * np.percentile(took, (50, 99))
        print(
            f"  {batch:2} texts a request: {len(took) / seconds:7,.0f} requests/s "
            f"{answered / seconds:8,.0f} texts/s   p50 {p50:.1f} ms   p99 {p99:.1f} ms"
        )

    async def restart() -> int:
        asking = asyncio.create_task(ask(texts, clients, 1))
        await asyncio.sleep(0.3)
        nonlocal server
        server.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait)
        server = await asyncio.to_thread(start, folder)
        return (await asking)[1]

    print(f"  stopped and started again: {len(texts) - asyncio.run(restart())} texts lost")
    server.terminate()
    server.wait()


def main() -> None:
    """Measure `linear` and `embedding`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=2_000)
    options = parser.parse_args()
    texts = made_texts(ROWS)
    data = Dataset(Example(text, "ab"[i % 2]) for i, text in enumerate(texts))
    for name, keys, number in (
        ("linear", {}, options.requests),
        ("embedding", {"model": minilm()}, options.requests // 5),
    ):
        student = students().get(name).model_validate(keys).start(("a", "b"), 0)
        student.fit(data)
        with tempfile.TemporaryDirectory() as folder:
            student.save(folder)
            print(f"{name}, texts of 30 words, {options.clients} clients:")
            measure(Path(folder), made_texts(number), options.clients)


if __name__ == "__main__":
    main()
