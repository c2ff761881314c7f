"""The LLM of the bench: a server in a thread, with answers and counts apart for each key.

A text depends only on prompt and seed, so that runs have the same bytes after any fault.
"""

import asyncio
import contextlib
import json
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Self

KINDS = ("rationale", "seed", "extrapolate")
LATENCY_S = 0.01
_LABEL = re.compile(r"that is (apple|pear)\b")
_LOOKS = {
    "apple": ("red", "crisp", "round", "shiny", "äpfelig"),
    "pear": ("soft", "long", "green", "grainy", "梨"),
}
OWN_LOOKS = 0.65
"""Share of words that fit the label, small enough that a student errs on some gold rows."""


@dataclass(frozen=True)
class Reply:
    """Reply in place of a good answer.

    Attributes:
        data: The bytes of the reply, including headers.
        closes: Whether the connection is closed afterwards.
        is_answer: Whether the whole reply is a valid answer to the request.
        wait_s: Seconds before the reply.
    """

    data: bytes
    closes: bool = False
    is_answer: bool = False
    wait_s: float = 0.0


@dataclass
class Asked:
    """Request that has arrived.

    Attributes:
        digest: Digest of prompt and seed.
        kind: The kind of request.
        prompt: The prompt as sent.
        attempt: Number of earlier equal requests.
        key: The key of the request.
        arrived: Time of arrival, on a monotonic clock.
        answered: Time at which a whole answer was written; None: there was none.
        tokens: Tokens according to the answer.
    """

    digest: str
    kind: str
    prompt: str
    attempt: int
    key: str
    arrived: float
    answered: float | None = None
    tokens: int = 0

    def is_hit(self, share: float) -> bool:
        """Return whether this request is in a fixed share of all requests."""
        return int(self.digest[:8], 16) / 0xFFFFFFFF < share


Fault = Callable[[Asked, dict[str, Any]], Reply | None]


def as_usual(_asked: Asked, _answer: dict[str, Any]) -> Reply | None:
    """Send the good answer."""
    return None


@dataclass
class Ledger:
    """Requests with one key, and how they are answered.

    Attributes:
        asked: All requests, in order.
        fault: Returns the reply in place of an answer, given the request and the good answer.
        latency_s: Seconds of each answer.
    """

    key: str
    asked: list[Asked] = field(default_factory=list)
    fault: Fault = as_usual
    latency_s: float = LATENCY_S
    _seen: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _moments: list[tuple[Callable[[Asked], bool], Callable[[], None]]] = field(default_factory=list)

    def when(self, is_so: Callable[[Asked], bool], do: Callable[[], None]) -> None:
        """Call `do` once, at the first request for which the condition holds."""
        self._moments.append((is_so, do))

    def take(self, body: dict[str, Any]) -> Asked:
        """Record a request."""
        prompt = "\n".join(message["content"] for message in body["messages"])
        digest = digest_of(prompt, body.get("seed"))
        kind = kind_of(prompt)
        asked = Asked(digest, kind, prompt, self._seen[digest], self.key, time.monotonic())
        self._seen[digest] += 1
        self.asked.append(asked)
        for moment in list(self._moments):
            if moment[0](asked):
                self._moments.remove(moment)
                moment[1]()
        return asked


def digest_of(prompt: str, seed: object) -> str:
    """Return the digest that identifies a request."""
    return blake2b(f"{seed}\0{prompt}".encode("utf-8", "replace"), digest_size=16).hexdigest()


def kind_of(prompt: str) -> str:
    """Return the kind of request of a prompt."""
    if "Answer with a numbered list" in prompt:
        return "rationale"
    return "extrapolate" if "similar to this one" in prompt else "seed"


def write_text(prompt: str, digest: str) -> str:
    """Return the text that answers a prompt."""
    rng = random.Random(digest)
    found = _LABEL.findall(prompt)
    label = found[-1] if found and found[-1] in _LOOKS else "apple"
    if kind_of(prompt) == "rationale":
        looks = rng.sample(_LOOKS[label], 3)
        return "\n".join(f"{i}. it is {look}" for i, look in enumerate(looks, 1))
    return describe(label, rng)


def describe(label: str, rng: random.Random) -> str:
    """Return a description of a fruit, as a synthetic or a gold text."""
    other = "pear" if label == "apple" else "apple"
    looks = [rng.choice(_LOOKS[label if rng.random() < OWN_LOOKS else other]) for _ in range(3)]
    return f"a {looks[0]} and {looks[1]} one, rather {looks[2]}, of tree {rng.randrange(10**6)}"


def make_answer(asked: Asked, text: str) -> dict[str, Any]:
    """Return a good answer."""
    usage = {"prompt_tokens": len(asked.prompt) // 4, "completion_tokens": len(text.split())}
    return {
        "id": asked.digest,
        "object": "chat.completion",
        "model": "mock",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def http(status: int, body: bytes, **headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = [f"HTTP/1.1 {status} Said", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class Server:
    """Server for all opened keys; others are refused."""

    def __init__(self) -> None:
        self.url = ""
        self._ledgers: dict[str, Ledger] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def open(self, key: str) -> Ledger:
        """Accept a key, and return its new ledger."""
        self._ledgers[key] = Ledger(key)
        return self._ledgers[key]

    def close(self, ledger: Ledger) -> None:
        """Refuse a key from now on."""
        del self._ledgers[ledger.key]

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, backlog=512)
        # A name and not an address, so that it has to be resolved.
        self.url = f"http://localhost:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _stop(self) -> None:
        self._server.close()
        handling = asyncio.all_tasks() - {asyncio.current_task()}
        for task in handling:
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?i)^content-length: *(\d+)", head, re.MULTILINE)
                raw = await reader.readexactly(int(length[1]) if length else 0)
                reply = await self._reply(head, raw, writer)
                if reply.closes:
                    break
        writer.close()

    async def _reply(self, head: str, raw: bytes, writer: asyncio.StreamWriter) -> Reply:
        """Answer one request."""
        key = re.search(r"(?i)^authorization: *bearer *(\S+)", head, re.MULTILINE)
        ledger = self._ledgers.get(key[1] if key else "")
        if ledger is None or "/chat/completions" not in head.split("\r\n", 1)[0]:
            refused = Reply(http(401 if ledger is None else 404, b'{"error":{"message":"no"}}'))
            writer.write(refused.data)
            return refused
        asked = ledger.take(json.loads(raw))
        answer = make_answer(asked, write_text(asked.prompt, asked.digest))
        await asyncio.sleep(ledger.latency_s)
        reply = ledger.fault(asked, answer)
        if reply is None:
            body = json.dumps(answer, ensure_ascii=False).encode()
            reply = Reply(http(200, body), is_answer=True)
        await asyncio.sleep(reply.wait_s)
        writer.write(reply.data)
        await writer.drain()
        if reply.is_answer and not writer.is_closing():
            asked.answered = time.monotonic()
            asked.tokens = answer["usage"]["total_tokens"]
        return reply
