"""Stores of several machines become one: nothing is lost, nothing counted twice."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from stepsynth.errors import RunFolderError
from stepsynth.llm import LLM, Request
from stepsynth.llm.core.types import Completion
from stepsynth.llm.core.usage import Spent
from stepsynth.llm.store import Store, StoreReader, merge
from tests.fakes import FakeBackend


def run(path, streams, *, says="note", run="r"):
    """Have ten requests of each stream answered, and keep them."""
    backend = FakeBackend(
        lambda r: Completion(f"{says} {r.stream} {r.draw}", prompt_tokens=10, completion_tokens=5)
    )
    llm = LLM(backend, store=Store(path), run=run)
    try:
        for stream in streams:
            llm.generate([Request("Write.", stream, {"kind": "seed"})] * 10, phase="test")
    finally:
        llm.close()


def rows(path):
    with StoreReader(path) as reader:
        return {
            (each.id, each.completion["text"], each.settings, str(each.request))
            for each in reader.completions()
        }


def spent(path, run="r"):
    store = Store(path)
    try:
        return store.spent(run)
    finally:
        store.close()


@pytest.fixture
def parts(tmp_path):
    run(tmp_path / "a.sqlite", ["s", "t"])
    run(tmp_path / "b.sqlite", ["u"])
    return [tmp_path / "a.sqlite", tmp_path / "b.sqlite"]


def test_the_whole_is_what_one_process_would_have_written(tmp_path, parts):
    run(tmp_path / "one.sqlite", ["s", "t", "u"])
    found = merge(parts, tmp_path / "all.sqlite")
    assert (found["written"], found["repeated"], found["damaged"]) == (30, 0, 0)
    assert rows(tmp_path / "all.sqlite") == rows(tmp_path / "one.sqlite")
    assert spent(tmp_path / "all.sqlite") == spent(tmp_path / "one.sqlite")
    assert spent(tmp_path / "all.sqlite").tokens == 30 * 15


def test_the_first_answer_to_a_request_counts(tmp_path, parts):
    run(tmp_path / "c.sqlite", ["u", "v"], says="another", run="other")
    found = merge([*parts, tmp_path / "c.sqlite"], tmp_path / "all.sqlite")
    assert (found["written"], found["repeated"], found["different"]) == (40, 10, 10)
    texts = {text for _, text, _, _ in rows(tmp_path / "all.sqlite")}
    assert "note u 3" in texts
    assert "another u 3" not in texts
    assert spent(tmp_path / "all.sqlite", "other") == Spent(20, 0.0, 300)


def test_what_is_damaged_is_counted_and_the_rest_is_kept(tmp_path, parts):
    with closing(sqlite3.connect(parts[0])) as connection, connection:
        connection.execute("UPDATE completions SET completion = '{\"te' WHERE rowid IN (2, 5)")
    found = merge(parts, tmp_path / "all.sqlite")
    assert (found["written"], found["damaged"]) == (28, 2)


def test_a_file_that_is_there_is_not_written_over(tmp_path, parts):
    with pytest.raises(RunFolderError, match=r"b\.sqlite exists"):
        merge(parts[:1], parts[1])
    assert len(rows(parts[1])) == 10


def test_a_store_that_is_missing_is_named_and_nothing_is_written(tmp_path, parts):
    with pytest.raises(RunFolderError, match="there is no store here"):
        merge([*parts, tmp_path / "none.sqlite"], tmp_path / "all.sqlite")
    assert not (tmp_path / "all.sqlite").exists()


def test_a_copy_of_a_store_that_was_gone_on_with_is_paid_for_once(tmp_path, parts):
    shutil.copy(parts[0], tmp_path / "copy.sqlite")
    run(tmp_path / "copy.sqlite", ["s", "t", "v"])
    merge([parts[0], tmp_path / "copy.sqlite"], tmp_path / "all.sqlite")
    assert spent(tmp_path / "all.sqlite") == Spent(30, 0.0, 450)


def test_a_store_is_not_merged_with_itself(tmp_path, parts):
    with pytest.raises(RunFolderError, match="named twice"):
        merge([parts[0], parts[0]], tmp_path / "all.sqlite")
