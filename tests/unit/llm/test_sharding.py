"""Large phases over several shards: the answers and the store of one process, whatever dies."""

import sqlite3
from concurrent.futures import BrokenExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from stepsynth.errors import ConfigError, LimitReachedError, ProviderError, RunFolderError
from stepsynth.llm import LLM, Completion, Failed, Limits, Request, ShardPlan, ShardReport
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.engine.sharding import DEATHS
from stepsynth.llm.store import Store, StoreReader, absorb_all
from stepsynth.llm.store.merge import read_spent
from tests.fakes import FakeBackend
from tests.shards import Threads, answer_with

ROWS = 1000


def say(request):
    return Completion(
        f"note {request.stream} {request.draw}", prompt_tokens=10, completion_tokens=5
    )


@pytest.fixture
def run(tmp_path):
    """Return a function that has requests answered, by shards or here."""
    notices: list[str] = []

    def run(name, *, shards=4, answer=None, rows=ROWS, limits=None, says=say):
        backend = FakeBackend(says, concurrency=8)
        path = tmp_path / name
        plan = ShardPlan(
            backend.settings, shards, path / "shards", Threads, answer or answer_with(say)
        )
        llm = LLM(
            backend,
            store=Store(path / "requests.sqlite"),
            run="r",
            limits=limits,
            shards=plan if shards > 1 else None,
        )
        llm.on_notice = notices.append
        requests = [Request(f"Write {i % 7}.", f"s{i % 3}", {"kind": "seed"}) for i in range(rows)]
        try:
            return llm.generate(requests, phase="test"), llm.usage
        finally:
            llm.close()

    run.notices = notices
    run.folder = tmp_path
    return run


def content(path):
    with StoreReader(path) as reader:
        rows = {(c.id, str(c.request), str(c.completion), c.settings) for c in reader.completions()}
        return rows, read_spent(reader)


def test_answers_usage_and_store_are_those_of_one_process(run):
    one, used = run("one", shards=1)
    several, used_there = run("several")
    assert several == one
    assert used_there.to_dict() == used.to_dict()
    stores = [run.folder / name / "requests.sqlite" for name in ("one", "several")]
    assert content(stores[0]) == content(stores[1])
    assert not (run.folder / "several/shards").exists()
    again, used = run("several", answer=answer_with(lambda _: pytest.fail("paid twice")))
    assert (again, used.requests, used.from_store) == (one, 0, ROWS)


def test_a_small_phase_is_not_cut(run):
    answers, _ = run("small", rows=100, answer=answer_with(lambda _: pytest.fail("cut")))
    assert len(answers) == 100


def test_limits_in_flight_and_rates_are_shared_out():
    settings = FakeBackend(say, concurrency=10, rpm=60, input_tpm=100).settings
    part = settings.share(4)
    assert (part.concurrency, part.rates) == (2, (15, 25, None))
    assert part.identity() == settings.identity()


