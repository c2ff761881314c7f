"""What goes over the wire, and what each answer of a provider means."""

import json
import logging

import pytest

from stepsynth.errors import ProviderError
from stepsynth.llm import LLM, Completion, Failed, Request
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.store import Store
from tests.stub_server import completion, failure

KEY = "sk-very-secret-7731"


def ask(server, *requests, store=None, **settings):
    spec = OpenAICompatible(model="small", base_url=server.url, **settings)
    llm = LLM(OpenAICompatibleBackend(spec, 0), store=store)
    try:
        return llm.generate(list(requests) or [Request("hello", "s")], phase="test"), llm.usage
    finally:
        llm.close()


def test_a_request_carries_model_message_sampling_and_a_seed(server):
    ask(server, temperature=0.5, top_p=0.8, max_tokens=99)
    (body,) = server.bodies
    assert body.pop("seed") >= 0
    assert body == {
        "model": "small",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "top_p": 0.8,
        "max_tokens": 99,
    }


def test_every_draw_sends_another_seed_and_the_same_run_the_same_ones(server):
    ask(server, *[Request("hello", "s") for _ in range(50)])
    ask(server, *[Request("hello", "s") for _ in range(50)])
    seeds = [body["seed"] for body in server.bodies]
    assert len(set(seeds)) == 50
    assert set(seeds[:50]) == set(seeds[50:])


def test_the_seed_can_be_left_out(server):
    ask(server, send_seed=False)
    assert "seed" not in server.bodies[0]


def test_the_key_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    ask(server, api_key_env="MY_KEY")
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_local_server_needs_no_key(server):
    ask(server)
    assert "Authorization" not in server.headers[0]


def test_a_key_in_place_of_its_name_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="NAME of an environment variable") as caught:
        OpenAICompatible(model="m", api_key_env=KEY)
    assert caught.value.errors()[0]["type"] == "value_error"


def test_an_answer_is_read_with_its_tokens(server):
    server.answer = lambda *_: completion("hi", tokens=(7, 2))
    (answer,), usage = ask(server)
    assert isinstance(answer, Completion)
    assert (answer.text, answer.truncated) == ("hi", False)
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 2)


def test_an_answer_that_was_cut_off_says_so(server):
    server.answer = lambda *_: completion("half", finish="length")
    (answer,), _ = ask(server)
    assert answer.truncated


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (failure(500), "server_error"),
        (failure(503), "server_error"),
        (failure(429), "rate_limit"),
        (failure(429, **{"Retry-After": "0"}), "rate_limit"),
        (failure(408), "server_error"),
        ((200, {}, b"{oops"), "malformed"),
        ((200, {}, b""), "empty_body"),
        ((200, {}, b"[]"), "malformed"),
        ((200, {}, b'{"choices": []}'), "malformed"),
    ],
)
def test_what_may_pass_is_tried_again_and_then_given_up(server, bad, reason):
    server.answer = lambda number, _: bad if number < 3 else completion("fine")
    (answer,), _ = ask(server)
    assert isinstance(answer, Completion)
    server.answer = lambda *_: bad
    (answer,), usage = ask(server, max_attempts=3)
    assert isinstance(answer, Failed)
    assert (answer.reason, usage.requests) == (reason, 3)


def test_a_refused_request_is_given_up_at_once(server):
    server.answer = lambda *_: failure(400, "too long")
    (answer,), usage = ask(server)
    assert isinstance(answer, Failed)
    assert answer.reason == "refused_request"
    assert "too long" in answer.message
    assert usage.requests == 1


def test_a_time_out_is_tried_again(server):
    server.delay_s = 0.5
    (answer,), usage = ask(server, timeout_s=0.05, max_attempts=2)
    assert isinstance(answer, Failed)
    assert (answer.reason, usage.requests) == ("timeout", 2)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "not accepted"), (403, "not accepted"), (404, "llm.base_url .*llm.model")],
)
def test_a_wrong_key_or_model_stops_the_run_with_the_next_step(server, monkeypatch, status, hint):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answer = lambda *_: failure(status, "no such thing")
    with pytest.raises(ProviderError, match="no such thing") as caught:
        ask(server, *[Request("hello", "s") for _ in range(9)], concurrency=1)
    assert len(server.bodies) == 1
    import re

    assert re.search(hint, caught.value.hint)
    assert KEY not in str(caught.value)


def test_an_unreachable_endpoint_stops_the_run(server):
    server.url = "http://127.0.0.1:9/v1"
    with pytest.raises(ProviderError, match="cannot be reached"):
        ask(server)


def test_a_key_is_nowhere_on_disk_or_in_logs(server, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server.answer = lambda number, _: failure(500) if number == 1 else completion("fine")
    ask(server, store=Store(tmp_path / "s.sqlite"))
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()
    assert KEY not in caplog.text


def test_text_in_any_language_goes_there_and_back(server):
    server.answer = lambda _, body: completion(body["messages"][0]["content"])
    text = "写一条评论 \u2028 écris 🙂 書いて"
    (answer,), _ = ask(server, Request(text, "s"))
    assert answer.text == text
    assert json.loads(json.dumps(server.bodies[0]))["messages"][0]["content"] == text


def test_half_a_character_is_kept_as_a_replacement(server, tmp_path):
    body = '{"choices": [{"message": {"content": "nice \\ud83d"}, "finish_reason": "stop"}]}'
    server.answer = lambda *_: (200, {}, body.encode())
    (answer,), _ = ask(server, store=Store(tmp_path / "s.sqlite"))
    assert answer.text == "nice \ufffd"


def test_content_in_parts_is_joined_and_other_content_is_malformed(server):
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    for content, text in ((parts, "one two"), (None, ""), ({"a": 1}, None), ([1], None)):
        body = {"choices": [{"message": {"content": content}}], "usage": [1]}
        server.answer = lambda *_, body=body: (200, {}, json.dumps(body).encode())
        (answer,), _ = ask(server, max_attempts=1)
        assert (answer.text if isinstance(answer, Completion) else None) == text


def test_a_key_that_the_provider_repeats_is_masked(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answer = lambda *_: failure(401, f"Incorrect API key provided: {KEY}")
    with pytest.raises(ProviderError, match=r"Incorrect API key provided: \*\*\*"):
        ask(server)


def test_a_url_with_a_key_in_it_is_refused_and_not_repeated():
    for url in ("https://user:pw1234@host/v1", "https://host/v1?key=pw1234"):
        with pytest.raises(ValueError, match="may stand in it") as caught:
            OpenAICompatible(model="m", base_url=url)
        assert "pw1234" not in caught.value.errors()[0]["msg"]


def test_an_answer_that_drips_is_a_time_out(server):
    server.delay_s = 1.0
    (answer,), _ = ask(server, timeout_s=0.2, max_attempts=1)
    assert answer.reason == "timeout"
