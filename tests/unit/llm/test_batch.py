"""Batches: nothing lost, nothing sent twice, whatever breaks and whenever."""

import asyncio
import inspect
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stepsynth.errors import LimitReachedError, ProviderError, RunFolderError
from stepsynth.llm.backends.anthropic import Anthropic, AnthropicBackend
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.batches.driver import collect
from stepsynth.llm.core.batch_api import BatchHooks, BatchState
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Completion, Request
from stepsynth.llm.store import batch_ledger
from stepsynth.llm.store.batch_ledger import BATCHES_TABLE, SQLiteLedger
from tests.batch_server import KEY, BatchServer, Result


@pytest.fixture(params=["openai_compatible", "anthropic"])
def name(request: pytest.FixtureRequest) -> str:
    """Each provider, over HTTP."""
    return request.param


def make_jobs(n: int) -> list[tuple[str, Request]]:
    return [
        (f"{i:032x}", Request(f"prompt {i}\u2028 \x85 é \ud800", "s", draw=i)) for i in range(n)
    ]


JOBS = make_jobs(7)
IDS = [request_id for request_id, _ in JOBS]


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10)
    connection.execute("PRAGMA synchronous=OFF")  # what is killed here is never the machine
    return connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    connection = connect(tmp_path / "store.sqlite")
    connection.execute(BATCHES_TABLE)
    connection.close()
    return tmp_path / "store.sqlite"


class Desk:
    """The engine's side: keeps what is delivered, takes note of what is said."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Any]] = {}
        self.states: list[str] = []
        self.notices: list[str] = []
        self.slept: list[float] = []
        self.is_stopped: Callable[[], bool] = lambda: False

    async def deliver(self, request_id: str, outcome: Any) -> None:
        self.kept.setdefault(request_id, []).append(outcome)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def hooks(self, **changes: Any) -> BatchHooks:
        return BatchHooks(
            **{
                "deliver": self.deliver,
                "sleep": self.sleep,
                "on_state": self.states.append,
                "on_notice": self.notices.append,
                "is_stopped": lambda: self.is_stopped(),
                "find_stored": lambda ids: self.kept.keys() & set(ids),
                **changes,
            }
        )

    def outcomes(self) -> dict[str, Any]:
        assert all(len(each) == 1 for each in self.kept.values()), "delivered twice"
        return {request_id: each[0] for request_id, each in self.kept.items()}

    def missing(self, jobs: list[tuple[str, Request]]) -> list[tuple[str, Request]]:
        return [job for job in jobs if job[0] not in self.kept]


class Provider:
    """A batch API in memory; outlives the processes that use it."""

    provider = "fake"
    max_requests = 3
    max_bytes = 10_000
    frame = (b"", b"\n", b"\n")

    def __init__(self, *, shows_batches: bool = True) -> None:
        self.batches: dict[str, tuple[str, list[str]]] = {}
        self.sent: Counter[str] = Counter()
        self.sizes: list[int] = []
        self.polls: Counter[str] = Counter()
        self.shows_batches = shows_batches
        self.fails_once: set[str] = set()

    def line(self, request_id: str, request: Request) -> bytes:
        return json.dumps([request_id, request.prompt]).encode()

    async def submit(self, file: Any, token: str) -> str:
        content = file.read()
        ids = [json.loads(line)[0] for line in content.splitlines()]
        name = f"b{len(self.batches)}"
        self.batches[name] = (token, ids)
        self.sent.update(ids)
        self.sizes.append(len(content))
        return name

    async def find(self, lost: Any, known: Any) -> str | None:
        if not self.shows_batches:
            raise GiveUpError("refused_request", "there is no list")
        return next((n for n, (token, _) in self.batches.items() if token == lost.token), None)

    async def poll(self, batch: str) -> BatchState:
        self.polls[batch] += 1
        return BatchState("ended" if self.polls[batch] > 1 else "running")

    async def results(self, batch: str) -> Any:
        ids = list(self.batches[batch][1])
        random.Random(batch).shuffle(ids)
        for each in ids:
            await asyncio.sleep(0)
            fails = each in self.fails_once and self.sent[each] == 1
            yield each, RetryLaterError("server_error", "later") if fails else Completion(each)

    async def cancel(self, batch: str) -> None: ...


class Killed(BaseException):
    """The process is gone: nothing that it still tries has an effect."""


class Life:
    """Ends at a step; a step is a moment before or after a call."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise Killed

    def wrap(self, function: Any) -> Any:
        async def call(*args: Any) -> Any:
            self.step()
            result = await function(*args)
            self.step()
            return result

        async def generate(*args: Any) -> Any:
            self.step()
            async for each in function(*args):
                yield each
                self.step()

        def call_now(*args: Any) -> Any:
            self.step()
            result = function(*args)
            self.step()
            return result

        if inspect.isasyncgenfunction(function):
            return generate
        return call if inspect.iscoroutinefunction(function) else call_now


