"""A cheap chat-completions server: `python -m benchmarks.mock_server --latency-ms 50`.

The overhead of a client is visible only beside a server with less. So this one parses HTTP by
hand, cuts its answers out of one long text, and is a process of its own. An answer depends on
prompt and seed, its latency on the prompt alone: clients with other seeds wait equally long.
It answers `POST .../chat/completions`, with `n` and with prompts that ask for several texts, and
`GET /stats`.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import urlsplit

WORDS = 64
_VOCABULARY = 4096
_START_S = 20.0
_SEVERAL = re.compile(r"Write (\d+) of these .* between <text> and </text>")


def run_fast(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, on uvloop if it is installed."""
    try:
        run = import_module("uvloop").run
    except ImportError:
        run = asyncio.run
    run(main)


@dataclass
class Stats:
    """Counters of a server.

    Attributes:
        requests: All requests that arrived.
        distinct: Requests with a new prompt or seed.
        repeated: The other requests: sent again, answered or not.
        repeated_after_answer: Requests sent again although the whole answer was written before.
        answered: Answers that were written to a client still connected.
        in_flight: Requests that wait for their answer now.
        peak: Most requests in flight.
        mean_in_flight: Mean requests in flight, from the first request to the last answer.
    """

    requests: int = 0
    distinct: int = 0
    repeated: int = 0
    repeated_after_answer: int = 0
    answered: int = 0
    in_flight: int = 0
    peak: int = 0
    mean_in_flight: float = 0.0


@dataclass
class Mock:
    """Answers and counters of the server.

    Args:
        latency_ms: Latency of every answer; with `sigma`, the median of a lognormal distribution.
        sigma: Standard deviation of the latency on the log scale.
        words: Words of an answer.
    """

    latency_ms: float
    sigma: float
    words: int
    stats: Stats = field(default_factory=Stats)

    def __post_init__(self) -> None:
        rng = random.Random(0)
        spoken = ["".join(rng.choices("abdeiklmnoprstu", k=rng.randint(2, 9))) for _ in range(999)]
        drawn = rng.choices(spoken, k=_VOCABULARY + self.words)
        self._text = " ".join(drawn)
        self._starts = [0]
        for word in drawn:
            self._starts.append(self._starts[-1] + len(word) + 1)
        self._seen: set[bytes] = set()
        self._answered: set[bytes] = set()
        self._area = 0.0
        self._first = self._moved = 0.0

    def take(self, key: bytes) -> None:
        """Count a request that arrived."""
        stats = self.stats
        stats.requests += 1
        if key in self._seen:
            stats.repeated += 1
            stats.repeated_after_answer += key in self._answered
        else:
            stats.distinct += 1
            self._seen.add(key)
        self._move(1)
        stats.peak = max(stats.peak, stats.in_flight)

    def release(self, key: bytes, *, is_answered: bool) -> None:
        """Count a request that has ended, with its answer or because its client has gone."""
        self._move(-1)
        if is_answered:
            self.stats.answered += 1
            self._answered.add(key)

    def _move(self, by: int) -> None:
        now = time.monotonic()
        self._first = self._first or now
        self._area += self.stats.in_flight * (now - (self._moved or now))
        self._moved = now
        self.stats.in_flight += by

    def read_stats(self) -> dict[str, Any]:
        """Return the counters."""
        seconds = self._moved - self._first
        self.stats.mean_in_flight = round(self._area / seconds, 1) if seconds else 0.0
        return asdict(self.stats)

    def latency_s(self, prompt: bytes) -> float:
        """Return the latency of a prompt's answer in seconds."""
        if not self.sigma:
            return self.latency_ms / 1000
        drawn = random.Random(prompt).gauss(0.0, self.sigma)
        return self.latency_ms / 1000 * math.exp(drawn)

    def answer(self, body: dict[str, Any], prompt: str, key: bytes) -> bytes:
        """Return the JSON of an answer, written by hand: it needs no escapes.

        A token is a word of an answer, or four characters of a prompt.
        """
        several = _SEVERAL.search(prompt)
        wanted = self.words * (int(several[1]) if several else 1)
        count = min(wanted, int(body.get("max_tokens") or wanted))
        n = int(body.get("n") or 1)
        finish = "length" if count < wanted else "stop"
        choices = ",".join(
            f'{{"index":{i},"message":{{"role":"assistant","content":'
            f'"{self._write(key, i, count, is_tagged=several is not None)}"}},'
            f'"finish_reason":"{finish}"}}'
            for i in range(n)
        )
        read, written = len(prompt) // 4, n * count
        usage = (
            f'"prompt_tokens":{read},"completion_tokens":{written},"total_tokens":{read + written}'
        )
        return (
            f'{{"id":"{key.hex()}","object":"chat.completion","model":"mock",'
            f'"choices":[{choices}],"usage":{{{usage}}}}}'
        ).encode()

    def _write(self, key: bytes, i: int, count: int, *, is_tagged: bool) -> str:
        """Return `count` words, with a new text after each `self.words` of them."""
        texts: list[str] = []
        for number, done in enumerate(range(0, count, self.words)):
            at = (int.from_bytes(key[:4], "big") + 977 * i + 131 * number) % _VOCABULARY
            end = at + min(self.words, count - done)
            words = self._text[self._starts[at] : self._starts[end] - 1]
            texts.append(f"{key.hex()}-{i}-{number} {words}")
        return "".join(f"<text>{text}</text>" for text in texts) if is_tagged else texts[0]


