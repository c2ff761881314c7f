"""A server for tests that has files and batches as OpenAI and Anthropic document them."""

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.threaded_server import ThreadedServer

KEY = "sk-test-of-batches"

Fault = Callable[[web.Request], str]
"""Says what goes wrong with a call: "", "refuse" (not done), "break" (done, no answer)."""


@dataclass(frozen=True)
class Result:
    """What comes of a request: a text, or an error with its status, or a line that is broken."""

    text: str = "fine"
    status: int = 200
    message: str = "no"
    param: str | None = None
    is_garbage: bool = False
    is_expired: bool = False
    is_missing: bool = False


@dataclass
class Batch:
    number: int
    requests: dict[str, dict[str, Any]]
    created: int
    file: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    polls: int = 0
    status: str = "in_progress"
    errors: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"batch_{self.number}"


def echo(_id: str, _body: dict[str, Any], attempt: int) -> Result:
    return Result(f"answer {attempt} of a ripe tomato")


@dataclass
class BatchServer(ThreadedServer):
    """Attributes:
    answer: (custom id, body, how often it was sent) -> what comes of it.
    polls: Looks before a batch has ended.
    ending: What becomes of the next batches: "expired", "cancelled" end them half done.
    queue: Most requests in a batch, else it fails with the words for a full queue.
    fault: Is asked before each call.
    noise: Lines that stand among the results.
    """

    answer: Callable[[str, dict[str, Any], int], Result] = echo
    polls: int = 2
    endings: list[str] = field(default_factory=list)
    queue: int | None = None
    fault: Fault = lambda _request: ""
    noise: list[bytes] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)

    def make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=300_000_000)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._poll)
        app.router.add_post("/v1/messages/batches", self._create_messages)
        app.router.add_get("/v1/messages/batches", self._list_messages)
        app.router.add_get("/v1/messages/batches/{id}", self._poll_messages)
        app.router.add_get("/v1/messages/batches/{id}/results", self._results_messages)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        is_anthropic = "/messages/" in request.path
        given = request.headers.get("x-api-key" if is_anthropic else "Authorization", "")
        if given.removeprefix("Bearer ") != KEY:
            return _refuse(401, f"Incorrect API key provided: {given}")
        if is_anthropic and request.headers.get("anthropic-version") != "2023-06-01":
            return _refuse(400, "anthropic-version: header is required")
        kind = self.fault(request)
        if kind == "refuse":
            return _refuse(503, "try later")
        response = await handler(request)
        if kind == "break" and request.transport is not None:
            request.transport.abort()
        return response

    # OpenAI

    async def _upload(self, request: web.Request) -> web.Response:
        parts: dict[str, bytes] = {}
        filename = None
        async for part in await request.multipart():
            parts[part.name] = bytes(await part.read())
            filename = filename or part.filename
        if parts.get("purpose") != b"batch" or not str(filename).endswith(".jsonl"):
            return _refuse(400, "a .jsonl file with purpose=batch is needed")
        if len(parts["file"]) > 200 * 2**20:
            return _refuse(413, "the file is larger than 200 MB")
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"]
        return web.json_response(
            {"id": name, "object": "file", "bytes": len(parts["file"]), "purpose": "batch"}
        )

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("completion_window") != "24h" or body.get("input_file_id") not in self.files:
            return _refuse(400, "invalid completion_window or input_file_id")
        if body.get("endpoint") != "/v1/chat/completions":
            return _refuse(400, "invalid endpoint")
        if any(len(v) > 512 or len(k) > 64 for k, v in body.get("metadata", {}).items()):
            return _refuse(400, "metadata is too long")
        requests, errors = _validate(self.files[body["input_file_id"]], body["endpoint"])
        if self.queue is not None and len(requests) > self.queue:
            message = f"Enqueued token limit reached. Limit: {self.queue} enqueued tokens."
            errors.append({"code": "token_limit_exceeded", "line": None, "message": message})
        batch = self._start_batch(requests, file=body["input_file_id"])
        batch.metadata, batch.errors = body.get("metadata", {}), errors
        batch.status = "validating"
        return web.json_response(_show(batch))

    def _start_batch(self, requests: dict[str, dict[str, Any]], file: str = "") -> Batch:
        batch = Batch(len(self.batches), requests, int(time.time()), file)
        self.batches.append(batch)
        self.sent.update(list(requests))
        return batch

    def _advance(self, batch: Batch) -> None:
        """Go on with a batch, as far as one look brings it."""
        batch.polls += 1
        if batch.status not in ("validating", "in_progress"):
            return
        if batch.errors:
            batch.status = "failed"
            self.sent.subtract(list(batch.requests))
        elif batch.polls <= self.polls:
            batch.status = "in_progress"
        else:
            batch.status = self.endings.pop(0) if self.endings else "completed"
            for i, (name, body) in enumerate(batch.requests.items()):
                is_over = batch.status != "completed" and i % 2
                batch.results[name] = (
                    Result(is_expired=True) if is_over else self.answer(name, body, self.sent[name])
                )
            self._write_files(batch)

    def _write_files(self, batch: Batch) -> None:
        code = {"expired": "batch_expired", "cancelled": "batch_cancelled"}.get(batch.status)
        good, bad = list[bytes](), list[bytes]()
        for name, result in batch.results.items():
            line: dict[str, Any] = {"id": f"r-{name}", "custom_id": name, "error": None}
            if result.is_expired:
                line |= {"response": None, "error": {"code": code, "message": "was not executed"}}
            else:
                body = _completion(result) if result.status == 200 else _error(result)
                line["response"] = {"status_code": result.status, "request_id": "x", "body": body}
            is_good = result.status == 200 and not result.is_expired
            if not result.is_missing:
                (good if is_good else bad).append(_line(line, result))
        for kind, lines in (("out", good), ("err", bad)):
            lines += self.noise
            if lines:
                random.Random(0).shuffle(lines)
                self.files[f"{kind}-{batch.name}"] = b"\n".join(lines) + b"\n"

    async def _poll(self, request: web.Request) -> web.Response:
        batch = self._find(request)
        if batch is None:
            return _refuse(404, "No batch found")
        self._advance(batch)
        shown = _show(batch)
        for kind, key in (("out", "output_file_id"), ("err", "error_file_id")):
            name = f"{kind}-{batch.name}"
            shown[key] = name if name in self.files else None
        return web.json_response(shown)

    async def _list(self, request: web.Request) -> web.Response:
        newest = [_show(batch) for batch in reversed(self.batches)]
        after = request.query.get("after")
        names = [each["id"] for each in newest]
        start = names.index(after) + 1 if after else 0
        page = newest[start : start + min(2, int(request.query["limit"]))]
        has_more = start + len(page) < len(newest)
        return web.json_response({"object": "list", "data": page, "has_more": has_more})

    async def _content(self, request: web.Request) -> web.Response:
        content = self.files.get(request.match_info["id"])
        return web.Response(body=content) if content is not None else _refuse(404, "no such file")

    def _find(self, request: web.Request) -> Batch | None:
        name = request.match_info["id"]
        return next((batch for batch in self.batches if batch.name == name), None)

    # Anthropic

    async def _create_messages(self, request: web.Request) -> web.Response:
        body = await request.json()
        requests: dict[str, dict[str, Any]] = {}
        for each in body["requests"]:
            if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each["custom_id"]):
                return _refuse(400, "custom_id: String should match pattern")
            if each["custom_id"] in requests:
                return _refuse(400, "custom_id: must be unique")
            if not {"model", "max_tokens", "messages"} <= each["params"].keys():
                return _refuse(400, "params: Field required")
            requests[each["custom_id"]] = each["params"]
        if len(requests) > 100_000:
            return _refuse(413, "request_too_large")
        return web.json_response(_show_messages(self._start_batch(requests), self.url))

    async def _poll_messages(self, request: web.Request) -> web.Response:
        batch = self._find(request)
        if batch is None:
            return _refuse(404, "Message batch not found")
        self._advance(batch)
        return web.json_response(_show_messages(batch, self.url))

    async def _list_messages(self, request: web.Request) -> web.Response:
        newest = [_show_messages(batch, self.url) for batch in reversed(self.batches)]
        return web.json_response({"data": newest, "has_more": False})

    async def _results_messages(self, request: web.Request) -> web.Response:
        batch = self._find(request)
        if batch is None or not batch.results:
            return _refuse(404, "results are not there yet")
        lines = [
            _line({"custom_id": name, "result": _show_result(result, batch)}, result)
            for name, result in batch.results.items()
            if not result.is_missing
        ]
        lines += self.noise
        random.Random(0).shuffle(lines)
        return web.Response(body=b"\n".join(lines) + b"\n", content_type="application/x-jsonl")


