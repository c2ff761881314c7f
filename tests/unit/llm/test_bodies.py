"""What odd and hostile endpoints send: read, or failed with its cause, and never a wrong row."""

import base64
import gzip
import json
import zlib

import pytest

from stepsynth.errors import ConfigError, ProviderError
from stepsynth.llm import LLM, Completion, Failed, Request
from stepsynth.llm.backends.anthropic import Anthropic, AnthropicBackend
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.chat.http import _find_proxy
from stepsynth.llm.core.errors import RetryLaterError
from stepsynth.llm.engine.limits import Limits
from stepsynth.llm.store.store import Store
from tests.stub_server import completion, failure

TEXT = "My parcel is late."
KEY = "sk-very-secret-7731-and-long"


def ask(server, n=1, *, url="", limits=None, store=None, **settings):
    spec = OpenAICompatible(
        model="small", base_url=url or server.url, **{"max_attempts": 2, **settings}
    )
    llm = LLM(OpenAICompatibleBackend(spec, 0), limits=limits, store=store)
    notices = []
    llm.on_notice = notices.append
    try:
        return llm.generate([Request(f"hello {i}", "s") for i in range(n)], phase="test"), notices
    finally:
        llm.close()


USED = {"prompt_tokens": 10, "completion_tokens": 5}


def answer(text=TEXT, *, finish="stop", usage=USED, **choice):
    message = {"role": "assistant", "content": text}
    said = {"index": 0, "message": message, "finish_reason": finish, **choice}
    return {"choices": [said], "usage": usage}


def body(value, **headers):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return 200, {name.replace("_", "-"): text for name, text in headers.items()}, raw


def event(value) -> str:
    return f"data: {json.dumps(value)}\n\n"


def parts(*texts, finish="stop"):
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": {"a": 1}}
    return "".join(map(event, [*chunks, *([end] if finish else [])])).encode() + b"data: [DONE]\n\n"


PLAIN = json.dumps(answer()).encode()
READABLE = {
    "gzip": body(gzip.compress(PLAIN), Content_Encoding="gzip"),
    "deflate": body(zlib.compress(PLAIN), Content_Encoding="deflate"),
    "byte order mark": body(b"\xef\xbb\xbf" + PLAIN),
    "utf-16": body(json.dumps(answer()).encode("utf-16")),
    "zeros at the end": body(PLAIN + b"\0\0"),
    "white space ahead": body(b"\n\n     \n" + PLAIN),
    "events": body(parts("My parcel", " is late."), Content_Type="text/event-stream"),
    "an event that is whole": body(event(answer()).encode() + b"data: [DONE]\n\n"),
    "JSON before an event": body(PLAIN + b"\n\ndata: [DONE]\n\n"),
    "comments ahead": body(b": PROCESSING\n\n: PROCESSING\n\n" + PLAIN),
    "202": (202, {}, PLAIN),
    "parts of a message": body(
        answer([{"type": "thinking", "x": 1}, {"type": "text", "text": TEXT}])
    ),
    "output_text": body(answer([{"type": "output_text", "text": TEXT}])),
    "a list of texts": body(answer([TEXT])),
}


@pytest.mark.parametrize("name", READABLE)
def test_an_answer_in_another_wrapping_is_read(server, name):
    server.answer = lambda *_: READABLE[name]
    ((found,), _) = ask(server)
    assert isinstance(found, Completion)
    assert (found.text, found.truncated) == (TEXT, False)


def test_text_in_another_charset_is_read(server):
    raw = json.dumps(answer("Café"), ensure_ascii=False).encode("latin-1")
    server.answer = lambda *_: body(raw, Content_Type="application/json; charset=iso-8859-1")
    assert ask(server)[0][0].text == "Café"


