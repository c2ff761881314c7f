"""How a run ends: nothing paid for is lost, nothing waits for ever, no key leaves."""

import asyncio
import threading
from typing import ClassVar

import pytest

from stepsynth._util.hashing import digest
from stepsynth.errors import ProviderError
from stepsynth.llm import LLM, Completion, Request
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.backends.scripted import Scripted
from stepsynth.llm.chat.http import JsonClient
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.usage import Spent
from stepsynth.llm.engine.endpoint import Endpoint
from stepsynth.llm.engine.queue import Flow
from stepsynth.llm.pacing.pace import Pace
from stepsynth.llm.store.store import Entry, Store
from tests.fakes import FakeBackend, FakeSettings

KEY = "a-key-of-ours-0123456789"


def ask(n: int, kind: str = "k") -> list[Request]:
    return [Request(f"p{i}", "s", {"kind": kind}) for i in range(n)]


class Raising(FakeBackend):
    """Raises the same error each time."""

    def __init__(self, error: Exception, **settings) -> None:
        super().__init__(lambda _: "", **settings)
        self.error = error

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        raise self.error


def in_thread(do) -> list[object]:
    """Return what a function returns or raises, or nothing if it hangs."""
    out: list[object] = []

    def run() -> None:
        try:
            out.append(do())
        except BaseException as error:
            out.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    return out


async def test_what_was_put_is_on_disk_once_the_store_is_closed(tmp_path):
    store = Store(tmp_path / "s.sqlite")
    store.put([Entry("i", {}, {"text": "t"})], "r", Spent(1), lambda _: None)
    store.close()
    again = Store(tmp_path / "s.sqlite")
    assert again.get_many(["i"]) == {"i": {"text": "t"}}
    assert again.spent("r").requests == 1
    again.close()


def test_who_is_cancelled_while_the_store_is_full_keeps_what_was_paid_for(tmp_path, monkeypatch):
    monkeypatch.setattr("stepsynth.llm.engine.llm.GRACE_S", 0.2)
    monkeypatch.setattr("stepsynth.llm.store.store.GROUP", 4)
    backend, store = FakeBackend(lambda _: "x", concurrency=32), Store(tmp_path / "s.sqlite")
    llm = LLM(backend, store=store)
    may_write, write = threading.Event(), store._write

    def write_later(group) -> None:
        if group.entries:
            may_write.wait(10)
        write(group)

    monkeypatch.setattr(store, "_write", write_later)
    flow = Flow("test", 32, None, lambda: 0.0)
    ended = llm._loop_thread().submit(llm._run(flow, map(llm._numbering.next, ask(32))))
    while len(backend.requests) < 32:
        threading.Event().wait(0.01)
    llm._loop_thread().loop.call_soon_threadsafe(flow.stop, None)
    threading.Event().wait(0.5)
    may_write.set()
    ended.result(10)
    request_ids = [llm.request_id(request) for request in backend.requests]
    assert len(store.get_many(request_ids)) == 32
    llm.close()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), ValueError("mine")])
def test_what_the_callers_requests_raise_reaches_the_caller(error):
    def requests():
        yield from ask(3)
        raise error

    llm = LLM(FakeBackend(lambda _: "x"))
    assert in_thread(lambda: list(llm.stream(requests(), phase="test"))) == [error]
    llm.close()


def test_a_stream_whose_requests_ask_the_same_llm_is_an_error_and_no_hang():
    llm = LLM(FakeBackend(lambda _: "x"))
    answers = llm.stream(ask(3), phase="test")
    requests = (Request(answer.text, "t") for answer in answers)
    (error,) = in_thread(lambda: list(llm.stream(requests, phase="test")))
    assert "list(llm.stream(...))" in str(error)
    llm.close()


def test_a_total_that_is_wrong_loses_nothing():
    llm = LLM(FakeBackend(lambda _: "x"))
    assert len(list(llm.stream(ask(9), phase="test", total=0))) == 9
    llm.close()


async def test_a_worker_that_wakes_up_after_the_stop_takes_nothing():
    flow = Flow("test", None, None, lambda: 0.0)
    waiting = asyncio.ensure_future(flow.next_job())
    await asyncio.sleep(0)
    flow.add([[]])
    flow.stop(None)
    assert await waiting is None


def test_one_of_several_llms_that_is_not_there_stops_the_run_at_once():
    there = FakeBackend(lambda _: "x")
    error = RetryLaterError("unreachable", "http://typo cannot be reached", is_unreachable=True)
    llm = LLM(there, phases={"k": [there, Raising(error, patience_s=0.1)]})
    with pytest.raises(ProviderError, match="typo") as caught:
        llm.generate(ask(50), phase="test")
    assert "base_url" in (caught.value.hint or "")
    llm.close()