class Dying:
    """Answers an order, but for some of its attempts, which end otherwise."""

    def __init__(self, *ends, says=say):
        self.left, self.orders, self.asked = list(ends), [], []
        self.says = says

    def __call__(self, order):
        self.orders.append(order)
        end = self.left.pop(0) if self.left else None
        if end is None:
            return answer_with(self._say)(order)
        if callable(end):
            return end(order, self)
        raise end

    def _say(self, request):
        self.asked.append((request.stream, request.draw))
        return self.says(request)

    def half(self, order):
        """Answer half of an order."""
        done = replace(order, requests=order.requests[: len(order.requests) // 2])
        return answer_with(self._say)(done)


def die_halfway(order, dying):
    dying.half(order)
    raise BrokenExecutor


def test_a_shard_that_dies_is_started_again_and_pays_nothing_twice(run):
    one, _ = run("one", shards=1)
    dying = Dying(die_halfway)
    answers, used = run("several", answer=dying)
    assert answers == one
    assert len(dying.asked) == len(set(dying.asked)) == used.requests == ROWS
    assert [n for n in run.notices if "its process died" in n]


def test_after_the_third_death_a_shard_is_given_up_by_name_and_the_rest_is_kept(run):
    first = []

    def die_in_one_block(order):
        first.append(order.requests[0].request.draw)
        if order.requests[0].request.draw == first[0] and order.store.name[0] == "1":
            raise BrokenExecutor
        return answer_with(say)(order)

    with pytest.raises(ConfigError, match="shard 1 was given up after 3 attempts"):
        run("several", answer=die_in_one_block)
    kept = len(content(run.folder / "several/requests.sqlite")[0])
    assert kept == ROWS - 256
    dying = Dying()
    answers, used = run("several", answer=dying)
    assert (len(answers), used.from_store, used.requests) == (ROWS, kept, 256)


def test_where_all_shards_die_the_phase_ends(run):
    with pytest.raises(ConfigError, match="was given up"):
        run("several", answer=Dying(*[BrokenExecutor()] * (4 * DEATHS)))


def damage(order, dying):
    dying.half(order)
    raw = bytearray(order.store.read_bytes())
    at = raw.rindex(b'"text": "note')
    raw[at : at + 4] = b"\xff\xfe\xfd\xfc"
    order.store.write_bytes(raw)
    return ShardReport(error=RunFolderError("it is damaged"))


def no_store_at_all(order, dying):
    order.store.parent.mkdir(exist_ok=True)
    order.store.write_bytes(b"this is no database" * 100)
    return ShardReport(error=RunFolderError("it is damaged"))


def lose_one(order, dying):
    report = answer_with(dying._say)(order)
    with closing(sqlite3.connect(order.store)) as connection, connection:
        connection.execute("DELETE FROM completions WHERE rowid = 3")
    return report


@pytest.mark.parametrize(
    ("end", "said", "again"),
    [
        (damage, "1 answers could not be read", 1),
        (no_store_at_all, "no store of completions, or it is damaged", 0),
        (lose_one, "does not hold what was written", 256),
    ],
)
def test_a_damaged_store_is_set_aside_and_what_it_lacks_is_asked_again(run, end, said, again):
    one, _ = run("one", shards=1)
    dying = Dying(end)
    answers, _ = run("several", answer=dying)
    assert answers == one
    assert len(dying.asked) - len(set(dying.asked)) == again
    assert [n for n in run.notices if said in n and ".damaged" in n]
    assert len(list((run.folder / "several/shards").glob("*.damaged"))) == 1


@pytest.mark.parametrize(
    "error", [ProviderError("the key is refused"), RunFolderError("s: the disk is full")]
)
def test_what_stops_one_shard_stops_the_run_and_what_it_has_is_kept(run, error):
    def stop_halfway(order, dying):
        dying.half(order)
        return ShardReport(error=error)

    with pytest.raises(type(error), match=error.message):
        run("several", answer=Dying(stop_halfway))
    assert len(content(run.folder / "several/requests.sqlite")[0]) >= 128


def test_a_worker_that_cannot_be_one_stops_the_run_with_its_cause(run):
    with pytest.raises(ConfigError, match="another version"):
        run("several", answer=Dying(ConfigError("another version")))


def test_caps_hold_over_all_shards_and_the_same_run_goes_on(run):
    limits = Limits(tokens=ROWS // 2 * 15)
    with pytest.raises(LimitReachedError, match=r"limits\.tokens is reached"):
        run("capped", limits=limits, says=say)
    rows, found = content(run.folder / "capped/requests.sqlite")
    requests, tokens = found["r"].requests, found["r"].tokens
    assert tokens <= ROWS // 2 * 15
    assert tokens > 0
    assert (len(rows), requests) == (tokens // 15, tokens // 15)
    _, used = run("capped", limits=Limits(tokens=10**9))
    assert used.requests == ROWS - len(rows)


def test_a_cap_on_requests_is_used_up_to_the_last_one(run):
    with pytest.raises(LimitReachedError, match="700 requests were sent"):
        run("capped", limits=Limits(requests=700))
    assert len(content(run.folder / "capped/requests.sqlite")[0]) == 700


def test_a_request_that_fails_again_and_again_is_given_up_under_a_cap_too(run):
    def fail_one(request):
        if (request.stream, request.draw) == ("s1", 5):
            raise RetryLaterError("server_error", "not now")
        return say(request)

    answers, used = run("capped", limits=Limits(requests=5000), answer=answer_with(fail_one))
    (failed,) = [answer for answer in answers if isinstance(answer, Failed)]
    assert failed.reason == "server_error"
    assert used.failures == {"server_error": 1}


def test_failures_are_told_as_here_and_kept_in_the_store(run):
    def refuse_some(request):
        if request.draw % 50 == 7:
            raise GiveUpError("refused_request", "no", raw="raw")
        return say(request)

    one, used = run("one", shards=1, says=refuse_some)
    several, used_there = run("several", answer=answer_with(refuse_some))
    assert several == one
    assert used_there.to_dict() == used.to_dict()
    paths = [run.folder / name / "requests.sqlite" for name in ("one", "several")]
    lost = [{f["id"]: f["reason"] for f in StoreReader(path).failures()} for path in paths]
    assert lost[0] == lost[1]
    assert len(lost[0]) == used.failures.total() > 3


def test_stores_that_a_killed_coordinator_left_are_taken_in_once(run):
    dying = Dying()
    left = []

    def keep_a_copy(order):
        report = dying(order)
        left.append((order.store, order.store.read_bytes()))
        return report

    run("several", answer=keep_a_copy)
    before = content(run.folder / "several/requests.sqlite")
    folder = run.folder / "several/shards"
    folder.mkdir()
    for path, raw in left:
        path.write_bytes(raw)
    assert list(absorb_all(folder, run.folder / "several/requests.sqlite", "r")) == []
    assert content(run.folder / "several/requests.sqlite") == before
    assert not folder.exists()


def test_a_stream_that_is_left_early_ends_its_shards(run):
    backend = FakeBackend(say, concurrency=8)
    plan = ShardPlan(backend.settings, 2, run.folder / "shards", Threads, answer_with(say))
    llm = LLM(backend, store=Store(run.folder / "s.sqlite"), run="r", shards=plan)
    endless = (Request("Write.", "s") for _ in iter(int, 1))
    stream = llm.stream(endless, phase="test", total=600)
    assert next(stream).text == "note s 0"
    stream.close()
    assert len(llm.generate([Request("Write.", "t")] * 600, phase="test")) == 600
    llm.close()
