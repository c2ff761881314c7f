"""The store against what happens to files: old ones, damaged ones, full disks, odd texts."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from stepsynth.errors import RunFolderError
from stepsynth.llm import LLM, Request
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.core.errors import GiveUpError
from stepsynth.llm.core.usage import Spent
from stepsynth.llm.store import schema
from stepsynth.llm.store.read import StoreReader
from stepsynth.llm.store.store import GROUP, Store
from stepsynth.llm.store.tools import export, summarize
from tests.fakes import FakeBackend

ROWS = 400
PROMPT = "Write a note on a fruit. " * 20


def ask(n=ROWS, prompt=PROMPT):
    return [Request(prompt, "s", {"kind": "seed"}) for _ in range(n)]


def run(path, rows=ROWS, *, answer="new", told=None):
    """Have the rows answered over a store; return the answers, the usage and the damaged rows."""
    backend = FakeBackend(lambda r: f"{answer} {r.draw}")
    llm = LLM(backend, store=Store(path), run="r")
    llm.on_notice = print if told is None else told.append
    try:
        answers = llm.generate(ask(rows), phase="test")
        return answers, llm.usage, set(llm._store.damaged)
    finally:
        llm.close()


def read(path):
    with StoreReader(path) as reader:
        return {stored.id: stored.completion["text"] for stored in reader.completions()}, reader


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a store that was closed."""
    path = tmp_path_factory.mktemp("good") / "store.sqlite"
    run(path, answer="old")
    return path.read_bytes()


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """The bytes of the two files of a store that a process has open."""
    path = tmp_path_factory.mktemp("live") / "store.sqlite"
    llm = LLM(FakeBackend(lambda r: f"old {r.draw}"), store=Store(path), run="r")
    llm.generate(ask(), phase="test")
    files = path.read_bytes(), path.with_name("store.sqlite-wal").read_bytes()
    llm.close()
    return files


OLD_TABLES = """
CREATE TABLE completions (
    id TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    completion TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE spent (
    run TEXT PRIMARY KEY,
    requests INTEGER NOT NULL,
    usd REAL NOT NULL
) WITHOUT ROWID;
PRAGMA user_version=1;
"""
OLD_ID = "0b98c9022d756a38c9c5dd99e91a902a"
"""What version 1 called draw 5 of OLD_PROMPT, of the LLM in `old_llm`."""
OLD_PROMPT = "Wríte one."


def make_old(path, rows=(), spent=(("r", 5, 0.5),)):
    connection = sqlite3.connect(path)
    connection.executescript(OLD_TABLES)
    completion = json.dumps({"text": "old", "truncated": False, "prompt_tokens": 3} | {}, indent=1)
    request = json.dumps({"prompt": OLD_PROMPT, "stream": "seed/a", "draw": 5, "tags": {}})
    values = [(name, request, completion) for name in (OLD_ID, *rows)]
    connection.executemany("INSERT INTO completions VALUES (?, ?, ?)", values)
    connection.executemany("INSERT INTO spent VALUES (?, ?, ?)", spent)
    connection.commit()
    connection.close()


def version(path):
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found


def test_a_store_of_version_1_is_brought_up_and_what_it_has_is_found(tmp_path):
    path = tmp_path / "old.sqlite"
    make_old(path, rows=["f" * 32])
    broken = sqlite3.connect(path)
    with broken:
        broken.execute("INSERT INTO completions VALUES ('0', '{}', 'no JSON')")
    broken.close()
    settings = OpenAICompatible(model="m", base_url="http://127.0.0.1:1/v1")
    llm = LLM(OpenAICompatibleBackend(settings, 3), random_seed=3, store=Store(path), run="r")
    asked = [Request(OLD_PROMPT, "seed/a", {})]
    # Nothing listens there: each answer must come from the store. Draws 0 to 4 are another stream.
    llm._numbering.draws["seed/a"] = 5
    (answer,) = llm.generate(asked, phase="test")
    assert (answer.text, answer.request_id) == ("old", OLD_ID)
    assert llm.usage.requests == 0
    # It did not count tokens: those of all completions may be this run's, which keeps to a cap.
    assert llm._store.spent("r") == Spent(5, 0.5, 6)
    llm.close()
    assert version(path) == 2
    assert read(path)[0] == {OLD_ID: "old", "f" * 32: "old"}


