"""What goes over the wire, and what each answer of a provider means."""

import asyncio
import json
import logging
import re

import pytest

from stepsynth.errors import ConfigError, ProviderError
from stepsynth.llm import LLM, Completion, Failed, Request
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.store.store import Store
from stepsynth.taskfile.yaml_lines import build, parse_yaml
from tests import stub_server
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
        "stream": False,
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
    (answer,), usage = ask(server)
    assert isinstance(answer, Completion)
    assert (usage.requests, usage.retries, usage.failures) == (3, 2, {})
    server.answer = lambda *_: bad
    (answer,), usage = ask(server, max_attempts=3)
    assert isinstance(answer, Failed)
    # To be refused as one too many is a quarter of an attempt: it says little of the request.
    assert (answer.reason, usage.requests) == (reason, 12 if reason == "rate_limit" else 3)
    assert usage.failures == {reason: 1}


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
    assert answer.message.endswith("/chat/completions: no answer in 0.05 s (llm.timeout_s)")
    assert "raise llm.timeout_s" in answer.hint


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
    assert re.search(hint, caught.value.hint)
    assert KEY not in str(caught.value)


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


SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}


def with_backend(server, do, **settings):
    spec = OpenAICompatible(model="small", base_url=server.url, **settings)
    return stub_server.with_backend(OpenAICompatibleBackend(spec, 0), do)


def complete(server, request=None, **settings):
    request = request or Request("hello", "s")
    return with_backend(server, lambda backend: backend.complete(request), **settings)


def answer_of(*texts, usage=None, finish="stop", **message):
    choices = [{"message": {"content": t, **message}, "finish_reason": finish} for t in texts]
    return 200, {}, json.dumps({"choices": choices, "usage": usage}).encode()


def refusal(param, text, status=400):
    error = {"message": text, "type": "invalid_request_error", "param": param}
    return status, {}, json.dumps({"error": error}).encode()


def test_turns_alternate_and_a_schema_holds_the_answer(server):
    request = Request("hello", "s", turns=("wrong", "again"), schema=SCHEMA)
    complete(server, request)
    complete(server, request, structured=False)
    first, second = server.bodies
    assert [m["role"] for m in first["messages"]] == ["user", "assistant", "user"]
    assert first["response_format"]["json_schema"]["schema"] == SCHEMA
    assert first["response_format"]["json_schema"]["strict"] is True
    assert "response_format" not in second


def test_cached_and_reasoning_tokens_are_read(server):
    details = {
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130, **details}
    server.answer = lambda *_: answer_of("hi", usage=usage)
    answer, _ = complete(server)
    counts = (answer.prompt_tokens, answer.cached_tokens)
    assert counts == (100, 64)
    assert (answer.completion_tokens, answer.reasoning_tokens) == (30, 20)
    assert answer.model == "small"


def test_thoughts_that_stand_in_the_total_alone_are_counted(server):
    usage = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}
    server.answer = lambda *_: answer_of("hi", usage=usage)
    assert complete(server)[0].completion_tokens == 603


@pytest.mark.parametrize(
    ("sent", "text", "is_cut"),
    [
        ("<think>hm, hm</think>\n\nthe answer", "the answer", False),
        ("hm, hm</think>\nthe answer", "the answer", False),
        ("<think>hm, hm, and on and", "", True),
    ],
)
def test_thoughts_are_no_part_of_the_text(server, sent, text, is_cut):
    server.answer = lambda *_: answer_of(sent)
    answer, _ = complete(server)
    assert (answer.text, answer.truncated, answer.reasoning_tokens) == (text, is_cut, 0)


@pytest.mark.parametrize("text", ["", None, "  \n", "<think>hm</think>  "])
def test_an_empty_answer_is_asked_for_again(server, text):
    server.answer = lambda *_: answer_of(text)
    with pytest.raises(RetryLaterError) as caught:
        complete(server)
    assert caught.value.reason == "empty"
    assert "choices" in caught.value.raw


