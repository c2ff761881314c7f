"""A model behind HTTP: `POST /predict`, `GET /health` and `GET /metrics`.

Texts of requests that wait at the same time are predicted together. A request is refused as a whole
if a part of it is wrong; nothing that is asked is kept or logged.
"""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from stepsynth._util.text import clean
from stepsynth.metrics import Abstention, AnyPredictions, Calibration, Predictions
from stepsynth.records import Example
from stepsynth.students import Student

MOST_BYTES = 10 * 2**20
"""Bytes of a request's body."""
MOST_TEXTS = 10_000
"""Texts of a request."""
BATCH = 512
"""Texts that are predicted at once."""
GRACE_S = 10.0
"""Seconds that requests in progress have when the server is told to stop."""


class BadRequestError(ValueError):
    """A body that is no request: what was expected."""


@dataclass
class Counts:
    """What has been served: the numbers of `/metrics`."""

    requests: Counter[int] = field(default_factory=Counter)
    texts: int = 0
    abstained: int = 0
    seconds: float = 0.0

    def to_text(self) -> str:
        """Return the numbers in the text format of Prometheus."""
        lines = ["# TYPE stepsynth_requests_total counter"]
        lines += [
            f'stepsynth_requests_total{{code="{code}"}} {count}'
            for code, count in sorted(self.requests.items())
        ]
        for name, value in (
            ("texts_total", self.texts),
            ("abstained_total", self.abstained),
            ("request_seconds_total", round(self.seconds, 6)),
        ):
            lines += [f"# TYPE stepsynth_{name} counter", f"stepsynth_{name} {value}"]
        return "\n".join(lines) + "\n"


Asked = tuple[Sequence[Example], asyncio.Future[list[dict[str, Any]]]]
"""The texts of a request, and where their labels go."""


class ModelServer:
    """A web application around a student.

    Args:
        student: The student.
        name: Of the run, for `/health`.
        calibration: Makes its probabilities mean what they say; None: they are as it gives them.
        abstention: Under its threshold no label is given; None: every text gets one.
    """

    def __init__(
        self,
        student: Student,
        name: str,
        calibration: Calibration | None = None,
        abstention: Abstention | None = None,
    ) -> None:
        self.counts = Counts()
        self._student = student
        self._name = name
        self._calibration = calibration
        self._abstention = abstention
        self._waiting: deque[Asked] = deque()
        self._worker: asyncio.Task[None] | None = None

    def make_app(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=MOST_BYTES, middlewares=[self._count])
        app.router.add_post("/predict", self._predict)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        return app

    @web.middleware
    async def _count(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Count a request, and answer its errors in JSON."""
        began = time.perf_counter()
        try:
            response = await handler(request)
        except BadRequestError as error:
            response = _error(400, str(error))
        except web.RequestPayloadError:
            response = _error(400, "the body is not what its headers say")
        except web.HTTPRequestEntityTooLarge:
            response = _error(413, f"a body has at most {MOST_BYTES:,} bytes")
        except web.HTTPException as error:
            said = "POST /predict, GET /health and GET /metrics are here"
            response = _error(error.status, f"{error.reason.lower()}: {said}")
        except Exception as error:  # its words may hold a text
            response = _error(500, f"the model failed: {type(error).__name__}")
        self.counts.requests[response.status] += 1
        self.counts.seconds += time.perf_counter() - began
        return response

    async def _predict(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return _error(415, "the content type must be application/json")
        examples = self._read(await request.read())
        answered: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self._waiting.append((examples, answered))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        predictions = await answered
        self.counts.texts += len(examples)
        self.counts.abstained += sum(each["label"] is None for each in predictions)
        return web.json_response({"predictions": predictions}, dumps=_dump)

    async def _work(self) -> None:
        """Predict what waits, and what has come meanwhile, until nothing is left."""
        while self._waiting:
            taken = [self._waiting.popleft()]
            while self._waiting and sum(len(rows) for rows, _ in taken) < BATCH:
                taken.append(self._waiting.popleft())
            await self._answer(taken)

    async def _answer(self, taken: Sequence[Asked]) -> None:
        rows = [row for examples, _ in taken for row in examples]
        try:
            predictions = await asyncio.to_thread(self._student.predict_examples, rows)
            said = self._say(predictions)
        except Exception as error:
            if len(taken) > 1:  # one of them may have been the cause
                for each in taken:
                    await self._answer([each])
            elif not taken[0][1].done():
                taken[0][1].set_exception(error)
            return
        place = 0
        for examples, answered in taken:
            if not answered.done():  # whoever asked may have gone
                answered.set_result(said[place : place + len(examples)])
            place += len(examples)

    def _say(self, predictions: AnyPredictions) -> list[dict[str, Any]]:
        if not isinstance(predictions, Predictions):
            return [
                {"label": label, "answer_start": start, "probability": round(float(sure), 6)}
                for label, start, sure in zip(
                    predictions.labels, predictions.starts, predictions.probabilities, strict=True
                )
            ]
        if self._calibration is not None:
            predictions = self._calibration.apply(predictions)
        least = self._abstention.threshold if self._abstention else 0.0
        said: list[dict[str, Any]] = []
        for label, row in zip(predictions.labels, predictions.probabilities.tolist(), strict=True):
            shares = {n: round(p, 6) for n, p in zip(predictions.label_names, row, strict=True)}
            sure = max(row)
            given = label if sure >= least else None
            said.append({"label": given, "probability": round(sure, 6), "probabilities": shares})
        return said

    def _read(self, body: bytes) -> list[Example]:
        """Return the examples of a request.

        Raises:
            BadRequestError: It has none, or too many.
        """
        try:
            asked: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadRequestError("the body is no JSON") from error
        needs_context = "context" in self._student.columns
        form = (
            '{"rows": [{"text": "...", "context": "..."}]}'
            if needs_context
            else '{"texts": ["..."]} or {"rows": [{"text": "..."}]}'
        )
        if not isinstance(asked, dict) or ("texts" in asked) == ("rows" in asked):
            raise BadRequestError(f"expected {form}")
        listed: Any = asked.get("rows", asked.get("texts"))
        if not isinstance(listed, list):
            raise BadRequestError(f"expected {form}")
        if len(listed) > MOST_TEXTS:
            raise BadRequestError(f"a request has at most {MOST_TEXTS:,} texts")
        return [_example(row, i, needs_context=needs_context) for i, row in enumerate(listed)]

    async def _health(self, _: web.Request) -> web.Response:
        temperature = self._calibration.temperature if self._calibration else None
        about: dict[str, Any] = {
            "status": "ok",
            "run": self._name,
            "student": self._student.name,
            "labels": list(self._student.label_names),
            "temperature": temperature,
        }
        if self._abstention is not None:
            about["abstains_under"] = round(self._abstention.threshold, 6)
        return web.json_response(about, dumps=_dump)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.counts.to_text(), content_type="text/plain")


def _example(row: Any, place: int, *, needs_context: bool) -> Example:
    values: dict[str, Any] = row if isinstance(row, dict) else {"text": row}
    text, context = values.get("text"), values.get("context")
    if not isinstance(text, str) or not text.strip():
        raise BadRequestError(f"text {place} must be a text that is not empty")
    if needs_context and (not isinstance(context, str) or not context.strip()):
        raise BadRequestError(f"text {place} needs a context that is not empty")
    return Example(clean(text), "", clean(str(context)) if needs_context else None)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status, dumps=_dump)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