class Mortal:
    """A thing whose calls are steps of a life."""

    def __init__(self, thing: Any, life: Life, but: tuple[str, ...] = ()) -> None:
        self._thing, self._life, self._but = thing, life, but

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._thing, name)
        return self._life.wrap(value) if callable(value) and name not in self._but else value


def run(
    api: Any,
    path: Path,
    jobs: Any = None,
    desk: Desk | None = None,
    life: Life | None = None,
    **hooks: Any,
) -> Desk:
    """Be one process, from start to end or death; return the desk, a new one if none is given."""
    desk = desk or Desk()
    batch_ledger._SENDING.clear()
    connection = connect(path)
    ledger: Any = SQLiteLedger(connection)
    if life is not None:
        api, ledger = Mortal(api, life, but=("line",)), Mortal(ledger, life)
        hooks["deliver"] = life.wrap(desk.deliver)
    missing = desk.missing(jobs or JOBS)
    try:
        asyncio.run(collect(api, missing, ledger, desk.hooks(**hooks), max_attempts=3))
    finally:
        connection.close()
    return desk


@pytest.mark.parametrize("shows_batches", [True, False])
def test_killed_at_any_step_nothing_is_lost_and_nothing_sent_twice(path, tmp_path, shows_batches):
    twice, steps = 0, 0
    for steps in range(1, 400):
        copy = tmp_path / f"{steps}.sqlite"
        copy.write_bytes(path.read_bytes())
        api, desk = Provider(shows_batches=shows_batches), Desk()
        api.fails_once = {IDS[1], IDS[5]}
        life = Life(steps)
        try:
            run(api, copy, desk=desk, life=life)
        except Killed:
            run(api, copy, desk=desk)
        assert sorted(desk.outcomes()) == IDS, steps
        expected = Counter({each: 2 if each in api.fails_once else 1 for each in IDS})
        if api.sent != expected:
            assert not shows_batches, steps
            assert any("sent again" in notice for notice in desk.notices)
            twice += 1
        connection = connect(copy)
        for batch in SQLiteLedger(connection).open_batches("fake"):
            assert desk.kept.keys() >= set(batch.requests), "a batch that nobody looks after"
        connection.close()
        if life.left > 0:
            break
    assert 50 < steps < 399, "it was not killed at each step"
    # Of four batches each may be lost in one window: taken by the provider, its id not on disk.
    assert twice == (0 if shows_batches else 8)


def test_only_what_nobody_is_sending_any_more_counts_as_lost(path):
    connection = connect(path)
    ledger = SQLiteLedger(connection)
    sending = ledger.take("fake", IDS, 2)
    assert sending is not None
    assert sending.requests == tuple(IDS[:2])
    assert [each.is_lost for each in ledger.open_batches("fake")] == [False]
    here, child = socket.gethostname(), subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for owner, age_s, is_lost in [
        (f"{child.pid}@{here}", 0, True),
        (f"{os.getppid()}@{here}", 9999, False),
        ("1@elsewhere", 60, False),
        ("1@elsewhere", 9999, True),
    ]:
        with connection:
            row = (owner, int(time.time()) - age_s)
            connection.execute("UPDATE batches SET owner = ?, created = ?", row)
        assert [each.is_lost for each in ledger.open_batches("fake")] == [is_lost], owner
    assert ledger.take("other", IDS, 9).requests == tuple(IDS)  # type: ignore[union-attr]