def bomb(compress, encoding):
    return body(compress(b" " * (64 << 20), 1), Content_Encoding=encoding)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bomb(gzip.compress, "gzip"),
        lambda: bomb(zlib.compress, "deflate"),
        lambda: body(answer("word " * 1_000_000)),
    ],
    ids=["gzip", "deflate", "plain"],
)
def test_an_answer_that_is_too_large_is_failed_and_not_asked_for_again(server, make):
    sent = make()
    server.answer = lambda number, _: sent if number == 1 else completion(TEXT)
    found, _ = ask(server, 3, concurrency=1)
    assert [each.reason if isinstance(each, Failed) else each.text for each in found] == [
        "too_large_answer", TEXT, TEXT
    ]  # fmt: skip
    assert len(server.bodies) == 3


def test_how_large_an_answer_may_be_follows_what_is_asked_for(server):
    server.answer = lambda *_: body(answer("word " * 1_000_000))
    assert isinstance(ask(server, max_tokens=200_000)[0][0], Completion)


@pytest.mark.parametrize(
    ("sent", "said", "hint"),
    [
        (body(PLAIN, Content_Encoding="br"), "packed with 'br'", ""),
        (body(PLAIN, Content_Encoding="gzip"), "is no gzip, as its header says", ""),
        (body(b"<html>Login</html>", Content_Type="text/html"), "a web page", "llm.base_url"),
    ],
)
def test_what_is_no_endpoint_is_said_at_once(server, sent, said, hint):
    server.answer = lambda *_: sent
    with pytest.raises(ProviderError, match=said) as caught:
        ask(server, 9, concurrency=1)
    assert hint in caught.value.hint
    assert len(server.bodies) == 1


def error(message, code=None):
    return body({"error": {"message": message, "code": code}})


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (error("Invalid API key provided", 401), "Invalid API key provided"),
        (error("Insufficient credits", "402"), "Insufficient credits"),
        (error("Your Insufficient balance"), "Insufficient balance"),
        (
            body(
                {
                    "choices": None,
                    "base_resp": {"status_code": 8, "status_msg": "insufficient balance"},
                }
            ),
            "insufficient balance",
        ),
    ],
)
def test_an_error_in_a_200_is_one(server, sent, said):
    server.answer = lambda *_: sent
    with pytest.raises(ProviderError, match=said):
        ask(server)


@pytest.mark.parametrize(
    ("sent", "reason", "said"),
    [
        (error("rate limited upstream", 429), "rate_limit", "rate limited upstream"),
        (error("overloaded", 503), "server_error", "overloaded"),
        (error("odd"), "malformed", "the answer holds no message: odd"),
        (body(answer({"a": 1})), "malformed", ""),
        (body(answer([1])), "malformed", ""),
        (body({"detail": "no such thing"}), "malformed", "no such thing"),
        (body({"choices": [], "msg": "busy"}), "malformed", "busy"),
        (failure(529, "Overloaded"), "server_error", "Overloaded"),
        (failure(403, "Rate limit: too many concurrent requests"), "rate_limit", "too many"),
    ],
)
def test_the_cause_and_what_was_sent_are_kept(server, sent, reason, said):
    server.answer = lambda *_: sent
    ((found,), _) = ask(server, max_attempts=1)
    assert isinstance(found, Failed)
    assert found.reason == reason
    assert said in found.message
    assert said.split(": ")[-1] in found.raw


def test_a_prompt_that_does_not_fit_names_what_to_lower(server):
    server.answer = lambda *_: failure(400, "This model's maximum context length is 1024 tokens.")
    ((found,), _) = ask(server)
    assert (found.reason, "lower llm.max_tokens" in found.hint) == ("too_long", True)


WHOLE = ["stop", "STOP", "eos", "stop_sequence", "end_turn", "", None]
CUT = ["length", "max_tokens", "MAX_TOKENS", "model_length", "something_new", {"a": 1}]
FILTERED = ["content_filter", "SAFETY", "RECITATION", "refusal"]


@pytest.mark.parametrize("word", [*WHOLE, *CUT, *FILTERED])
def test_only_what_the_llm_has_finished_is_whole(server, tmp_path, word):
    server.answer = lambda *_: body(answer("The first half", finish=word))
    store = tmp_path / "requests.sqlite"
    fresh, stored = (ask(server, store=Store(store))[0][0] for _ in range(2))
    assert len(server.bodies) == 1
    for found in (fresh, stored):
        assert found.truncated == (word not in WHOLE)
        assert found.stop == ("" if word in WHOLE else str(word))
        assert found.is_filtered == (word in FILTERED)