class Connection(asyncio.Protocol):
    """Connection that answers one request after the other."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._pending = b""  # key of the request that waits for its answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answers."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base class

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request whose client has gone."""
        self._transport = None
        if self._pending:
            self._mock.release(self._pending, is_answered=False)

    def data_received(self, data: bytes) -> None:
        """Read the requests that have arrived, one at a time."""
        self._unread += data
        if not self._pending:
            self._read()

    def _read(self) -> None:
        head, found, rest = self._unread.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._unread = rest[length:]
        verb, path, _ = head.split(b" ", 2)
        if verb == b"POST" and path.endswith(b"/chat/completions"):
            self._complete(rest[:length])
        elif path == b"/stats":
            self._write(b"200 OK", json.dumps(self._mock.read_stats()).encode())
        else:
            self._write(b"404 Not Found", b'{"error":{"message":"no such path"}}')

    def _complete(self, raw: bytes) -> None:
        try:
            body = json.loads(raw)
            prompt = "\n".join(message["content"] for message in body["messages"])
        except (ValueError, KeyError, TypeError):
            self._write(b"400 Bad Request", b'{"error":{"message":"no chat request"}}')
            return
        asked = prompt.encode("utf-8", "surrogatepass")
        seed = str(body.get("seed", "")).encode()
        key = blake2b(asked + b"\0" + seed, digest_size=8).digest()
        self._mock.take(key)
        self._pending = key
        latency_s = self._mock.latency_s(asked)
        if latency_s > 0:
            self._loop.call_later(latency_s, self._finish, body, prompt, key)
        else:
            self._finish(body, prompt, key)

    def _finish(self, body: dict[str, Any], prompt: str, key: bytes) -> None:
        if self._transport is None:
            return
        self._pending = b""
        self._mock.release(key, is_answered=True)
        self._write(b"200 OK", self._mock.answer(body, prompt, key))
        if self._unread:
            self._read()

    def _write(self, status: bytes, body: bytes) -> None:
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )


async def serve(mock: Mock, port: int) -> None:
    """Serve for ever; the first line printed is the URL."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(mock), "127.0.0.1", port, backlog=4096)
    loop.add_signal_handler(signal.SIGTERM, end_with_stats, mock)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def end_with_stats(mock: Mock) -> None:
    """End at once, with all connections, and leave the counters behind."""
    print(json.dumps(mock.read_stats()), flush=True)
    os._exit(0)


def end_with_stdin() -> None:
    """End this process with its standard input, so that a killed parent leaves no server."""
    while os.read(0, 1024):
        pass
    os._exit(0)


class MockServer:
    """Server in a process of its own, for the duration of a `with` block; see `Mock`."""

    def __init__(self, *, latency_ms: float = 0, sigma: float = 0, port: int = 0) -> None:
        self.url = ""
        self._options = [f"--latency-ms={latency_ms}", f"--sigma={sigma}", f"--port={port}"]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.mock_server", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise SystemExit("the mock server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=_START_S)

    def kill(self) -> Stats:
        """End it in the middle of its answers, and return its counters."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        self._process.communicate(timeout=_START_S)
        return Stats(**json.loads(said))

    def stats(self) -> Stats:
        """Return the counters so far."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_START_S)
        try:
            connection.request("GET", "/stats")
            return Stats(**json.load(connection.getresponse()))
        finally:
            connection.close()


def main() -> None:
    """Serve as the arguments say, until the standard input ends or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--sigma", type=float, default=0, help="lognormal around the latency")
    parser.add_argument("--words", type=int, default=WORDS, help="length of an answer")
    options = parser.parse_args()
    threading.Thread(target=end_with_stdin, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        run_fast(serve(Mock(options.latency_ms, options.sigma, options.words), options.port))


if __name__ == "__main__":
    main()