CHILD = """
import asyncio, sqlite3, sys
from stepsynth.llm.batches.driver import collect
from stepsynth.llm.store.batch_ledger import SQLiteLedger
from stepsynth.llm.core.types import Completion, Request
from stepsynth.llm.core.batch_api import BatchHooks
from tests.batch_server import BatchServer
from tests.unit.llm.test_batch import make_backend, make_jobs

async def main(name, url, path):
    backend = make_backend(BatchServer(url=url), name)
    connection = sqlite3.connect(path, timeout=10)
    async def deliver(request_id, outcome):
        assert isinstance(outcome, Completion)
        with connection:
            connection.execute("INSERT INTO kept VALUES (?)", (request_id,))
    kept = lambda: {i for (i,) in connection.execute("SELECT id FROM kept")}
    hooks = BatchHooks(deliver, sleep=lambda _: asyncio.sleep(0), find_stored=kept().intersection)
    api = backend.batch_api()
    api.max_requests = 4
    jobs = [job for job in make_jobs(10) if job[0] not in kept()]
    await collect(api, jobs, SQLiteLedger(connection), hooks, max_attempts=3)
    await backend.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_processes_that_are_killed_while_they_call_lose_nothing(server, path, name):
    connection = connect(path)
    with connection:
        connection.execute("CREATE TABLE kept (id TEXT PRIMARY KEY)")
    calls, deaths = 0, 0

    def fault(_request: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == deaths + 2:
            child.kill()
        return ""

    server.fault = fault
    while True:
        calls = 0
        child = subprocess.Popen([sys.executable, "-c", CHILD, name, server.url, str(path)])
        if (code := child.wait(60)) == 0:
            break
        assert code == -signal.SIGKILL
        deaths += 1
    assert deaths > 2
    assert len(list(connection.execute("SELECT id FROM kept"))) == 10
    assert set(server.sent.values()) == {1}
    connection.close()


class Slow(Provider):
    """Each call takes a while, so that two processes get between each other's steps."""

    rng = random.Random(0)

    async def wait(self) -> None:
        for _ in range(self.rng.randrange(6)):
            await asyncio.sleep(0)

    async def submit(self, file: Any, token: str) -> str:
        await self.wait()
        name = await super().submit(file, token)
        await self.wait()
        return name

    async def poll(self, batch: str) -> BatchState:
        await self.wait()
        return await super().poll(batch)


@pytest.mark.parametrize("seed", range(8))
def test_two_processes_share_the_work_and_send_nothing_twice(path, seed):
    api, desk = Slow(), Desk()
    api.rng = random.Random(seed)
    api.fails_once = {IDS[0], IDS[6]}
    jobs = make_jobs(20)

    async def one(order: list[Any]) -> None:
        await api.wait()
        connection = connect(path)
        await collect(api, order, SQLiteLedger(connection), desk.hooks(), max_attempts=3)
        connection.close()

    async def both() -> None:
        await asyncio.gather(one(jobs), one(jobs[::-1]))

    asyncio.run(both())
    assert desk.kept.keys() == {request_id for request_id, _ in jobs}
    assert all(n == (2 if each in api.fails_once else 1) for each, n in api.sent.items())


def test_what_another_process_had_answered_meanwhile_is_not_sent(path):
    api, stored = Provider(), set(IDS[2:5])
    desk = run(api, path, find_stored=stored.intersection)
    assert sorted(desk.outcomes()) == sorted(api.sent) == IDS[:2] + IDS[5:]


class Late(Provider):
    """Its results are not all there at first."""

    fetches = 0

    async def results(self, batch: str) -> Any:
        self.fetches += 1
        async for request_id, outcome in super().results(batch):
            if request_id != IDS[1] or self.fetches == 3:
                yield request_id, outcome


class Breaking(Provider):
    """A download of its results breaks off."""

    downloads = 0

    async def results(self, batch: str) -> Any:
        self.downloads += 1
        async for each in super().results(batch):
            yield each
            if self.downloads < 5:
                raise RetryLaterError("connection", "broken off")


@pytest.mark.parametrize("provider", [Late, Breaking])
def test_results_that_do_not_come_at_once_are_fetched_again_and_not_paid_again(path, provider):
    api = provider()
    assert sorted(run(api, path, JOBS[:3]).outcomes()) == IDS[:3]
    assert set(api.sent.values()) == {1}