@pytest.mark.parametrize(
    "sent",
    [
        answer("The first half", finish="error"),
        answer("The first half", finish="abort"),
        answer("The first half", error={"code": 502, "message": "Upstream idle timeout"}),
        answer("", finish="error", error={"code": 502, "message": "Upstream idle timeout"}),
    ],
)
def test_an_answer_that_broke_off_is_none_and_is_asked_for_again(server, tmp_path, sent):
    server.answer = lambda *_: body(sent)
    ((found,), _) = ask(server, store=Store(tmp_path / "requests.sqlite"))
    assert (found.reason, len(server.bodies)) == ("broken_off", 2)
    if "error" in sent["choices"][0]:
        assert "Upstream idle timeout" in found.message
    server.answer = lambda *_: completion(TEXT)
    ((found,), _) = ask(server, store=Store(tmp_path / "requests.sqlite"))
    assert found.text == TEXT


def test_events_that_break_off_are_no_answer(server):
    server.answer = lambda *_: body(parts("My parcel", finish=None))
    assert ask(server)[0][0].reason == "broken_off"


@pytest.mark.parametrize(
    ("usage", "prompt", "written"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 12}, 20, 12),
        ({"prompt_tokens": 20.0, "completion_tokens": 12.0}, 20, 12),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None, None),
        ({"prompt_tokens": 20, "completion_tokens": 0}, 20, None),
        ({"prompt_tokens": -5, "completion_tokens": -7}, None, None),
        ({"prompt_tokens": 1.5, "completion_tokens": float("nan")}, None, None),
        ({"prompt_tokens": float("inf"), "completion_tokens": 1e308}, None, None),
        ({"prompt_tokens": 2**63, "completion_tokens": 2**40 + 1}, None, None),
        ({"prompt_tokens": "20", "completion_tokens": True}, None, None),
        ({"prompt_tokens": [[1]], "completion_tokens": {}}, None, None),
        *((nothing, None, None) for nothing in (None, [1], {})),
    ],
)
def test_numbers_of_tokens_that_cannot_be_are_not_known(server, usage, prompt, written):
    server.answer = lambda *_: body(answer(usage=usage))
    ((found,), _) = ask(server)
    assert (found.prompt_tokens, found.completion_tokens) == (prompt, written)


def test_an_answer_that_counts_nothing_counts_as_the_most_it_may_have_cost(server):
    server.answer = lambda *_: body(answer(usage={"prompt_tokens": 0, "completion_tokens": 0}))
    from stepsynth.errors import LimitReachedError

    with pytest.raises(LimitReachedError, match=r"limits\.tokens"):
        ask(server, 50, limits=Limits(tokens=2000), max_tokens=100, concurrency=1)
    assert 5 < len(server.bodies) < 15


def test_one_odd_number_does_not_end_the_others(server):
    odd = body(answer(usage={"prompt_tokens": 2**63, "completion_tokens": 2**63}))
    server.answer = lambda number, _: odd if number == 2 else completion(TEXT)
    found, _ = ask(server, 5, limits=Limits(tokens=100_000), concurrency=1)
    assert [each.text for each in found] == [TEXT] * 5


def test_who_asks_to_wait_for_a_day_is_not_waited_for(server):
    said = "Rate limit exceeded: free requests per day"
    wait = failure(429, said, **{"Retry-After": "86400"})
    server.answer = lambda number, _: completion(TEXT) if number <= 3 else wait
    with pytest.raises(ProviderError, match=f"wait 24 hours.*{said}") as caught:
        ask(server, 20, concurrency=2)
    assert "goes on" in caught.value.hint
    assert len(server.bodies) < 8