def test_a_store_of_version_1_is_read_as_it_is_by_what_only_reads(tmp_path):
    path = tmp_path / "old.sqlite"
    make_old(path, rows=["ff" * 16])
    assert set(read(path)[0]) == {OLD_ID, "ff" * 16}
    assert version(path) == 1


MIGRATE = """
import sys, time
from pathlib import Path
from stepsynth.llm.store.store import GROUP, Store
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
Store(Path(sys.argv[1])).close()
"""


@pytest.mark.slow
def test_processes_that_migrate_one_store_at_the_same_time(tmp_path):
    path = tmp_path / "old.sqlite"
    ids = [f"{n:032x}" for n in range(3000)]
    make_old(path, rows=ids)
    command = [sys.executable, "-c", MIGRATE, str(path), str(time.time() + 1.5)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in running] == ["", "", ""]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert set(read(path)[0]) == {*ids, OLD_ID}


# Every statement of the migration is the last one of some process.
KILLED = """
import os, sys
from pathlib import Path
from stepsynth.llm.store import schema
from stepsynth.llm.store.store import GROUP, Store
connect, left = schema.connect, [int(sys.argv[2])]
def count(statement):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), 9)
def traced(path):
    connection = connect(path)
    connection.set_trace_callback(count)
    return connection
schema.connect = traced
Store(Path(sys.argv[1])).close()
"""


@pytest.mark.parametrize("statements", [1, 3, 7, 12, 15, 18])
@pytest.mark.slow
def test_a_kill_in_the_middle_of_a_migration_leaves_the_old_store_or_the_new(tmp_path, statements):
    path = tmp_path / "old.sqlite"
    ids = [f"{n:032x}" for n in range(300)]
    make_old(path, rows=ids)
    command = [sys.executable, "-c", KILLED, str(path), str(statements)]
    assert subprocess.run(command, check=False).returncode == -9
    assert set(read(path)[0]) == {*ids, OLD_ID}
    assert version(path) in (1, 2)
    Store(path).close()
    assert version(path) == 2
    assert set(read(path)[0]) == {*ids, OLD_ID}


@pytest.mark.parametrize("length", [10, 50, 100, 1000, 4095, 4096, 5000, 0.5, -4096])
def test_a_file_that_was_cut_short_is_said_to_be_damaged(tmp_path, good, length):
    path = tmp_path / "cut.sqlite"
    path.write_bytes(good[: int(length * len(good)) if 0 < length < 1 else length])
    with pytest.raises(RunFolderError, match="damaged") as caught:
        run(path)
    assert "stepsynth store export" in caught.value.hint