def test_batches_are_split_by_bytes(path):
    api = Provider()
    api.max_requests, api.max_bytes = 100, 300
    jobs = [(str(i), Request("x" * (10 * i), "s")) for i in range(31)]
    outcomes = run(api, path, jobs).outcomes()
    assert (
        max(api.sizes) <= 300 < min(a + b for a, b in zip(api.sizes, api.sizes[1:], strict=False))
    )
    assert set(api.sent.values()) == {1}
    too_large = [i for i, outcome in outcomes.items() if isinstance(outcome, GiveUpError)]
    assert len(outcomes) == 31
    assert too_large == [i for i, r in jobs if len(api.line(i, r)) + 1 > 300] != []


def test_what_fails_as_a_whole_is_a_provider_error_and_can_be_sent_again(path):
    class Failing(Provider):
        async def poll(self, batch: str) -> BatchState:
            if batch == "b0":
                return BatchState("failed", message="line 3: bad model (bad)")
            return await super().poll(batch)

    api, desk = Failing(), Desk()
    with pytest.raises(ProviderError, match=r"b0 of 3 requests failed: line 3: bad model"):
        run(api, path, desk=desk)
    run(api, path, desk=desk)
    assert sorted(desk.outcomes()) == IDS
    assert [api.sent[each] for each in IDS] == [2, 2, 2, 1, 1, 1, 1]


async def send_nothing(_requests: Any) -> int:
    pytest.fail("sent")


def test_stopping_leaves_batches_running_and_days_later_they_are_collected(path):
    api, desk = Provider(), Desk()
    desk.is_stopped = lambda: bool(desk.states)
    run(api, path, desk=desk)
    assert desk.kept == {}
    assert desk.slept == []
    (state,) = desk.states
    assert state.startswith("3 batches out: 0 of 7 requests done; the next look in 5 s; Ctrl-C")
    desk.is_stopped = lambda: False
    resumed, returned = list[Request](), list[Request]()
    run(
        api,
        path,
        desk=desk,
        on_resumed=resumed.extend,
        on_returned=returned.extend,
        find_stored={IDS[0]}.intersection,  # another process has collected it by now
        before_submit=send_nothing,
    )
    assert sorted(desk.outcomes()) == IDS[1:]
    assert len(resumed) == 7
    assert returned == [JOBS[0][1]]


def test_pauses_grow_to_a_minute(path):
    class Long(Provider):
        async def poll(self, batch: str) -> BatchState:
            self.polls[batch] += 1
            return BatchState("ended" if self.polls[batch] > 12 else "running")

    desk = run(Long(), path, JOBS[:1])
    seconds = [int(state.split(" look in ")[1].split(" s;")[0]) for state in desk.states]
    assert seconds == [5, 8, 11, 17, 25, 38, 57, 60, 60, 60, 60, 60]
    assert max(desk.slept) <= 1  # so that a stop is seen at once


def test_a_cap_holds_batches_back_and_stops_the_run_once_nothing_is_out(path):
    api, desk = Provider(), Desk()
    free = [3]

    async def reserve(requests: Any) -> int:
        if not free[0]:
            raise LimitReachedError("the cap is reached")
        allowed = min(len(requests), free[0])
        free[0] -= allowed
        return allowed

    async def deliver(request_id: str, outcome: Any) -> None:
        await desk.deliver(request_id, outcome)
        free[0] += request_id == IDS[0]  # one of the answers cost less than was reserved

    with pytest.raises(LimitReachedError):
        run(api, path, desk=desk, before_submit=reserve, deliver=deliver)
    assert [ids for _, ids in api.batches.values()] == [IDS[:3], IDS[3:4]]
    assert sorted(desk.outcomes()) == IDS[:4]
    run(api, path, desk=desk)
    assert set(api.sent.values()) == {1}


def test_what_was_reserved_is_given_back_when_a_request_goes_into_another_batch(path):
    api = Provider()
    api.fails_once = {IDS[2]}
    reserved: Counter[int] = Counter()

    async def reserve(requests: Any) -> int:
        reserved.update(r.draw for r in requests)
        return len(requests)

    async def deliver(request_id: str, outcome: Any) -> None:
        reserved[int(request_id, 16)] -= 1

    returned = lambda requests: reserved.subtract(r.draw for r in requests)  # noqa: E731
    run(api, path, before_submit=reserve, deliver=deliver, on_returned=returned)
    assert set(reserved.values()) == {0}


