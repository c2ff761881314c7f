"""The Messages API over the wire: what is sent, and what each answer means."""

import json

import pytest

from stepsynth.errors import ProviderError
from stepsynth.llm import Request
from stepsynth.llm.backends.anthropic import Anthropic, AnthropicBackend
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from tests import stub_server
from tests.stub_server import failure

KEY = "sk-ant-very-secret-9417"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def message(*blocks, stop="end_turn", **usage):
    content = [{"type": "text", "text": b} if isinstance(b, str) else b for b in blocks]
    body = {"type": "message", "content": content, "stop_reason": stop}
    usage = usage or {"input_tokens": 10, "output_tokens": 5}
    return 200, {}, json.dumps({**body, "usage": usage}).encode()


def with_backend(server, do, **settings):
    spec = Anthropic(model="small", base_url=server.url, **settings)
    return stub_server.with_backend(AnthropicBackend(spec, 0), do)


def ask(server, request=None, **settings):
    request = request or Request("hello", "s")
    return with_backend(server, lambda backend: backend.complete(request), **settings)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


def test_a_request_is_sent_as_the_api_has_it(server, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    server.answer = lambda *_: message("hi")
    turns = ("no json", "again")
    ask(server, Request("hello", "s", turns=turns, schema=SCHEMA), max_tokens=99, top_p=0.8)
    assert server.bodies == [
        {
            "model": "small",
            "messages": [
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "no json"},
                {"role": "user", "content": "again"},
            ],
            "temperature": 0.9,
            "top_p": 0.8,
            "max_tokens": 99,
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        }
    ]
    assert server.headers[0]["x-api-key"] == KEY
    assert server.headers[0]["anthropic-version"] == "2023-06-01"
    assert "Authorization" not in server.headers[0]


def test_all_of_the_prompt_counts_also_what_was_in_the_cache(server):
    server.answer = lambda *_: message(
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        "one ",
        "two",
        input_tokens=10,
        cache_read_input_tokens=70,
        cache_creation_input_tokens=20,
        output_tokens=7,
    )
    answer, _ = ask(server)
    assert (answer.text, answer.truncated, answer.model) == ("one two", False, "small")
    counts = (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens)
    assert counts == (100, 70, 7)


@pytest.mark.parametrize(
    ("stop", "text", "is_cut"),
    [("max_tokens", "hal", True), ("max_tokens", "", True), ("refusal", "", True)],
)
def test_how_an_answer_ended(server, stop, text, is_cut):
    server.answer = lambda *_: message(text, stop=stop)
    answer, _ = ask(server)
    assert (answer.text, answer.truncated) == (text, is_cut)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (message(""), "empty"),
        (message(), "empty"),
        (message({"type": "thinking", "thinking": "hm"}), "empty"),
        ((200, {}, b'{"content": "text"}'), "malformed"),
        ((200, {}, b'{"type": "message"}'), "malformed"),
        (failure(529, "Overloaded"), "server_error"),
    ],
)
def test_what_may_pass_is_for_later_and_keeps_what_was_sent(server, bad, reason):
    server.answer = lambda *_: bad
    with pytest.raises(RetryLaterError) as caught:
        ask(server)
    assert caught.value.reason == reason
    assert caught.value.raw


def test_parameters_that_a_model_refuses_are_left_out_once_and_for_all(server):
    def answer(_, body):
        if "temperature" in body and "top_p" in body:
            both = "`temperature` and `top_p` cannot both be specified for this model."
            return failure(400, f"{both} Please use only one.")
        if "temperature" in body:
            return failure(400, "`temperature` is deprecated for this model.")
        if "format" in body.get("output_config", {}):
            return failure(400, "output_config.format.schema: For 'object' type, no")
        return message("hi")

    server.answer = answer
    request = Request("hello", "s", schema=SCHEMA)

    async def twice(backend):
        return [await backend.complete(request) for _ in range(2)]

    extra = {"output_config": {"effort": "low"}}
    answers, notices = with_backend(server, twice, extra_body=extra)
    assert [a.text for a in answers] == ["hi", "hi"]
    assert len(server.bodies) == 5
    assert server.bodies[-1]["output_config"] == extra["output_config"]
    assert not {"temperature", "top_p"} & set(server.bodies[-1])
    assert [n.split("`")[1] for n in notices] == ["top_p", "temperature", "output_config"]


def test_a_ping_asks_for_one_token(server):
    server.answer = lambda *_: message("", stop="max_tokens")
    with_backend(server, lambda backend: backend.ping())
    assert [body["max_tokens"] for body in server.bodies] == [1]


def test_a_ping_with_thoughts_gets_the_room_that_they_need(server):
    def answer(_, body):
        least = "`max_tokens` must be greater than `thinking.budget_tokens`"
        return failure(400, least) if body["max_tokens"] <= 1024 else message("yes")

    server.answer = answer
    with_backend(server, lambda backend: backend.ping(), max_tokens=2000)
    assert [body["max_tokens"] for body in server.bodies] == [1, 16, 2000]
    with pytest.raises(GiveUpError, match="budget_tokens"):
        with_backend(server, lambda backend: backend.ping(), max_tokens=1000)


def test_a_wrong_key_says_so_and_is_not_repeated(server, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    server.answer = lambda *_: failure(401, f"invalid x-api-key {KEY}")
    with pytest.raises(ProviderError, match="invalid x-api-key") as caught:
        ask(server)
    assert KEY not in str(caught.value)
    assert "ANTHROPIC_API_KEY" in caught.value.hint