def test_what_is_left_of_a_file_that_was_cut_short_can_be_read(tmp_path, good):
    path = tmp_path / "cut.sqlite"
    path.write_bytes(good[: len(good) // 2])
    left, reader = read(path)
    assert ROWS // 4 < len(left) < ROWS
    assert not reader.is_whole
    assert path.stat().st_size == len(good) // 2


@pytest.mark.parametrize("kind", ["zeros", "noise", "few bytes"])
def test_overwritten_pages_end_in_an_error_or_are_asked_again(tmp_path, good, kind):
    rng = random.Random(kind)
    pages, outcomes = len(good) // 4096, set()
    for _ in range(15):
        path = tmp_path / f"{kind}.sqlite"
        for file in tmp_path.glob("*"):
            file.unlink()
        start = rng.randrange(1, pages) * 4096
        damage = {"zeros": bytes(4096), "noise": rng.randbytes(4096)}.get(kind)
        if damage is None:
            start, damage = start + rng.randrange(4000), rng.randbytes(60)
        path.write_bytes(good[:start] + damage + good[start + len(damage) :])
        # What can be read is what was written, and all but a page's rows of it is there.
        left, _ = read(path)
        assert set(left.values()) <= {f"old {n}" for n in range(ROWS)} or kind == "few bytes"
        assert len(left) >= ROWS - 40 or start < 5 * 4096
        with suppress(RunFolderError):
            answers = None
            answers, usage, damaged = run(path)
        if answers is None:
            outcomes.add("said")
            continue
        assert len(answers) == ROWS
        assert usage.requests + usage.from_store == ROWS
        assert len(damaged) <= usage.requests
        outcomes.add("asked again" if usage.requests else "whole")
    assert outcomes > {"said"} if kind != "few bytes" else outcomes


@pytest.mark.slow
def test_whatever_is_overwritten_is_said_or_read_past(tmp_path, good):
    rng, outcomes, path = random.Random(0), Counter(), tmp_path / "store.sqlite"
    for _ in range(120):
        for file in tmp_path.glob("*"):
            file.unlink()
        content = bytearray(good)
        for _ in range(rng.choice((1, 3, 20))):
            size = rng.choice((1, 8, 60, 4096))
            start = rng.randrange(rng.choice((200, 4096, 60_000, len(good) - size)))
            content[start : start + size] = rng.randbytes(size)
        path.write_bytes(content[: len(good)])
        for use in (summarize, partial(export, out=tmp_path / "saved.jsonl"), run):
            try:
                use(path)
                outcomes["done"] += 1
            except RunFolderError:
                outcomes["said"] += 1
    assert min(outcomes["done"], outcomes["said"]) > 50


@pytest.mark.parametrize("share", [0, 0.2, 0.7, 0.999])
def test_a_newest_half_that_was_cut_short_leaves_what_was_before(tmp_path, live, share):
    main, newest = live
    path = tmp_path / "store.sqlite"
    path.write_bytes(main)
    path.with_name("store.sqlite-wal").write_bytes(newest[: int(share * len(newest))])
    _release_claims(path)
    answers, usage, _ = run(path)
    assert len(answers) == ROWS
    assert usage.from_store + usage.requests == ROWS
    # The last transaction of all holds no answer: it lets go of the claims.
    assert usage.from_store < ROWS or share > 0.99
    assert usage.from_store > 0 or share < 0.5


def test_a_newest_half_without_its_store_is_not_thrown_away(tmp_path, live):
    path = tmp_path / "store.sqlite"
    newest = path.with_name("store.sqlite-wal")
    newest.write_bytes(live[1])
    for _ in ("gone", "empty"):
        with pytest.raises(RunFolderError, match="empty or gone"):
            Store(path)
        assert newest.read_bytes() == live[1]
        path.write_bytes(b"")


def test_an_empty_file_is_a_new_store(tmp_path):
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"")
    assert run(path, 3)[1].requests == 3


def test_what_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("some notes\n" * 1000)
    for name, statement in (("mine", "CREATE TABLE x (y)"), ("newer", "PRAGMA user_version=99")):
        connection = sqlite3.connect(tmp_path / name)
        connection.execute(statement)
        connection.close()
    with pytest.raises(RunFolderError, match="belongs to something else"):
        Store(tmp_path / "mine")
    with pytest.raises(RunFolderError, match="newer stepsynth"):
        Store(tmp_path / "newer")
    with pytest.raises(RunFolderError, match="this is a folder"):
        Store(tmp_path / "folder")
    with pytest.raises(RunFolderError, match="no store of completions"):
        Store(tmp_path / "text")
    with pytest.raises(RunFolderError, match="cannot be written"):
        Store(tmp_path / "text" / "store.sqlite")
    assert (tmp_path / "text").read_text() == "some notes\n" * 1000
    for name in ("folder", "text", "missing"):
        with pytest.raises(RunFolderError):
            StoreReader(tmp_path / name)
    assert not (tmp_path / "missing").exists()


def test_a_store_without_its_tables_is_said_to_be_damaged_when_it_is_opened(tmp_path, good):
    path = tmp_path / "store.sqlite"
    path.write_bytes(good)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE spent")
    connection.close()
    with pytest.raises(RunFolderError, match="damaged: no such table"):
        Store(path)


@pytest.mark.skipif(os.name != "posix" or not os.getuid(), reason="root may write anywhere")
def test_a_read_only_store_is_said_to_be_one(tmp_path, good):
    path = tmp_path / "store.sqlite"
    path.write_bytes(good)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(RunFolderError, match="cannot be written"):
            run(path, ROWS + 1)
        assert len(read(path)[0]) == ROWS
    finally:
        tmp_path.chmod(0o755)


DAMAGE = ["", "{", "null", "[1]", '{"text": 1}', '{"text": "x", "odd": 1}', b'{"text": "\xff"}']


def test_damaged_rows_are_asked_again_and_replaced(tmp_path, good):
    path = tmp_path / "store.sqlite"
    path.write_bytes(good)
    connection = sqlite3.connect(path, isolation_level=None)
    ids = [row[0] for row in connection.execute("SELECT id FROM completions LIMIT 7")]
    for name, text in zip(ids, DAMAGE, strict=True):
        blob = text if isinstance(text, bytes) else text.encode()
        update = "UPDATE completions SET completion = CAST(? AS TEXT) WHERE id = ?"
        connection.execute(update, (blob, name))
    connection.close()
    left, reader = read(path)
    assert (len(left), reader.damaged) == (ROWS - 7, 7)
    told = []
    answers, usage, damaged = run(path, told=told)
    assert damaged == set(ids)
    assert "7 damaged answers were asked for again" in told[0]
    assert (usage.requests, usage.from_store) == (7, ROWS - 7)
    assert sum(answer.text.startswith("new") for answer in answers) == 7
    _, usage, damaged = run(path)
    assert (usage.requests, damaged) == (0, set())


def test_a_full_disk_stops_the_run_and_the_same_run_goes_on_where_there_is_room(
    tmp_path, monkeypatch
):
    path = tmp_path / "store.sqlite"
    connect = schema.connect

    def small(where):
        connection = connect(where)
        connection.execute("PRAGMA max_page_count=60")
        return connection

    monkeypatch.setattr(schema, "connect", small)
    backend = FakeBackend(lambda r: f"old {r.draw}")
    llm = LLM(backend, store=Store(path), run="r")
    with pytest.raises(RunFolderError, match="disk is full") as caught:
        llm.generate(ask(), phase="test")
    llm.close()
    assert "free some space" in caught.value.hint
    assert caught.value.exit_code == 2
    counted = llm.usage.prompt_tokens, sum(1 for _ in read(path)[0])
    assert 0 < counted[1] < ROWS
    # At most a group was answered and could not be kept.
    assert len(backend.requests) - counted[1] <= GROUP + backend.settings.concurrency
    monkeypatch.setattr(schema, "connect", connect)
    answers, usage, _ = run(path)
    assert (usage.from_store, usage.requests) == (counted[1], ROWS - counted[1])
    assert [answer.text.split()[0] for answer in answers].count("old") == counted[1]


def test_odd_texts_are_stored_and_found(tmp_path):
    path = tmp_path / "store.sqlite"
    prompts = ["half \ud83d of a pair", "null \0 byte", "x" * 10_000_000, "\u2028\x85", ""]

    def answer(request):
        if request.prompt.startswith("half"):
            raise GiveUpError("refused_request", "it said \udc00", raw="\ud800 raw")
        return "answer \ud83d" if request.prompt.startswith("null") else "answer"

    for expected in (5, 1):
        llm = LLM(FakeBackend(answer), store=Store(path), run="r")
        answers = llm.generate([Request(p, "s") for p in prompts], phase="test")
        llm.close()
        assert llm.usage.requests == expected
        assert len({each.request_id for each in answers}) == 5
    with StoreReader(path) as reader:
        assert sum(1 for _ in reader.completions()) == 4
        assert reader.failures()[0]["raw"] == "? raw"


def test_thousands_of_ids_at_once(tmp_path):
    path = tmp_path / "store.sqlite"
    run(path, 4000)
    store = Store(path)
    # As few variables in a statement as any SQLite takes.
    for connection in (store._reader, store._writer):
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 1000)
    backend = FakeBackend(lambda _: "new")
    llm = LLM(backend, store=store, run="r")
    ids = [llm.request_id(Request(PROMPT, "s", draw=n)) for n in range(4000)]
    found = store.get_many([*ids, *ids, "none"])
    assert set(found) == set(ids)
    assert store.get_many([]) == {}
    llm.generate(ask(4001), phase="test")
    assert len(backend.requests) == 1
    llm.close()


def test_a_store_is_read_while_a_run_writes_into_it(tmp_path):
    path = tmp_path / "store.sqlite"
    seen = []

    def answer(request):
        if request.draw % 50 == 49:
            seen.append(len(read(path)[0]))
        return "x"

    llm = LLM(FakeBackend(answer), store=Store(path), run="r")
    llm.generate(ask(300), phase="test")
    llm.close()
    assert seen == sorted(seen)
    assert seen[-1] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.sqlite"]
    read(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.sqlite"]


def _release_claims(path: Path) -> None:
    """This very process made them, and is still there."""
    connection = sqlite3.connect(path)
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.execute("DELETE FROM claims")
        connection.execute("DELETE FROM owners")
        connection.commit()
    connection.close()