def test_a_provider_that_stays_away_stops_the_run_and_nothing_is_lost(path):
    class Away(Provider):
        async def poll(self, batch: str) -> BatchState:
            raise RetryLaterError("server_error", "503: come back", retry_after_s=1e9)

    api, desk = Away(), Desk()
    with pytest.raises(ProviderError, match="come back") as caught:
        run(api, path, JOBS[:1], desk)
    assert "the same command collects" in caught.value.hint
    assert sum(desk.slept) < 12 * 601
    assert "the last look failed (503: come back)" in desk.states[0]
    api.__class__ = Provider
    run(api, path, JOBS[:1], desk)
    assert api.sent == {IDS[0]: 1}
    assert len(desk.outcomes()) == 1


def test_a_damaged_record_is_said(path):
    connection = connect(path)
    row = ("fake", "b0", "sent", 0, '["a', "t", "1@here")
    with connection:
        connection.execute("INSERT INTO batches VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", row)
    with pytest.raises(RunFolderError, match="record of batches is damaged"):
        run(Provider(), path)


def test_a_failure_of_the_store_stops_the_run_and_keeps_the_batch(path):
    api, desk = Provider(), Desk()

    async def deliver(request_id: str, _outcome: Any) -> None:
        if request_id == IDS[1]:
            raise RunFolderError("the disk is full")
        await desk.deliver(request_id, _outcome)

    with pytest.raises(RunFolderError, match="disk is full"):
        run(api, path, desk=desk, deliver=deliver)
    run(api, path, desk=desk)
    assert sorted(desk.outcomes()) == IDS
    assert set(api.sent.values()) == {1}


# Both providers, over HTTP.


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with BatchServer() as started:
        yield started


def make_backend(server: BatchServer, name: str) -> Any:
    if name == "anthropic":
        settings: Any = Anthropic(model="m", base_url=server.url, batch=True)
        return AnthropicBackend(settings, 0)
    settings = OpenAICompatible(model="m", base_url=server.url, batch=True)
    return OpenAICompatibleBackend(settings, 0)


def run_at(
    server: BatchServer,
    name: str,
    path: Path,
    jobs: Any = None,
    most: int = 4,
    desk: Desk | None = None,
    **hooks: Any,
) -> Desk:
    desk = desk or Desk()
    batch_ledger._SENDING.clear()

    async def start() -> None:
        backend = make_backend(server, name)
        backend.on_notice = desk.notices.append
        api = backend.batch_api()
        api.max_requests = most
        missing = desk.missing(jobs or make_jobs(10))
        connection = connect(path)
        try:
            ledger = SQLiteLedger(connection)
            await collect(api, missing, ledger, desk.hooks(**hooks), max_attempts=3)
        finally:
            connection.close()
            await backend.close()

    asyncio.run(start())
    return desk


def test_batches_end_to_end(server, path, name):
    server.answer = lambda i, body, _n: Result(f"{body['messages'][0]['content']} of {i}")
    desk = run_at(server, name, path)
    outcomes = desk.outcomes()
    for request_id, request in make_jobs(10):
        prompt = request.prompt.replace("\ud800", "\N{REPLACEMENT CHARACTER}")
        told = outcomes[request_id].text.replace("\ud800", "\N{REPLACEMENT CHARACTER}")
        assert told.split(" of ")[1] == request_id
        assert told.startswith(prompt[:8])
        tokens = (outcomes[request_id].prompt_tokens, outcomes[request_id].completion_tokens)
        assert tokens == (10, 5)
    assert [len(batch.requests) for batch in server.batches] == [4, 4, 2]
    assert set(server.sent.values()) == {1}
    assert desk.states[0].startswith("3 batches out: 0 of 10 requests done")
    assert desk.notices == []
    assert KEY.encode() not in path.read_bytes()