def _validate(file: bytes, endpoint: str) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    requests: dict[str, dict[str, Any]] = {}
    errors: list[dict[str, Any]] = []
    for number, raw in enumerate(file.splitlines(), 1):
        line = json.loads(raw)
        is_right = line["method"] == "POST" and line["url"] == endpoint and "model" in line["body"]
        if line["custom_id"] in requests:
            errors.append({"code": "duplicate_custom_id", "line": number, "message": "twice"})
        elif not is_right:
            errors.append({"code": "invalid_request", "line": number, "message": "bad line"})
        requests[line["custom_id"]] = line["body"]
    if not 0 < len(requests) <= 50_000:
        errors.append({"code": "invalid_file", "line": None, "message": "0 < lines <= 50000"})
    return requests, errors


def _show(batch: Batch) -> dict[str, Any]:
    done = sum(r.status == 200 and not r.is_expired for r in batch.results.values())
    failed = len(batch.results) - done
    return {
        "id": batch.name,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": {"object": "list", "data": batch.errors} if batch.status == "failed" else None,
        "input_file_id": batch.file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": None,
        "error_file_id": None,
        "created_at": batch.created,
        "request_counts": {"total": len(batch.requests), "completed": done, "failed": failed},
        "metadata": batch.metadata,
    }


def _show_messages(batch: Batch, url: str) -> dict[str, Any]:
    kinds = Counter(_show_result(result, batch)["type"] for result in batch.results.values())
    has_ended = bool(batch.results)
    left = 0 if has_ended else len(batch.requests)
    counts = {k: kinds[k] for k in ("succeeded", "errored", "canceled", "expired")}
    created = datetime.fromtimestamp(batch.created, UTC)
    return {
        "id": batch.name,
        "type": "message_batch",
        "processing_status": "ended" if has_ended else "in_progress",
        "request_counts": {"processing": left, **counts},
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "archived_at": None,
        "results_url": f"{url}/messages/batches/{batch.name}/results" if has_ended else None,
    }


def _show_result(result: Result, batch: Batch) -> dict[str, Any]:
    if result.is_expired:
        return {"type": "canceled" if batch.status == "cancelled" else "expired"}
    if result.status == 200:
        content = [{"type": "text", "text": result.text}]
        usage = {"input_tokens": 10, "output_tokens": 5}
        message = {"content": content, "stop_reason": "end_turn", "usage": usage}
        return {"type": "succeeded", "message": message}
    kinds = {400: "invalid_request_error", 404: "not_found_error", 500: "api_error"}
    error = {"type": kinds[result.status], "message": result.message}
    return {"type": "errored", "error": {"type": "error", "error": error}}


def _completion(result: Result) -> dict[str, Any]:
    message = {"role": "assistant", "content": result.text}
    return {
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }


def _error(result: Result) -> dict[str, Any]:
    return {"error": {"message": result.message, "param": result.param}}


def _line(value: dict[str, Any], result: Result) -> bytes:
    raw = json.dumps(value).encode()
    return raw[: len(raw) // 2] if result.is_garbage else raw


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
