"""The LLM of the bench: a server in a thread, that answers each key by itself and counts.

A text is a function of prompt and seed, so that runs come to the same bytes whatever befalls them.
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
"""How often a text looks like its label: rarely enough that a student errs on some gold rows."""


@dataclass(frozen=True)
class Reply:
    """What is sent in the place of a good answer.

    Attributes:
        data: The bytes after the request, headers and all.
        closes: Whether the connection ends then.
        is_answer: Whether a client that has read it all has what it asked for.
        wait_s: How long nothing is sent.
    """

    data: bytes
    closes: bool = False
    is_answer: bool = False
    wait_s: float = 0.0


@dataclass
class Asked:
    """One request that has come.

    Attributes:
        digest: Of prompt and seed.
        kind: What it asks for.
        prompt: As it was sent.
        attempt: How often the same was asked before.
        key: The key that it was sent with.
        arrived: When; of a clock that only goes forward.
        answered: When the whole answer was written; None: it was not, or was none.
        tokens: What its answer says that it took.
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
        """Say whether this request is among so large a share of all: always the same ones."""
        return int(self.digest[:8], 16) / 0xFFFFFFFF < share


Fault = Callable[[Asked, dict[str, Any]], Reply | None]


def as_usual(_asked: Asked, _answer: dict[str, Any]) -> Reply | None:
    """Send the good answer."""
    return None


@dataclass
class Ledger:
    """What was asked with one key, and how it is answered.

    Attributes:
        asked: All requests, in order.
        fault: What is sent in place of an answer, given the request and the good answer.
        latency_s: How long each answer takes.
    """

    key: str
    asked: list[Asked] = field(default_factory=list)
    fault: Fault = as_usual
    latency_s: float = LATENCY_S
    _seen: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _moments: list[tuple[Callable[[Asked], bool], Callable[[], None]]] = field(default_factory=list)

    def when(self, is_so: Callable[[Asked], bool], do: Callable[[], None]) -> None:
        """Do something once, when a request comes of which something holds."""
        self._moments.append((is_so, do))

    def take(self, body: dict[str, Any]) -> Asked:
        """Note a request."""
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
    """Return what tells requests apart."""
    return blake2b(f"{seed}\0{prompt}".encode("utf-8", "replace"), digest_size=16).hexdigest()


def kind_of(prompt: str) -> str:
    """Return what a prompt asks for."""
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
    """Return what is said of a fruit: a synthetic text, or a gold one."""
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
    """Serves all keys that were opened; others are refused."""

    def __init__(self) -> None:
        self.url = ""
        self._ledgers: dict[str, Ledger] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def open(self, key: str) -> Ledger:
        """Return a new ledger."""
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
        # By name, so that it is resolved.
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