def test_errors_of_requests_are_sent_again_or_given_up(server, path, name):
    def answer(request_id: str, _body: Any, attempt: int) -> Result:
        if request_id == IDS[1]:
            return Result(status=500, message="oops") if attempt == 1 else Result("at last")
        if request_id == IDS[2]:
            return Result(status=400, message=f"too long, {KEY}")
        return Result(status=500, message="oops") if request_id == IDS[3] else Result()

    server.answer = answer
    desk = run_at(server, name, path, JOBS)
    outcomes = desk.outcomes()
    assert outcomes[IDS[1]].text == "at last"
    assert isinstance(outcomes[IDS[2]], GiveUpError)
    assert "too long" in outcomes[IDS[2]].raw
    assert KEY not in str(outcomes[IDS[2]]) + outcomes[IDS[2]].raw
    assert isinstance(outcomes[IDS[3]], RetryLaterError)
    assert server.sent == {each: {IDS[1]: 2, IDS[3]: 3}.get(each, 1) for each in IDS}


def test_what_expired_is_sent_again(server, path, name):
    server.endings = ["expired"]
    desk = run_at(server, name, path, JOBS, most=100)
    assert all(isinstance(each, Completion) for each in desk.outcomes().values())
    assert server.sent == {each: 1 + i % 2 for i, each in enumerate(IDS)}


def test_what_a_person_cancelled_is_sent_again_by_the_next_command_only(server, path, name):
    server.endings = ["cancelled"]
    desk = Desk()
    with pytest.raises(ProviderError, match="batch_0 was cancelled"):
        run_at(server, name, path, JOBS, most=100, desk=desk)
    assert sorted(desk.outcomes()) == IDS[::2]
    run_at(server, name, path, JOBS, most=100, desk=desk)
    assert sorted(desk.outcomes()) == IDS
    assert server.sent == {each: 1 + i % 2 for i, each in enumerate(IDS)}


NOISE = [
    b"",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"custom_id": 3}',
    b'{"custom_id": null, "response": []}',
    b'{"custom_id": "of somebody else"}',
    json.dumps({"custom_id": IDS[4], "response": [], "result": "x"}).encode()[:-9],
]


def test_lines_that_cannot_be_read_cost_only_their_requests(server, path, name):
    def answer(request_id: str, _body: Any, attempt: int) -> Result:
        is_broken = attempt == 1 and request_id == IDS[1]
        return Result(is_garbage=is_broken, is_missing=attempt == 1 and request_id == IDS[2])

    server.answer, server.noise = answer, NOISE
    desk = run_at(server, name, path, JOBS, most=100)
    assert all(isinstance(each, Completion) for each in desk.outcomes().values())
    assert server.sent == {each: 2 if each in IDS[1:3] else 1 for each in IDS}


@pytest.mark.parametrize(
    "result",
    [
        {"response": {"status_code": 200, "body": {"choices": "x"}}, "result": {"type": "x"}},
        {"response": {"status_code": 200}, "result": {"type": "succeeded", "message": []}},
        {"response": {"status_code": "200"}, "result": {"type": "errored", "error": 3}},
        {"response": None, "error": "x", "result": None},
        {
            "error": {"code": [], "message": {}},
            "result": {"type": "errored", "error": {"type": []}},
        },
    ],
)
def test_results_of_a_wrong_form_are_sent_again(server, path, name, result):
    server.noise = [json.dumps({"custom_id": IDS[0], **result}).encode()]
    server.answer = lambda _id, _body, attempt: Result(is_missing=attempt == 1)
    desk = run_at(server, name, path, [JOBS[0]], on_returned=lambda _: setattr(server, "noise", []))
    assert server.sent == {IDS[0]: 2}
    assert len(desk.slept) < 60, "the line was not read as a result"
    assert isinstance(desk.outcomes()[IDS[0]], Completion)


@pytest.mark.parametrize("page", [0, 5])
def test_a_batch_that_was_taken_while_the_connection_broke_is_found(server, path, name, page):
    def fault(request: Any) -> str:
        is_new = request.method == "POST" and request.path.endswith("/batches")
        if is_new and not server.batches:
            return "break"
        if request.method == "GET" and request.path.endswith("/batches"):
            while len(server.batches) <= page:  # others have sent batches meanwhile
                server._start_batch({"x": {}, **{f"of-others-{i}": {} for i in range(page)}})
        return ""

    server.fault = fault
    desk = run_at(server, name, path, JOBS, most=100)
    assert sorted(desk.outcomes()) == IDS
    assert all(server.sent[each] == 1 for each in IDS)
    assert any("sent earlier is still out" in notice for notice in desk.notices)


