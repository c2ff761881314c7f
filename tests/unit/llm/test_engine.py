"""The engine's contract: order, draws, durability, clean stops, what a request is."""

import asyncio
import random
import threading
from pathlib import Path

import pytest

from stepsynth.errors import ConfigError, PromptError, ProviderError
from stepsynth.llm import LLM, Completion, Request
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.core.errors import GiveUpError
from stepsynth.llm.core.usage import Usage
from stepsynth.llm.engine.limits import Limits
from stepsynth.llm.engine.queue import Flow, Item
from stepsynth.llm.store.store import Store
from tests.fakes import FakeBackend

PRICE = {"prompt": 1.0, "completion": 2.0}


def ask(n: int, prompt: str = "p", stream: str = "s") -> list[Request]:
    return [Request(prompt, stream) for _ in range(n)]


class Slow(FakeBackend):
    """Answers in another order than it is asked."""

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(random.Random(request.draw).random() / 50)
        return await super().complete(request)


class Failing(FakeBackend):
    """Raises what it is given, in turn, before it answers."""

    def __init__(self, errors, **settings):
        super().__init__(lambda r: f"answer {r.draw}", **settings)
        self.errors = list(errors)

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        if self.errors:
            raise self.errors.pop(0)
        return Completion(self.answer(request), prompt_tokens=3, completion_tokens=4)


@pytest.fixture
def open_llm(tmp_path: Path):
    opened: list[LLM] = []

    def open_(backend, **options) -> LLM:
        store = options.pop("store", "requests.sqlite")
        llm = LLM(backend, store=Store(tmp_path / store) if store else None, run="r", **options)
        opened.append(llm)
        return llm

    yield open_
    for llm in opened:
        llm.close()


def test_requests_of_a_stream_are_numbered_over_calls(open_llm):
    backend = FakeBackend(lambda r: f"{r.stream}{r.draw}")
    llm = open_llm(backend)
    first = llm.generate([*ask(2, stream="a"), *ask(1, stream="b")], phase="test")
    second = llm.generate(ask(2, stream="a"), phase="test")
    assert [a.text for a in [*first, *second]] == ["a0", "a1", "b0", "a2", "a3"]


def test_what_was_asked_is_never_asked_again(open_llm):
    answers = open_llm(FakeBackend(lambda r: f"x{r.draw}")).generate(ask(30), phase="test")
    backend = FakeBackend(lambda _: "another")
    again = open_llm(backend)
    assert again.generate(ask(30), phase="test") == answers
    assert backend.requests == []
    assert (again.usage.requests, again.usage.from_store) == (0, 30)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "q"},
        {"stream": "t"},
        {"random_seed": 1},
        {"model": "fake-2"},
        {"temperature": 0.1},
        {"max_tokens": 7},
    ],
)
def test_another_prompt_stream_seed_model_or_sampling_is_another_request(open_llm, change):
    open_llm(FakeBackend(lambda _: "x")).generate(ask(1), phase="test")
    asked = {k: change[k] for k in change if k in ("prompt", "stream")}
    settings = {k: change[k] for k in change if k in ("model", "temperature", "max_tokens")}
    backend = FakeBackend(lambda _: "y", **settings)
    llm = open_llm(backend, random_seed=change.get("random_seed", 0))
    (answer,) = llm.generate(ask(1, **asked), phase="test")
    assert answer.text == "y"


def test_no_more_than_concurrency_are_in_flight(server, open_llm):
    server.delay_s = 0.02
    settings = OpenAICompatible(model="m", base_url=server.url, concurrency=7)
    open_llm(OpenAICompatibleBackend(settings, 0)).generate(ask(60), phase="test")
    assert server.peak == 7


def test_a_failed_request_is_not_stored_and_a_rerun_tries_it_again(open_llm):
    open_llm(Failing([GiveUpError("refused_request", "400")])).generate(ask(1), phase="test")
    llm = open_llm(Failing([]))
    (answer,) = llm.generate(ask(1), phase="test")
    assert isinstance(answer, Completion)


def test_a_provider_error_stops_the_run(open_llm):
    backend = Failing([ProviderError("wrong key", hint="set it")] * 9, concurrency=2)
    with pytest.raises(ProviderError, match="wrong key"):
        open_llm(backend).generate(ask(100), phase="test")
    assert len(backend.requests) <= 2


@pytest.mark.parametrize(
    ("reason", "kind"), [("refused_request", ProviderError), ("too_long", PromptError)]
)
def test_many_failures_in_a_row_stop_the_run(open_llm, reason, kind):
    backend = Failing([GiveUpError(reason, "bad")] * 100, concurrency=1)
    with pytest.raises(kind, match="20 requests in a row; the last: bad"):
        open_llm(backend).generate(ask(100), phase="test")


def test_a_cap_on_usd_needs_a_price(open_llm):
    with pytest.raises(ConfigError, match="price of the LLM is not known"):
        open_llm(FakeBackend(lambda _: "x"), limits=Limits(usd=1))


def test_cost_is_the_providers_count_at_the_given_price_and_else_unknown(open_llm):
    priced = open_llm(Failing([], price=PRICE))
    priced.generate(ask(2), phase="test")
    assert priced.usage.usd == pytest.approx(2 * (3 * 1.0 + 4 * 2.0) / 1e6)
    unknown = open_llm(FakeBackend(lambda _: "x", price=PRICE), store=None)
    unknown.generate(ask(2), phase="test")
    assert unknown.usage.usd is None


