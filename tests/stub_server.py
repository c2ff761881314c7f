"""A chat-completions server for tests, in a thread: answers by a function, counts what it got."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.threaded_server import ThreadedServer

Answer = tuple[int, dict[str, str], bytes]


def completion(text: str, *, finish: str = "stop", tokens: tuple[int, int] = (10, 5)) -> Answer:
    body = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]},
    }
    return 200, {}, json.dumps(body).encode()


def failure(status: int, message: str = "no", **headers: str) -> Answer:
    return status, headers, json.dumps({"error": {"message": message}}).encode()


def echo(number: int, body: dict[str, Any]) -> Answer:
    """The default: a text that is new for each seed."""
    return completion(f"text for seed {body.get('seed')}, a ripe one")


@dataclass
class StubServer(ThreadedServer):
    """Attributes: answer(number of the request, its body) -> what is sent; delay in seconds."""

    answer: Callable[[int, dict[str, Any]], Answer] = echo
    delay_s: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0

    def make_app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_post("/v1/messages", self._handle)
        app.router.add_post("/v1/deployments/d/chat/completions", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.queries.append(dict(request.query))
        number = len(self.bodies)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self.delay_s)
            status, headers, content = self.answer(number, body)
        finally:
            self.in_flight -= 1
        headers = {"Content-Type": "application/json", **headers}
        return web.Response(status=status, headers=headers, body=content)


def with_backend(backend: Any, do: Callable[[Any], Any]) -> tuple[Any, list[str]]:
    """Return what comes of a coroutine function of a backend, and its notices."""
    notices: list[str] = []
    backend.on_notice = notices.append

    async def run() -> Any:
        try:
            return await do(backend)
        finally:
            await backend.close()

    return asyncio.run(run()), notices