@pytest.mark.parametrize(
    ("finish", "message", "text", "is_cut"),
    [
        ("length", {}, "", True),
        ("content_filter", {}, "", True),
        ("stop", {"refusal": "I will not."}, "I will not.", False),
    ],
)
def test_an_empty_answer_with_a_reason_is_an_answer(server, finish, message, text, is_cut):
    server.answer = lambda *_: answer_of("", finish=finish, **message)
    answer, _ = complete(server)
    assert (answer.text, answer.truncated) == (text, is_cut)


def test_a_group_is_one_request_whose_tokens_add_up(server):
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 32,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 10},
    }
    server.answer = lambda *_: answer_of("a", "b", "c", usage=usage)
    requests = [Request("hello", "s", draw=i) for i in range(3)]

    async def group(backend):
        assert backend.group_size == 3
        return await backend.complete_group(requests)

    answers, _ = with_backend(server, group, n=3)
    assert server.bodies[0]["n"] == 3
    assert [a.text for a in answers] == ["a", "b", "c"]
    assert [a.prompt_tokens for a in answers] == [11, 0, 0]
    assert [a.completion_tokens for a in answers] == [11, 11, 10]
    assert sum(a.reasoning_tokens for a in answers) == 10
    assert sum(a.cached_tokens for a in answers) == 4


def test_a_group_keeps_the_answers_that_are_good(server):
    usage = {"prompt_tokens": 11, "completion_tokens": 32}
    server.answer = lambda *_: answer_of("a", "", "c", usage=usage)
    requests = [Request("hello", "s", draw=i) for i in range(3)]
    group = lambda backend: backend.complete_group(requests)  # noqa: E731
    answers, _ = with_backend(server, group, n=3)
    assert [(a.text, a.completion_tokens) for a in answers] == [("a", 16), ("c", 16)]
    server.answer = lambda *_: answer_of("a", usage=usage)
    assert len(with_backend(server, group, n=3)[0]) == 1
    server.answer = lambda *_: answer_of("a", "b", "c", "d", usage=usage)
    assert sum(a.completion_tokens for a in with_backend(server, group, n=3)[0]) == 32
    server.answer = lambda *_: answer_of("", "", usage=usage)
    with pytest.raises(RetryLaterError, match="empty"):
        with_backend(server, group, n=3)


def test_an_endpoint_that_refuses_n_is_asked_for_one_at_a_time(server):
    server.answer = lambda _, body: (
        failure(400, "'n' : number must be at most 1") if "n" in body else answer_of("a")
    )

    async def group(backend):
        answers = await backend.complete_group([Request("hello", "s", draw=i) for i in range(4)])
        return len(answers), backend.group_size

    (found, size), notices = with_backend(server, group, n=4)
    assert (found, size, len(server.bodies), len(notices)) == (1, 1, 2, 1)


REASONING = {
    "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead.",
    "temperature": "Unsupported value: 'temperature' does not support 0.9 with this model. Only "
    "the default (1) value is supported.",
    "top_p": "Unsupported parameter: 'top_p' is not supported with this model.",
}


def reasoning_model(_, body):
    for param, text in REASONING.items():
        if param in body:
            return refusal(param, text)
    return completion("fine")


def test_what_a_reasoning_model_refuses_is_learnt_once(server):
    server.answer = reasoning_model

    async def twice(backend):
        return [await backend.complete(Request("hello", "s", draw=i)) for i in range(2)]

    answers, notices = with_backend(server, twice, max_tokens=77)
    assert [a.text for a in answers] == ["fine", "fine"]
    assert len(server.bodies) == 5
    assert server.bodies[-1]["max_completion_tokens"] == 77
    assert not {"max_tokens", "temperature", "top_p"} & set(server.bodies[-1])
    assert len(notices) == 3
    assert "max_completion_tokens" in notices[0]