async def test_a_call_works_where_an_event_loop_is_running(open_llm):
    assert len(open_llm(FakeBackend(lambda _: "x")).generate(ask(3), phase="test")) == 3


def test_progress_is_told_from_start_to_end(open_llm):
    seen: list[tuple[str, int, int | None]] = []
    llm = open_llm(FakeBackend(lambda _: "x"))
    llm.on_progress = lambda status: seen.append((status.phase, status.done, status.total))
    llm.generate(ask(3), phase="seed")
    assert (seen[0], seen[-1]) == (("seed", 0, 3), ("seed", 3, 3))


def test_what_the_store_had_says_nothing_of_how_long_the_rest_takes():
    now = [0.0]
    flow = Flow("seed", 2000, None, lambda: now[0])
    for place in range(1005):
        flow.found += place < 1000
        now[0] += 0.001 if place < 1000 else 10.0
        flow.deliver(place, Completion("x"))
        flow.tick(1)
    status = flow.status(1, 4, Usage(), "", 10.0)
    assert (status.done, status.left_s) == (1005, pytest.approx(995 * 10.0, rel=0.05))


def test_no_thread_is_left_behind(open_llm):
    before = set(threading.enumerate())
    llm = open_llm(FakeBackend(lambda _: "x"))
    llm.generate(ask(3), phase="test")
    assert "llm" in [thread.name for thread in set(threading.enumerate()) - before]
    llm.close()
    assert "llm" not in [thread.name for thread in set(threading.enumerate()) - before]


def test_a_new_store_may_be_opened_by_many_at_once(tmp_path):
    failed: list[Exception] = []

    def open_it(path, barrier):
        barrier.wait()
        try:
            Store(path).close()
        except Exception as error:
            failed.append(error)

    for n in range(20):
        given = tmp_path / f"{n}.sqlite", threading.Barrier(8)
        opening = [threading.Thread(target=open_it, args=given) for _ in range(8)]
        for thread in opening:
            thread.start()
        for thread in opening:
            thread.join()
    assert failed == []


def test_an_error_of_ours_lets_the_others_land_too(open_llm):
    class Broken(Slow):
        async def complete(self, request: Request) -> Completion:
            if request.draw == 3:
                raise KeyError("a bug")
            return await super().complete(request)

    with pytest.raises(KeyError):
        open_llm(Broken(lambda _: "x", concurrency=8)).generate(ask(8), phase="test")
    again = open_llm(FakeBackend(lambda _: "y"))
    again.generate(ask(8), phase="test")
    assert again.usage.from_store == 7


def test_a_stream_hands_over_in_order_and_starts_before_its_requests_are_used_up(open_llm):
    taken: list[int] = []

    def requests():
        for i in range(5000):
            taken.append(i)
            yield Request("p", "s")

    answers = open_llm(Slow(lambda r: str(r.draw), concurrency=64)).stream(
        requests(), phase="test", total=5000
    )
    first = next(answers)
    assert len(taken) < 5000
    assert [first.text, *(answer.text for answer in answers)] == [str(i) for i in range(5000)]


def test_a_stream_that_is_left_early_stops_and_keeps_what_it_paid_for(open_llm):
    backend = Slow(lambda r: str(r.draw), concurrency=8)
    stream = open_llm(backend).stream((Request("p", "s") for _ in range(10**6)), phase="test")
    next(stream)
    stream.close()
    again = open_llm(FakeBackend(lambda _: "new"))
    again.generate(ask(len(backend.requests)), phase="test")
    assert again.usage.from_store == len(backend.requests) < 10**6


def test_requests_of_a_phase_go_to_its_llms_in_turn(open_llm):
    main, one, two = (FakeBackend(lambda _, n=n: n, model=n) for n in ("main", "one", "two"))
    llm = open_llm(main, phases={"seed": [one, two]})
    asked = [Request("p", "s", {"kind": kind}) for kind in ("seed", "seed", "judge", "seed")]
    answers = llm.generate(asked, phase="test")
    assert [answer.text for answer in answers] == ["one", "two", "main", "one"]
    assert [answer.model for answer in answers] == ["one", "two", "main", "one"]


def test_draws_of_one_prompt_are_one_request_where_the_endpoint_can(open_llm):
    class Grouping(FakeBackend):
        group_size = 4

        async def complete_group(self, requests):
            sizes.append(len(requests))
            return [await self.complete(r) for r in requests[:3]]  # one fewer than asked for

    sizes: list[int] = []
    llm = open_llm(Grouping(lambda r: f"{r.prompt}{r.draw}"))
    asked = [Request("ab"[i % 2], "s") for i in range(16)]
    assert [a.text for a in llm.generate(asked, phase="test")] == [
        f"{'ab'[i % 2]}{i}" for i in range(16)
    ]
    assert sizes == [4, 4, 4, 4]
    assert llm.usage.requests == 8


def test_what_follows_an_unsent_request_takes_up_no_room():
    flow = Flow("p", None, 512, lambda: 0.0)
    unsent = [Item(place, str(place), Request("p", "s"), None) for place in range(3)]
    flow.taken = 512
    for place in range(3, 512):
        flow.deliver(place, Completion("text"))
    assert not flow.wants_more(256), "the first three hold up all others"
    flow.set_aside(unsent, ProviderError("closed"))
    assert flow.wants_more(256), "else the rest of the phase would wait for ever"
    flow.taken += 256
    for place in range(512, 768):
        flow.deliver(place, Completion("text"))
    assert flow.wants_more(256)
    flow.end()
    assert asyncio.run(flow.chunk()) == []
