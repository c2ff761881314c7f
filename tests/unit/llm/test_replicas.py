"""Several servers of one LLM: the load is shared, and one that is down costs no answer."""

import threading
import time
from contextlib import ExitStack

import pytest
from pydantic import ValidationError

from stepsynth.llm import LLM, Completion, Request
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.chat import replicas
from stepsynth.llm.chat.replicas import Replicas
from stepsynth.llm.store.store import Store
from tests.stub_server import StubServer, completion, failure

GONE = "http://127.0.0.1:9/v1"


@pytest.fixture
def two():
    with ExitStack() as stack:
        yield [
            stack.enter_context(StubServer(lambda _, body: completion(f"note {body['seed']}")))
            for _ in range(2)
        ]


def open_llm(first, *others, store=None, **settings):
    spec = OpenAICompatible(model="m", base_url=[first, *others], **settings)
    return LLM(OpenAICompatibleBackend(spec, 0), store=store)


def ask(llm, n=60):
    try:
        return llm.generate([Request("Write.", "s")] * n, phase="test")
    finally:
        llm.close()


def test_servers_share_the_load_and_the_answers_are_those_of_one(two):
    for server in two:
        server.delay_s = 0.02
    alone = ask(open_llm(two[0].url, concurrency=8))
    before = len(two[0].bodies)
    both = ask(open_llm(two[0].url, two[1].url, concurrency=8))
    assert both == alone, "ids too: a store of one server serves several"
    assert len(two[0].bodies) - before > 10
    assert len(two[1].bodies) > 10


def test_a_server_that_is_not_there_is_left_out(two):
    answers = ask(open_llm(GONE, two[1].url, concurrency=8))
    assert all(isinstance(answer, Completion) for answer in answers)
    assert len(two[1].bodies) == 60


def test_a_server_that_loads_its_model_is_left_out_and_comes_back(two, monkeypatch):
    monkeypatch.setattr(replicas, "FIRST_PAUSE_S", 0.05)
    two[0].answer = lambda number, body: (
        failure(503, "loading") if number <= 3 else completion(f"note {body['seed']}")
    )
    for server in two:
        server.delay_s = 0.01
    answers = ask(open_llm(two[0].url, two[1].url, concurrency=4), 200)
    assert all(isinstance(answer, Completion) for answer in answers)
    assert len(two[0].bodies) > 20


def test_a_server_that_dies_and_comes_back_loses_nothing_and_nothing_is_paid_twice(two, tmp_path):
    for server in two:
        server.delay_s = 0.01
    llm = open_llm(two[0].url, two[1].url, concurrency=8, store=Store(tmp_path / "s.sqlite"))

    def die():
        while len(two[0].bodies) < 40:
            time.sleep(0.005)
        two[0].answer = lambda *_: failure(502, "bad gateway")

    threading.Thread(target=die, daemon=True).start()
    answers = ask(llm, 400)
    assert all(isinstance(answer, Completion) for answer in answers)
    seeds = [body["seed"] for server in two for body in server.bodies]
    in_flight = 8
    assert len(seeds) - len(set(seeds)) <= in_flight + 20, "but for those that met the 502"


def test_servers_that_are_all_down_are_waited_for_like_one():
    llm = open_llm(GONE, "http://127.0.0.1:10/v1", patience_s=1)
    with pytest.raises(Exception, match="cannot be reached"):
        ask(llm, 4)


def test_the_least_busy_server_is_next_and_none_twice():
    several = Replicas(["a", "b"])
    first = several.next([])
    with first.asked():
        assert several.next([]).url == "b"
        assert several.next([several.all[1]]).url == "a"
        assert several.next(several.all) is None
    several.all[0].fail()
    assert several.next([]).url == "b"
    several.all[1].fail()
    assert several.next([]) is not None, "the one that may be up soonest is asked all the same"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": [GONE, "ftp://x"]}, "http://"),
        ({"base_url": [GONE, "http://me:secret@x/v1"]}, "no name or password"),
        ({"base_url": []}, "at least 1 item"),
        ({"base_url": [GONE, GONE], "batch": True}, "a batch API has one endpoint"),
    ],
)
def test_what_cannot_be_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said) as caught:
        OpenAICompatible(model="m", **settings)
    assert "secret" not in str(caught.value)


def test_more_servers_are_not_another_run():
    one = OpenAICompatible(model="m", base_url=GONE)
    two = OpenAICompatible(model="m", base_url=[GONE, "http://127.0.0.1:10/v1"])
    assert one.identity() == two.identity()
    assert one.request_identity() == two.request_identity()


@pytest.mark.parametrize("status", [500, 429, 408])
def test_a_server_that_fails_at_once_does_not_draw_the_requests(two, status):
    two[0].answer = lambda *_: failure(status, "not now")
    two[1].delay_s = 0.02
    answers = ask(open_llm(two[0].url, two[1].url, concurrency=8), 100)
    assert all(isinstance(answer, Completion) for answer in answers)
    assert len(two[1].bodies) == 100
    assert len(two[0].bodies) < 20
