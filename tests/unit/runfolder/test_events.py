"""`events.jsonl`: whole lines whatever happens, few of them, and nothing lost at a phase's end."""

import errno
import json
import os
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest

from stepsynth._util.disk import as_disk_trouble
from stepsynth.llm.core.usage import Status, Usage
from stepsynth.observer import Observer
from stepsynth.runfolder.events import Cadence, EventLog, UsageLog, last_progress, read_events
from stepsynth.runner.shown import ShownGold
from stepsynth.runner.totals import by_cause, llm_totals, retried_by_cause


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Heard(Observer):
    def __init__(self) -> None:
        self.heard: list[object] = []

    def progress(self, phase: str, done: int, total: int) -> None:
        self.heard.append((phase, done, total))

    def warn(self, message: str) -> None:
        self.heard.append(message)


def status(done: int, total: int | None = 10, phase: str = "seed data", **more: object) -> Status:
    usage = Usage(requests=done, prompt_tokens=10 * done)
    given = {"in_flight": 2, "allowed": 4, "per_second": 1.5, "usage": usage, **more}
    return Status(phase, done, total, **given)


def test_lines_of_many_threads_are_whole(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")

    def write(name: int) -> None:
        for i in range(200):
            log.write("usage", thread=name, i=i, text="x\u2028y" * 50)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert Counter(row["thread"] for row in rows) == dict.fromkeys(range(8), 200)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


@pytest.mark.parametrize("torn", ['{"event": "usage", "do', '{"event": "usage"}', "\u00fc"])
def test_a_line_that_a_killed_process_left_is_cut_off(tmp_path, torn):
    path = tmp_path / "events.jsonl"
    whole = '{"event": "start"}\n'
    path.write_bytes(whole.encode() + torn.encode()[: -1 if torn == "\u00fc" else None])
    assert next(read_events(path)) == {"event": "start"}
    log = EventLog(path)
    log.write("start")
    log.close()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["start", "start"]


def test_a_file_that_is_but_a_torn_line_can_be_written(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"ev')
    assert list(read_events(path)) == []
    log = EventLog(path)
    log.write("start")
    log.close()
    assert [row["event"] for row in read_events(path)] == ["start"]


def test_events_that_are_not_there_are_none(tmp_path):
    assert list(read_events(tmp_path / "events.jsonl")) == []


def test_a_line_that_does_not_fit_the_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.write("start")
    before = path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    with pytest.raises(OSError, match="No space left") as caught:
        log.write("round", number=1)
    assert as_disk_trouble(caught.value) is not None
    assert path.read_bytes() == before
    log.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_the_engine_goes_on_where_a_line_cannot_be_written(tmp_path):
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    log, heard = EventLog(tmp_path / "events.jsonl"), Heard()
    usage = UsageLog(log, heard)
    usage.asking(status(10))
    usage.notice("the provider is down")
    usage.flush()
    assert heard.heard == [("seed data", 10, 10), "the provider is down"]
    with pytest.raises(OSError, match="No space left"):
        log.write("round")


def test_a_phase_is_written_now_and_then_and_at_its_end():
    written: list[int] = []
    clock = Clock()
    cadence = Cadence(written.append, 10.0, clock)
    for done in range(1001):
        clock.now = done / 10  # 100 s, ten reports a second
        cadence.tell("seed", done, is_end=done == 1000)
    assert written == [*range(100, 1001, 100)]
    cadence.flush()
    assert written[-1] == 1000


def test_a_phase_that_ends_a_thousand_times_is_bounded_by_time():
    written: list[int] = []
    clock = Clock()
    cadence = Cadence(written.append, 10.0, clock)
    for done in range(1000):
        clock.now = done / 100
        cadence.tell("in portions", done, is_end=True)
    assert written == [0]
    cadence.flush()
    cadence.flush()
    assert written == [0, 999]


def test_what_was_held_back_of_a_phase_comes_before_the_next_phase():
    written: list[str] = []
    cadence = Cadence(written.append, 10.0, Clock())
    cadence.tell("rationale", "rationale once", is_end=True)
    cadence.tell("rationale", "rationale again", is_end=True)
    cadence.tell("seed data", "seed data", is_end=True)
    cadence.flush()
    assert written == ["rationale once", "rationale again", "seed data"]


def test_the_last_of_a_phase_without_a_total_is_written_too(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    usage = UsageLog(log, Observer())
    for done in range(5):
        usage.asking(status(done, None))
    usage.flush()
    log.close()
    (row,) = read_events(tmp_path / "events.jsonl")
    assert (row["event"], row["done"], row["total"]) == ("usage", 4, None)


def test_a_usage_line_says_all_and_is_a_copy(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    usage = Usage(
        requests=12,
        from_store=3,
        retries=2,
        failures=Counter(timeout=1),
        setbacks=Counter(rate_limit=2, timeout=1),
        prompt_tokens=100,
        completion_tokens=50,
        cached_tokens=40,
        reasoning_tokens=20,
        usd=0.25,
    )
    watched = UsageLog(log, Observer())
    watched.asking(status(5, usage=usage, note="the provider is down"))
    usage.requests, usage.usd = 99, None  # after the report: it is held until the flush
    watched.flush()
    log.close()
    (row,) = read_events(tmp_path / "events.jsonl")
    row.pop("time")
    assert row == {
        "event": "usage",
        "phase": "seed data",
        "done": 5,
        "total": 10,
        "in_flight": 2,
        "allowed": 4,
        "per_second": 1.5,
        "requests": 12,
        "from_store": 3,
        "retries": 2,
        "setbacks": {"rate_limit": 2, "timeout": 1},
        "failures": {"timeout": 1},
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cached_tokens": 40,
        "reasoning_tokens": 20,
        "usd": 0.25,
        "note": "the provider is down",
    }


def test_an_observer_that_knows_progress_alone_hears_of_requests():
    heard = Heard()
    heard.asking(status(3))
    heard.asking(status(3, None))
    assert heard.heard == [("seed data", 3, 10)]


def test_what_a_kept_row_costs_is_unknown_rather_than_wrong():
    usage = Usage(prompt_tokens=900, completion_tokens=100, usd=0.5)
    totals = llm_totals(
        usage, {"refusal": 2}, ShownGold(), backend="openai_compatible", kept_rows=50
    )
    assert (totals.tokens_per_kept_row, totals.usd_per_kept_row) == (20.0, 0.01)
    for changed, rows in (
        ({"usd": None, "prompt_tokens": 0, "completion_tokens": 0}, 50),  # not counted
        ({}, None),  # stopped before the end
        ({}, 0),
    ):
        given = Usage(**{"prompt_tokens": 9, "usd": 0.5, **changed})
        totals = llm_totals(given, {}, ShownGold(), backend="openai_compatible", kept_rows=rows)
        assert (totals.tokens_per_kept_row, totals.usd_per_kept_row) == (None, None)
    gold = llm_totals(Usage(usd=None), {}, ShownGold(), backend=None, kept_rows=50)
    assert gold.usd == 0.0
    assert gold.usd_per_kept_row is None


def test_causes_in_words():
    retried = retried_by_cause({"rate_limit": 10, "timeout": 8}, {"timeout": 6, "refused": 1})
    assert by_cause(retried, "retried") == "12 retried: 10 rate_limit, 2 timeout"
    assert by_cause({"refused_request": 1}, "failed") == "1 failed: refused_request"
    assert by_cause({}, "failed") == ""


def test_a_full_disk_is_told_from_a_bug():
    def behind(error: BaseException) -> BaseException:
        try:
            try:
                raise error
            except type(error):
                raise RuntimeError("cannot save") from error
        except RuntimeError as outer:
            return outer

    full = OSError(errno.ENOSPC, "No space left on device", "/data/model.npz")
    sqlite_full = sqlite3.OperationalError("database or disk is full")
    sqlite_full.sqlite_errorcode = sqlite3.SQLITE_FULL
    for error in (full, behind(full), OSError(errno.EDQUOT, "Quota exceeded"), sqlite_full):
        found = as_disk_trouble(error)
        assert found is not None
        assert found.exit_code == 2
        assert "the disk is full" in found.message
        assert "free some space" in found.hint
    assert as_disk_trouble(full).message.startswith("/data/model.npz: ")
    for error in (OSError(errno.EACCES, "no"), ValueError("full"), sqlite3.OperationalError("x")):
        assert as_disk_trouble(error) is None


@pytest.mark.parametrize(
    ("number", "said", "hint"),
    [
        (errno.EFBIG, "the file may grow no larger", "ulimit -f"),
        (errno.EMFILE, "too many files are open", "ulimit -n"),
        (errno.EROFS, "may not be written to", "read-only"),
        (errno.EACCES, "may not be written to", "owns"),
        (errno.ENAMETOOLONG, "the name is too long", "shorter"),
        (errno.EISDIR, "in each other's place", "move away"),
        (errno.EIO, "cannot be read or written", "broken"),
    ],
)
def test_what_a_disk_does_not_allow_is_told_from_a_bug(number, said, hint):
    found = as_disk_trouble(OSError(number, os.strerror(number), "/data/run/x.json"))
    assert (found.exit_code, found.message.startswith("/data/run/x.json: ")) == (2, True)
    assert said in found.message
    assert hint in found.hint


def test_the_last_progress_is_that_of_the_last_whole_line(tmp_path):
    path = tmp_path / "events.jsonl"
    assert last_progress(path) is None
    log = EventLog(path)
    log.write("start")
    assert last_progress(path) is None
    for i in range(300):
        log.write("usage", phase="seed data", done=i, total=300, note="x" * 50)
    log.write("round", round=0)
    log.close()
    with path.open("a") as file:
        file.write('{"event": "usage", "phase": "half wri')
    assert last_progress(path)["done"] == 299
