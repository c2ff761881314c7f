"""Batch APIs behind the engine: the same store, caps and order, over several invocations."""

import signal
import threading
from pathlib import Path

import pytest

from stepsynth.errors import LimitReachedError
from stepsynth.llm import LLM, Completion, Failed, Request
from stepsynth.llm.backends.anthropic import Anthropic, AnthropicBackend
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.engine.limits import Limits
from stepsynth.llm.store.store import Store
from tests.batch_server import KEY, BatchServer, Result

PRICE = {"prompt": 1000.0, "completion": 1000.0}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("stepsynth.llm.batches.patience.FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr("stepsynth.llm.batches.patience.LONGEST_PAUSE_S", 0.0)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)
    answers = lambda i, _body, _attempt: Result(f"text {i[:6]}")  # noqa: E731
    with BatchServer(answer=answers, polls=1) as started:
        yield started


def open_llm(server, path: Path, *, kind: str = "openai", **options) -> LLM:
    limits = options.pop("limits", None)
    settings = {"model": "m", "base_url": server.url, "batch": True, "price": PRICE} | options
    if kind == "openai":
        backend = OpenAICompatibleBackend(OpenAICompatible(**settings), 0)
    else:
        backend = AnthropicBackend(Anthropic(**settings), 0)
    return LLM(backend, store=Store(path / "s.sqlite"), run="r", limits=limits)


def ask(n: int) -> list[Request]:
    return [Request("p", "s") for _ in range(n)]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_answers_of_a_batch_are_stored_counted_and_in_order(server, tmp_path, kind):
    llm = open_llm(server, tmp_path, kind=kind)
    answers = llm.generate(ask(7), phase="test")
    ids = [answer.request_id for answer in answers]
    assert [a.text for a in answers] == [f"text {i[:6]}" for i in ids]
    assert len(server.batches) == 1
    assert llm.usage.prompt_tokens > 0
    assert llm.usage.usd > 0
    assert llm.usage.requests == 7
    llm.close()
    again = open_llm(server, tmp_path, kind=kind)
    assert again.generate(ask(7), phase="test") == answers
    assert (again.usage.from_store, len(server.batches)) == (7, 1)
    again.close()


def test_a_batch_outlives_the_run_that_sent_it(server, tmp_path):
    server.polls = 10**9
    llm = open_llm(server, tmp_path)
    told: list[str] = []

    def stop_when_it_is_out(status):
        if "1 batch out" in status.note and not told:
            told.append(status.note)
            # As Ctrl-C does.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    llm.on_progress = stop_when_it_is_out
    with pytest.raises(KeyboardInterrupt):
        llm.generate(ask(5), phase="test")
    assert "the same command collects them" in told[0]
    llm.close()
    server.polls = 0
    again = open_llm(server, tmp_path)
    answers = again.generate(ask(5), phase="test")
    assert all(isinstance(answer, Completion) for answer in answers)
    assert len(server.batches) == 1
    again.close()


def test_a_cap_holds_for_batches(server, tmp_path):
    # A prompt of one byte and 64 of overhead, and 35 tokens: at most 100 tokens, 0.1 USD.
    llm = open_llm(server, tmp_path, max_tokens=35, limits=Limits(usd=0.35))
    with pytest.raises(LimitReachedError, match=r"limits\.usd"):
        llm.generate(ask(50), phase="test")
    first = sum(len(batch.requests) for batch in server.batches)
    assert 0 < first < 50
    assert llm.usage.usd <= 0.35
    llm.close()
    more = open_llm(server, tmp_path, max_tokens=35, limits=Limits(usd=100))
    assert len(more.generate(ask(50), phase="test")) == 50
    assert sum(server.sent.values()) == 50
    more.close()


def test_a_line_that_failed_is_sent_again_far_below_a_cap(server, tmp_path):
    first: list[str] = []

    def answer(request_id: str, _body: object, attempt: int) -> Result:
        first.append(request_id)
        is_hurt = request_id == first[0] and attempt == 1
        return Result(status=500, message="oops") if is_hurt else Result("fine")

    server.answer = answer
    llm = open_llm(server, tmp_path, limits=Limits(requests=1000))
    assert {a.text for a in llm.generate(ask(10), phase="test")} == {"fine"}
    assert llm._store is not None
    assert llm._store.spent("r").requests == 11
    llm.close()


def test_lines_that_fail_count_for_a_cap_on_requests(server, tmp_path):
    server.answer = lambda *_: Result(status=500, message="oops")
    llm = open_llm(server, tmp_path, max_attempts=1, limits=Limits(requests=20))
    for _ in range(2):
        failed = llm.generate(ask(10), phase="test")
        assert all(isinstance(each, Failed) and "oops" in each.message for each in failed)
    with pytest.raises(LimitReachedError, match="20 requests were sent"):
        llm.generate(ask(10), phase="test")
    llm.close()
    assert server.sent.total() == 20