@pytest.mark.parametrize("kind", ["refuse", "break"])
def test_a_server_that_fails_at_every_third_call_loses_nothing(server, path, name, kind):
    rng = random.Random(1)
    server.fault = lambda _request: kind if rng.random() < 1 / 3 else ""
    desk = run_at(server, name, path)
    assert len(desk.outcomes()) == 10
    assert set(server.sent.values()) == {1}


def test_a_wrong_key_or_url_stops_at_once_and_is_not_repeated(server, path, name, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-wrong-key")
    with pytest.raises(ProviderError, match="401") as caught:
        run_at(server, name, path)
    assert "sk-wrong" not in str(caught.value)
    server.url = "http://127.0.0.1:9/v1"
    desk = Desk()
    with pytest.raises(ProviderError, match="cannot be reached"):
        run_at(server, name, path, desk=desk)
    assert desk.slept == []


def test_a_batch_of_another_account_is_not_paid_again(server, path):
    desk = Desk()
    desk.is_stopped = lambda: bool(desk.states)
    run_at(server, "openai_compatible", path, desk=desk)
    server.batches.clear()
    desk.is_stopped = lambda: False
    with pytest.raises(
        ProviderError, match=r"batch_0 of 4 requests, sent 0\.0 days ago, is not kn"
    ):
        run_at(server, "openai_compatible", path, desk=desk)
    old = connect(path)
    with old:
        old.execute("UPDATE batches SET created = created - 31 * 86400")
    run_at(server, "openai_compatible", path, desk=desk)
    assert len(desk.outcomes()) == 10
    assert any("31 days old" in notice for notice in desk.notices)


def test_a_full_queue_takes_smaller_batches(server, path):
    server.queue = 3
    desk = run_at(server, "openai_compatible", path, most=100)
    assert len(desk.outcomes()) == 10
    assert set(server.sent.values()) == {1}
    assert [len(batch.requests) for batch in server.batches] == [10, 5, 5, 2, 2, 2, 2, 2]
    server.queue = 0
    with pytest.raises(ProviderError, match="Enqueued token limit reached"):
        run_at(server, "openai_compatible", path, JOBS)


def test_a_parameter_that_is_refused_is_left_out_of_the_next_batch(server, path, name):
    message = "Unsupported parameter: 'temperature' is not supported with this model."
    server.answer = lambda _id, body, _n: (
        Result(status=400, message=message, param="temperature")
        if "temperature" in body
        else Result()
    )
    desk = run_at(server, name, path, most=100)
    assert all(isinstance(each, Completion) for each in desk.outcomes().values())
    assert set(server.sent.values()) == {2}
    assert "temperature" in desk.notices[0]


def test_a_model_that_is_not_there_stops_the_run(server, path):
    server.answer = lambda *_: Result(status=404, message="model: m")
    with pytest.raises(ProviderError, match="404: model: m"):
        run_at(server, "anthropic", path, JOBS, most=100)
    server.answer = lambda *_: Result()
    desk = run_at(server, "anthropic", path, JOBS, most=100)
    assert sorted(desk.outcomes()) == IDS


def test_large_files_and_long_lines_pass(server, path, name):
    jobs = [(request_id, Request("é" * 600_000, "s")) for request_id in IDS[:4]]
    server.answer = lambda *_: Result("a" * 700_000)
    desk = run_at(server, name, path, jobs)
    assert {len(each.text) for each in desk.outcomes().values()} == {700_000}
    assert len(server.batches) == 1


def test_limits_are_those_that_the_provider_documents(server, name):
    api = make_backend(server, name).batch_api()
    expected = (50_000, 200_000_000) if name == "openai_compatible" else (100_000, 256_000_000)
    assert (api.max_requests, api.max_bytes) == expected


def test_results_that_can_never_be_fetched_stop_the_run(server, path):
    server.fault = lambda request: "refuse" if request.path.endswith("/content") else ""
    with pytest.raises(ProviderError, match="content answered 503") as caught:
        run_at(server, "openai_compatible", path, JOBS)
    assert "the same command collects" in caught.value.hint
    server.fault = lambda _request: ""
    desk = run_at(server, "openai_compatible", path, JOBS)
    assert sorted(desk.outcomes()) == IDS
    assert set(server.sent.values()) == {1}