def test_one_of_several_llms_that_refuses_everything_stops_the_run():
    there = FakeBackend(lambda _: "x")
    refusing = Raising(GiveUpError("refused_request", "no"), model="refusing", concurrency=1)
    llm = LLM(there, phases={"k": [there, refusing]})
    with pytest.raises(ProviderError, match="refusing refused 20 requests in a row"):
        llm.generate(ask(200), phase="test")
    llm.close()


class Free(FakeBackend):
    """Costs nothing, so nothing is stored."""

    class Settings(FakeSettings):
        stores_completions: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(lambda _: "free")
        self.settings = self.Settings()


def test_what_is_never_stored_is_never_claimed(tmp_path):
    llm = LLM(
        FakeBackend(lambda _: "x"), store=Store(tmp_path / "s.sqlite"), phases={"k": [Free()]}
    )
    other, request_ids = Store(tmp_path / "s.sqlite"), []

    def look(_) -> None:
        # While the phase goes on: a second process must not wait for these.
        request_ids.extend(row for (row,) in other._reader.execute("SELECT id FROM claims"))

    llm.on_progress = look
    requests = [*ask(300), *ask(1, "main")]
    llm._endpoints.main.backend.answer = lambda _: look(None) or "x"
    llm.generate(requests, phase="test")
    assert len(set(request_ids)) == 1
    llm.close()
    other.close()


async def test_patience_begins_anew_with_each_phase():
    clock = [0.0]
    pace = Pace(FakeSettings(patience_s=10), lambda: clock[0])

    def fail(times: int) -> None:
        for _ in range(times):
            pace.in_flight += 1
            pace.failed(RetryLaterError("server_error", "500"))

    fail(20)
    clock[0] = 3600.0
    assert pace.out_of_patience
    pace.begin_phase()
    fail(1)
    assert not pace.out_of_patience


def test_other_rules_are_other_answers():
    one, two = (Scripted(rules=[{"pattern": "x", "answers": [a]}]) for a in "ab")
    assert one.request_identity() != two.request_identity()


@pytest.mark.parametrize(
    "extra", [{"stop_token_ids": [1]}, {"prompt_cache_key": "a"}, {"guided_json": {"token": {}}}]
)
def test_what_only_sounds_like_a_key_is_sent(extra):
    assert OpenAICompatible(model="m", extra_body=extra).extra_body == extra


async def _post(answer: str, url: str = "{}/x") -> tuple[Exception, bytes]:
    """Return how a POST fails at a server that answers in these words, and what that received."""
    received = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received += await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.replace("{}", here).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    here = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = JsonClient(
        [url.format(f"http://{here}")],
        headers={"api-key": KEY},
        secrets=[KEY],
        timeout_s=5,
        most_bytes=1 << 20,
        key_hint="",
    )
    if url.startswith("https"):
        client._proxy = f"http://user:{KEY}@{here}"
    try:
        with pytest.raises((ProviderError, RetryLaterError, GiveUpError)) as caught:
            await client.post("", {})
        return caught.value, received
    finally:
        await client.close()
        server.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_key_does_not_follow_to_another_place(status):
    head = f"HTTP/1.1 {status} Moved\r\nLocation: http://{{}}/elsewhere?secret\r\n"
    error, received = await _post(f"{head}Content-Length: 0\r\n\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert isinstance(error, ProviderError)
    assert "/elsewhere" in str(error)
    assert "secret" not in str(error)


async def test_the_password_of_a_proxy_is_in_no_message():
    answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    error, _ = await _post(answer, "https://example.invalid")
    assert "the proxy answered 407" in str(error)
    assert KEY not in f"{error}{error.__cause__}"


@pytest.mark.parametrize("before", [0, 285, 3990])
async def test_no_part_of_a_key_is_left_where_a_message_is_cut(before):
    body = f"{'x' * before} {KEY}"
    answer = f"HTTP/1.1 400 Bad\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    error, _ = await _post(answer)
    assert isinstance(error, GiveUpError)
    assert KEY[:5] not in error.message + error.raw


def test_another_schema_is_another_request_and_none_is_as_before():
    settings = OpenAICompatible(model="m")
    endpoint = Endpoint(OpenAICompatibleBackend(settings, 0), 7, lambda: 0.0, print)
    asked = [Request('a "quoted" ü', "s", schema=s, draw=3) for s in (None, {}, {"type": "object"})]
    assert len({endpoint.request_id(request) for request in asked}) == 3
    whole = {"prompt": 'a "quoted" ü', "random_seed": 7, "stream": "s", "draw": 3}
    assert endpoint.request_id(asked[0]) == digest(settings.request_identity() | whole)