def test_requests_that_were_under_way_when_it_was_learnt_are_sent_again(server):
    server.answer, server.delay_s = reasoning_model, 0.05

    async def many(backend):
        jobs = (backend.complete(Request("hello", "s", draw=i)) for i in range(20))
        return await asyncio.gather(*jobs)

    answers, notices = with_backend(server, many)
    assert [a.text for a in answers] == ["fine"] * 20
    assert len(notices) == 3
    assert len(server.bodies) == 80


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("seed", refusal(None, 'Unknown name "seed": Cannot find field.')),
        (
            "seed",
            (422, {}, b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}'),
        ),
        ("top_p", failure(400, "`temperature` and `top_p` cannot both be specified")),
        ("temperature", failure(400, "invalid temperature: only 1 is allowed for this model")),
        ("response_format", failure(400, "This response_format type is unavailable now")),
        ("response_format", refusal("response_format", "Invalid schema for 'answer'")),
        ("response_format", failure(400, "failed to parse grammar")),
    ],
)
def test_each_way_of_refusing_a_parameter_is_understood(server, name, bad):
    server.answer = lambda _, body: bad if name in body else completion("fine")
    answer, notices = complete(server, Request("hello", "s", schema=SCHEMA))
    assert answer.text == "fine"
    assert [name in notice for notice in notices] == [True]
    assert set(server.bodies[0]) - set(server.bodies[1]) == {name}


@pytest.mark.parametrize(
    "bad",
    [
        refusal("max_tokens", "max_tokens is too large: 99999. At most 4096 are supported."),
        refusal("messages", "Unsupported value: 'temperature' is what the prompt speaks of"),
        refusal("foo", "Unknown parameter: 'foo'. Known: temperature, top_p, seed"),
        failure(400, "temperature must be between 0 and 1"),
        failure(400, "max_tokens is not supported"),
        failure(400, "the prompt is too long"),
        failure(413, "temperature is not supported"),
    ],
)
def test_another_refusal_is_none_of_a_parameter(server, bad):
    server.answer = lambda *_: bad
    with pytest.raises(GiveUpError):
        complete(server)
    assert len(server.bodies) == 1


def test_an_endpoint_that_refuses_whatever_is_sent_ends(server):
    said = "temperature, top_p, seed, n, response_format, max_tokens are not supported; "
    server.answer = lambda *_: failure(400, said + "use max_completion_tokens")
    with pytest.raises(GiveUpError):
        complete(server, Request("hello", "s", schema=SCHEMA))
    assert len(server.bodies) == 6


def test_a_ping_learns_too_and_gives_thoughts_some_room(server):
    def answer(number, body):
        if body.get("max_completion_tokens", 99) < 16:
            cut = "Could not finish the message because max_tokens or model output limit was hit"
            return failure(400, cut)
        return reasoning_model(number, body)

    server.answer = answer

    async def both(backend):
        await backend.ping()
        return await backend.complete(Request("hello", "s"))

    _, notices = with_backend(server, both)
    assert len(notices) == 3
    assert server.bodies[0]["max_tokens"] == 1
    assert "yes" in server.bodies[0]["messages"][0]["content"]
    assert server.bodies[-1]["max_completion_tokens"] == 1024


def test_a_ping_takes_an_empty_answer_but_not_a_server_of_another_kind(server):
    server.answer = lambda *_: answer_of("")
    with_backend(server, lambda backend: backend.ping())
    server.answer = lambda *_: (200, {}, b'{"error": "Unexpected endpoint"}')
    with pytest.raises(RetryLaterError, match="Unexpected endpoint"):
        with_backend(server, lambda backend: backend.ping())


def test_further_keys_and_headers_are_sent(server, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-this-server")
    extra = {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}}
    given = {"X-Title": "mine", "authorization": "Bearer ${MY_TOKEN}"}
    complete(server, extra_body=extra, headers=given)
    assert extra.items() <= server.bodies[0].items()
    sent = {name.lower(): value for name, value in server.headers[0].items()}
    assert (sent["x-title"], sent["authorization"]) == ("mine", f"Bearer {KEY}")


