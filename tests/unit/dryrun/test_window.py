"""Whether `max_tokens` fits is asked of the endpoint, and said before a run is paid for."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from stepsynth.dryrun.window import check_window
from stepsynth.errors import ProviderError
from stepsynth.llm.backends.openai_compatible import OpenAICompatible
from stepsynth.llm.backends.scripted import Scripted
from tests.stub_server import StubServer, completion, failure


@dataclass
class ListingServer(StubServer):
    """Lists its models, too."""

    listed: Any = None
    listings: list[str] = field(default_factory=list)

    def make_app(self) -> web.Application:
        app = super().make_app()
        app.router.add_get("/v1/models", self._list)
        return app

    async def _list(self, request: web.Request) -> web.Response:
        self.listings.append(request.path)
        return web.json_response(self.listed, status=404 if self.listed is None else 200)


def check(server, *, max_tokens=1000, longest=100, **settings):
    llm = OpenAICompatible(
        model="m", base_url=server.url, max_tokens=max_tokens, timeout_s=5, **settings
    )
    return check_window(llm, 0, longest)


def models(**entry):
    return {"data": [{"id": "other", "max_model_len": 1}, {"id": "m", **entry}]}


@pytest.mark.parametrize(
    "listed",
    [
        models(max_model_len=2048),
        models(context_length=2048),
        models(context_window=2048),
        models(max_context_length=2048),
        models(meta={"n_ctx_train": 9_000, "n_ctx": 2048}),
        {"data": [{"id": "a file's path", "max_model_len": 2048}]},
    ],
)
def test_what_the_endpoint_says_of_its_model_is_compared(listed):
    with ListingServer(listed=listed) as server:
        assert check(server) == ""
        said = check(server, longest=1_100)
        assert "takes 2048 tokens at once, and a prompt of about 1100 with llm.max_tokens" in said
        with pytest.raises(ProviderError, match="max_tokens 2048 does not fit into the 2048") as e:
            check(server, max_tokens=2048)
        assert "lower llm.max_tokens" in e.value.hint
        assert server.bodies == []  # which costs nothing


def refuses_above(most):
    def answer(_number, body):
        if body["max_tokens"] > most:
            return failure(400, f"maximum context length is {most} tokens. you requested more")
        return completion("yes")

    return answer


@pytest.mark.parametrize(
    "listed",
    [
        None,
        [],
        {"data": None},
        {"data": ["m", {"id": "m", "max_model_len": True}]},
        {"data": [{"id": "m", "context_length": "many", "meta": 3}]},
        {"data": [{"id": "a", "max_model_len": 5}, {"id": "b", "max_model_len": 5}]},
    ],
)
def test_where_it_says_nothing_the_llm_is_asked_with_all_of_max_tokens(listed):
    with ListingServer(refuses_above(900), listed=listed) as server:
        assert check(server, max_tokens=900, longest=10_000) == ""
        with pytest.raises(
            ProviderError, match=r"(?s)refuses llm\.max_tokens 901: .*is 900 tokens"
        ):
            check(server, max_tokens=901)
        assert [body["max_tokens"] for body in server.bodies] == [900, 901]


def test_what_fails_in_another_way_may_be_well_later(monkeypatch):
    with ListingServer(lambda *_: failure(503)) as server:
        assert check(server) == ""
    with ListingServer(delay_s=0.5) as server:
        monkeypatch.setattr("stepsynth.llm.core.backend.Backend.ping_s", 0.2)
        assert check(server) == ""
        while server.in_flight:
            time.sleep(0.01)
    assert check_window(Scripted(rules=[{"pattern": "", "answers": ["x"]}]), 0, 9) == ""