def test_what_another_llm_can_answer_goes_on_meanwhile(server, tmp_path):
    wait = failure(429, "daily limit", **{"Retry-After": "86400"})
    server.answer = lambda _, body: wait if body["model"] == "closed" else completion(TEXT)
    settings = [
        OpenAICompatible(model=model, base_url=server.url, concurrency=2)
        for model in ("closed", "open")
    ]
    backends = [OpenAICompatibleBackend(each, 0) for each in settings]
    store = tmp_path / "requests.sqlite"
    llm = LLM(backends[0], store=Store(store), phases={"seed": backends})
    requests = [Request(f"hello {i}", "s", tags={"kind": "seed"}) for i in range(20)]
    with pytest.raises(ProviderError, match="daily limit"):
        llm.generate(requests, phase="test")
    llm.close()
    assert sum(body["model"] == "open" for body in server.bodies) == 10
    assert sum(body["model"] == "closed" for body in server.bodies) <= 6


def test_no_key_stands_in_a_text(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    coded = base64.b64encode(f"Bearer {KEY}".encode()).decode()
    echo = f"You sent {KEY} and {coded}, or {KEY[:15]}... on 2023-06-01."
    server.answer = lambda *_: completion(echo)
    ((found,), _) = ask(server)
    assert found.text == "You sent *** and ***, or *** on 2023-06-01."


def test_headers_that_hold_no_key_are_no_secret(server):
    server.answer = lambda *_: completion("See https://example.com, version 2023-06-01.")
    ((found,), _) = ask(server, headers={"HTTP-Referer": "https://example.com"})
    assert found.text == "See https://example.com, version 2023-06-01."
    text = {"content": [{"type": "text", "text": "On 2023-06-01."}], "stop_reason": "end_turn"}
    server.answer = lambda *_: body(text)
    llm = LLM(AnthropicBackend(Anthropic(model="m", base_url=server.url), 0))
    try:
        (found,) = llm.generate([Request("hello", "s")], phase="test")
    finally:
        llm.close()
    assert found.text == "On 2023-06-01."


def test_a_query_of_the_url_is_kept(server):
    url = f"{server.url}/deployments/d/?api-version=2024-06-01"
    ((found,), _) = ask(server, url=url)
    assert isinstance(found, Completion)
    assert server.queries == [{"api-version": "2024-06-01"}]
    assert OpenAICompatible(model="m", base_url=url).identity()["base_url"] == (
        f"{server.url}/deployments/d?api-version=2024-06-01"
    )


@pytest.mark.parametrize("query", ["key=abc", "api_key=abc", "x=sk-abcdefg", "access-token=a"])
def test_a_key_in_the_url_is_refused(query):
    with pytest.raises(ValueError, match="no key may stand in it"):
        OpenAICompatible(model="m", base_url=f"https://host/v1?{query}")


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("HTTPS_PROXY", "http://proxy:3128", "http://proxy:3128"),
        ("ALL_PROXY", "http://proxy:3128", "http://proxy:3128"),
        ("https_proxy", "proxy:3128", "http://proxy:3128"),
        ("HTTP_PROXY", "http://proxy:3128", None),
    ],
)
def test_the_proxy_is_the_environments(monkeypatch, name, value, found):
    monkeypatch.setenv(name, value)
    assert _find_proxy("https://host/v1") == found
    assert _find_proxy("http://127.0.0.1/v1") is None


def test_a_proxy_of_another_kind_is_refused_without_its_password(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@proxy:1080")
    with pytest.raises(ConfigError, match="a socks5 proxy for host") as caught:
        _find_proxy("https://host/v1")
    assert "secret" not in str(caught.value)


def test_an_errored_answer_of_a_group_leaves_the_others(server):
    choices = [*answer("one")["choices"], *answer("", finish="error")["choices"]]
    server.answer = lambda *_: body({"choices": choices})
    backend = OpenAICompatibleBackend(OpenAICompatible(model="m", base_url=server.url, n=2), 0)
    assert [each.text for each in backend._read_choices({"choices": choices}, 2)] == ["one"]
    with pytest.raises(RetryLaterError, match="broke off"):
        backend._read_choices({"choices": choices[1:]}, 2)