def test_another_header_carries_the_key_alone(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    complete(server, auth_header="api-key")
    assert server.headers[0]["api-key"] == KEY
    assert "Authorization" not in server.headers[0]


def test_what_decides_an_answer_is_in_its_identity_and_else_nothing():
    plain = OpenAICompatible(model="m")
    assert list(plain.identity()) == [
        "backend", "model", "temperature", "top_p", "max_tokens", "base_url"
    ]  # fmt: skip
    assert list(plain.request_identity()) == ["backend", "base_url", "model", "sampling"]
    assert plain.request_identity(has_schema=True)["structured"] is True
    free = plain.model_copy(update={"structured": False})
    assert "structured" not in free.request_identity(has_schema=True)
    assert free.identity()["structured"] is False
    other = OpenAICompatible(
        model="m", n=9, headers={"X-A": "b"}, batch=True, extra_body={"top_k": 5}
    )
    added = {"extra_body": {"top_k": 5}}
    assert other.identity() == plain.identity() | added
    assert other.request_identity() == plain.request_identity() | added


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": {"x-api-key": KEY}},
        {"headers": {"X-Auth-Token": KEY}},
        {"headers": {"Authorization": f"Bearer {KEY}"}},
        {"headers": {"Authorization": f"Bearer {KEY}$MY_KEY"}},
        {"headers": {"X-Harmless": f"Bearer {KEY}"}},
        {"headers": {"X-Harmless": KEY}},
        {"headers": {"x-api-key": [KEY]}},
        {"headers": {"X-A": f"{KEY}\r\nX-B: c"}},
        {"headers": {f"{KEY}: a": "b"}},
        {"extra_body": {"api_key": KEY}},
        {"extra_body": {"openai_api_key": KEY}},
        {"extra_body": {"metadata": {"api_key": KEY}}},
        {"extra_body": {"list": [{"token": KEY}]}},
        {"extra_body": {"x": KEY}},
        {"extra_body": {"temperature": KEY}},
        {"auth_header": f"Bearer {KEY}"},
        {"api_key_env": KEY},
        {"base_url": f"https://host/v1?key={KEY}"},
        {"base_url": KEY},
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(wrong):
    with pytest.raises(ValueError) as caught:
        OpenAICompatible(model="m", **wrong)
    assert KEY not in str(caught.value)
    located = parse_yaml("llm: {model: m}", "task.yaml")
    with pytest.raises(ConfigError) as told:
        build(OpenAICompatible, {"model": "m", **wrong}, located, ("llm",))
    assert KEY not in str(told.value)


def test_no_key_stands_in_settings_notices_or_errors(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", f"{KEY}-other")
    given = {"X-Gateway-Key": "$OTHER_KEY"}
    settings = OpenAICompatible(model="m", headers=given)
    assert settings.model_dump(mode="json")["headers"] == given
    assert KEY not in repr(settings) + str(settings.model_dump()) + str(settings.identity())
    echo_key = f"temperature is not supported {KEY} {KEY}-other"
    server.answer = lambda *_: failure(400, echo_key)
    with pytest.raises(GiveUpError) as caught:
        complete(server, headers=given)
    assert KEY not in str(caught.value) + caught.value.raw
    server.answer = lambda _, body: (
        failure(400, echo_key) if "temperature" in body else completion("fine")
    )
    _, notices = complete(server, headers=given)
    assert len(notices) == 1
    assert KEY not in notices[0]
    server.answer = lambda *_: (200, {}, json.dumps({"error": f"bad key {KEY}"}).encode())
    with pytest.raises(RetryLaterError) as again:
        complete(server, headers=given)
    assert KEY not in str(again.value) + again.value.raw


def test_a_header_whose_variable_is_not_set_says_so():
    settings = OpenAICompatible(model="m", headers={"X-A": "$NO_SUCH_NAME"})
    with pytest.raises(ConfigError, match="NO_SUCH_NAME is not set"):
        OpenAICompatibleBackend(settings, 0)
