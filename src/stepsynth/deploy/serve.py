"""A model behind HTTP: `POST /predict`, `GET /health` and `GET /metrics`.

Texts of requests that wait at the same time are predicted together. A request is refused as a whole
if a part of it is wrong. Nothing that is asked is kept or logged, but what an LLM answers where the
model abstains: its store remembers that.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from stepsynth._util.serving import HANDLER, PACKED, is_packed
from stepsynth._util.text import clean, is_blank
from stepsynth.deploy.batcher import Batcher
from stepsynth.deploy.fall_back import TIMEOUT_S, FallBack, Reply
from stepsynth.metrics import (
    Abstention,
    AnyPredictions,
    Calibration,
    MultiLabelPredictions,
    Spans,
)
from stepsynth.records import Example
from stepsynth.students import Student

MOST_BYTES = 10 * 2**20
"""Bytes of a request's body."""
MOST_TEXTS = 10_000
"""Texts of a request."""
MOST_CHARACTERS = 1_000_000
"""Characters of a text and its context; what a model makes of them fills some 200 times as many."""
BATCH = 512
"""Texts that the model predicts at once."""
LLM_BATCH, PART = 64, 16
"""Texts that the LLM is asked about at once; those of one request that wait together."""
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
    by_llm: int = 0
    seconds: float = 0.0

    def to_text(self, more: Mapping[str, float]) -> str:
        """Return the numbers, and others of the same kind, in the text format of Prometheus."""
        lines = ["# TYPE stepsynth_requests_total counter"]
        lines += [
            f'stepsynth_requests_total{{code="{code}"}} {count}'
            for code, count in sorted(self.requests.items())
        ]
        for name, value in (
            ("texts_total", self.texts),
            ("abstained_total", self.abstained),
            ("request_seconds_total", round(self.seconds, 6)),
            *more.items(),
        ):
            lines += [f"# TYPE stepsynth_{name} counter", f"stepsynth_{name} {value}"]
        return "\n".join(lines) + "\n"


class ModelServer:
    """A web application around a student.

    Args:
        student: The student.
        name: Of the run, for `/health`.
        calibration: Makes its probabilities mean what they say; None: they are as it gives them.
        abstention: Under its threshold the model gives no label; None: it gives one to every text.
        fall_back: Answers where the model gives no label.
        timeout_s: Seconds after which a text that waits for the LLM gets no label.
    """

    def __init__(
        self,
        student: Student,
        name: str,
        calibration: Calibration | None = None,
        abstention: Abstention | None = None,
        fall_back: FallBack | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.counts = Counts()
        self._student = student
        self._name = clean(name)  # a folder's name need be no UTF-8
        self._calibration = calibration
        self._abstention = abstention
        self._fall_back = fall_back
        self._timeout_s = timeout_s
        self._model = Batcher(lambda rows: self._say(student.predict_examples(rows)), BATCH)
        self._llm = Batcher(fall_back.ask, LLM_BATCH) if fall_back is not None else None

    def make_app(self) -> web.Application:
        """Return the application."""
        app = web.Application(
            client_max_size=MOST_BYTES, middlewares=[self._count], handler_args=HANDLER
        )
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
        except (web.RequestPayloadError, ConnectionError):  # or whoever asks hangs up half way
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
        if is_packed(request.headers):
            return _error(415, PACKED)
        examples = self._read(await request.read())
        predictions = await self._model.ask(examples)
        self.counts.texts += len(examples)
        self.counts.abstained += sum(each["label"] is None for each in predictions)
        if self._fall_back is not None:
            await self._fill(examples, predictions)
        return web.json_response({"predictions": predictions}, dumps=_dump)

    async def _fill(self, examples: Sequence[Example], said: list[dict[str, Any]]) -> None:
        """Have the LLM answer where the model abstained, and say whose answer each is."""
        for each in said:
            each["by"] = None if each["label"] is None else "model"
        places = [i for i, each in enumerate(said) if each["label"] is None]
        if self._llm is None or not places:
            return
        replies = await self._ask_llm(self._llm, [examples[i] for i in places])
        for i, reply in zip(places, replies, strict=True):
            said[i] |= {"why": reply.why} if reply.label is None else {"by": "llm"}
            said[i]["label"] = reply.label
            self.counts.by_llm += reply.label is not None

    async def _ask_llm(self, llm: Batcher[Reply], rows: Sequence[Example]) -> list[Reply]:
        """Return the LLM's answers that come in time; what nobody waits for is not asked."""
        parts = [rows[i : i + PART] for i in range(0, len(rows), PART)]
        asked = [asyncio.create_task(llm.ask(part)) for part in parts]
        _, late = await asyncio.wait(asked, timeout=self._timeout_s)
        replies: list[Reply] = []
        for part, task in zip(parts, asked, strict=True):
            if task in late:
                task.cancel()
                why = f"the LLM took more than {self._timeout_s:g} s"
            elif error := task.exception():  # a full disk, say: what the model says still counts
                why = f"the LLM cannot be asked: {type(error).__name__}"
            else:
                replies += task.result()
                continue
            replies += [Reply(None, why)] * len(part)
        return replies

    def _say(self, predictions: AnyPredictions) -> list[dict[str, Any]]:
        if isinstance(predictions, Spans):
            return [
                {"label": label, "answer_start": start, "probability": round(float(sure), 6)}
                for label, start, sure in zip(
                    predictions.labels, predictions.starts, predictions.probabilities, strict=True
                )
            ]
        if isinstance(predictions, MultiLabelPredictions):
            names = predictions.label_names
            return [
                {
                    "label": list(own.names),
                    "probabilities": {n: round(p, 6) for n, p in zip(names, row, strict=True)},
                }
                for own, row in zip(
                    predictions.sets, predictions.probabilities.tolist(), strict=True
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
        if self._fall_back is not None:
            about["falls_back"] = True
        return web.json_response(about, dumps=_dump)

    async def _metrics(self, _: web.Request) -> web.Response:
        more: dict[str, float] = {}
        if self._fall_back is not None:
            spent = self._fall_back.spent
            more = {"llm_answered_total": self.counts.by_llm, "llm_requests_total": spent.requests}
            if self._fall_back.is_priced:
                more["llm_usd_total"] = round(spent.usd, 6)
        return web.Response(text=self.counts.to_text(more), content_type="text/plain")


def _example(row: Any, place: int, *, needs_context: bool) -> Example:
    values: dict[str, Any] = row if isinstance(row, dict) else {"text": row}
    text, context = values.get("text"), values.get("context")
    if not isinstance(text, str) or is_blank(text):
        raise BadRequestError(f"text {place} must be a text that is not empty")
    if needs_context and (not isinstance(context, str) or is_blank(context)):
        raise BadRequestError(f"text {place} needs a context that is not empty")
    if len(text) + (len(str(context)) if needs_context else 0) > MOST_CHARACTERS:
        of = "text {} with its context has" if needs_context else "text {} has"
        raise BadRequestError(f"{of.format(place)} more than {MOST_CHARACTERS:,} characters")
    return Example(clean(text), "", clean(str(context)) if needs_context else None)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status, dumps=_dump)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
