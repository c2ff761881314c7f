"""The cost of HTTP clients, in bare loops against one mock server: `python -m benchmarks.http`.

The engine's `JsonClient` is built on the cheapest. Nothing is stored or retried here, so only the
client is measured. A client that is not installed is left out.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import aiohttp

from benchmarks.mock_server import MockServer

Post = Callable[[bytes], Awaitable[bytes]]
Client = Callable[[str, int, Callable[[Post], Awaitable[None]]], Awaitable[None]]
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer none"}


@dataclass(frozen=True)
class Cost:
    """Cost of a loop: seconds of the clock, and CPU seconds of this process."""

    wall_s: float
    cpu_s: float


async def use_aiohttp(url: str, _in_flight: int, send: Callable[[Post], Awaitable[None]]) -> None:
    """Send with aiohttp, set up as the engine does."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
        timeout=aiohttp.ClientTimeout(total=60),
    ) as session:

        async def post(body: bytes) -> bytes:
            async with session.post(url, data=body) as response:
                return await response.read()

        await send(post)


async def use_httpx2(url: str, in_flight: int, send: Callable[[Post], Awaitable[None]]) -> None:
    """Send with httpx2, which keeps a connection for each request in flight."""
    httpx2: Any = import_module("httpx2")
    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx2.AsyncClient(limits=limits, timeout=60, headers=HEADERS) as client:

        async def post(body: bytes) -> bytes:
            response = await client.post(url, content=body)
            assert response.status_code == 200, response.status_code
            return response.content

        await send(post)


async def run_loop(client: Client, url: str, rows: int, in_flight: int) -> None:
    """Send all requests, `in_flight` at once, and read every answer."""

    async def send(post: Post) -> None:
        numbers = iter(range(rows))

        async def work() -> None:
            for number in numbers:
                body = {"model": "m", "seed": number, "messages": MESSAGES, "max_tokens": 1024}
                answer = json.loads(await post(json.dumps(body).encode()))
                assert answer["choices"][0]["message"]["content"]

        await asyncio.gather(*(work() for _ in range(in_flight)))

    await client(f"{url}/chat/completions", in_flight, send)


MESSAGES = [{"role": "user", "content": "Write a movie review that is positive. " * 10}]


def measure(client: Client, runner: Callable[[Any], None], url: str, options: Any) -> Cost:
    """Return the cost of one run on a loop of its own."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    runner(run_loop(client, url, options.rows, options.in_flight))
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def find_clients() -> dict[str, tuple[Client, Callable[[Any], None]]]:
    """Return the installed clients with their loops."""
    clients: dict[str, Client] = {"aiohttp": use_aiohttp, "httpx2": use_httpx2}
    loops: dict[str, Callable[[Any], None]] = {"asyncio": asyncio.run}
    try:
        loops["uvloop"] = import_module("uvloop").run
    except ImportError:
        print("uvloop is not installed: left out", file=sys.stderr)
    found: dict[str, tuple[Client, Callable[[Any], None]]] = {}
    for name, client in clients.items():
        try:
            label = f"{name} {version(name)}"
        except PackageNotFoundError:
            print(f"{name} is not installed: left out", file=sys.stderr)
            continue
        found |= {f"{label}, {loop}": (client, runner) for loop, runner in loops.items()}
    return found


def compare(latency_ms: float, options: Any) -> None:
    """Measure the clients in turn, several times, and print the medians."""
    found = find_clients()
    costs: dict[str, list[Cost]] = {name: [] for name in found}
    with MockServer(latency_ms=latency_ms) as server:
        for round_ in range(options.rounds + 1):
            for name, (client, runner) in found.items():
                cost = measure(client, runner, server.url, options)
                if round_:  # the first round warms up
                    costs[name].append(cost)
    print(f"\n{options.rows} requests, {options.in_flight} in flight, {latency_ms:g} ms each")
    print(f"{'client, loop':32}{'rows/s':>10}{'wall s':>9}{'CPU ms/row':>12}{'wall':>8}{'CPU':>8}")
    first: Cost | None = None
    for name, runs in costs.items():
        wall = statistics.median(run.wall_s for run in runs)
        cpu = statistics.median(run.cpu_s for run in runs)
        first = first or Cost(wall, cpu)
        print(
            f"{name:32}{options.rows / wall:10.0f}{wall:9.2f}{1000 * cpu / options.rows:12.3f}"
            f"{wall / first.wall_s:7.2f}x{cpu / first.cpu_s:7.2f}x"
        )


def main() -> None:
    """Measure and print; ratios are to the first line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms up")
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0.0, 50.0])
    options = parser.parse_args()
    for latency_ms in options.latency_ms:
        compare(latency_ms, options)


if __name__ == "__main__":
    main()
