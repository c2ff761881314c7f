"""The file of decisions: nothing is lost, nothing is there twice, whoever writes and dies."""

import os
import threading

import pytest

from stepsynth.errors import RunFolderError
from stepsynth.review.log import ReviewLog
from tests.unit.review.test_decisions import decision


def rows_of(log):
    return sorted(each.row for each in log.history.all("synthetic"))


def test_the_same_decision_again_is_not_written_again(tmp_path):
    path = tmp_path / "review.jsonl"
    log = ReviewLog(path)
    log.append([decision(1, "r1")])
    before = path.read_bytes()
    log.append([decision(1, "r1")])
    ReviewLog(path).append([decision(1, "r1")])
    assert path.read_bytes() == before
    log.append([decision(1, "r1"), decision(1, "r2")])
    assert path.read_bytes().count(b"\n") == 2


def test_half_a_line_of_a_killed_process_is_cut_off(tmp_path):
    path = tmp_path / "review.jsonl"
    ReviewLog(path).append([decision(1, "r1")])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    log = ReviewLog(path)
    assert rows_of(log) == ["r1"]
    log.append([decision(2, "r2")])
    assert rows_of(ReviewLog(path)) == ["r1", "r2"]
    assert path.read_bytes().startswith(whole)


def test_two_logs_of_one_file_see_each_other(tmp_path):
    path = tmp_path / "review.jsonl"
    one, other = ReviewLog(path), ReviewLog(path)
    one.append([decision(1, "r1")])
    other.append([decision(2, "r2")])
    one.refresh()
    assert rows_of(one) == rows_of(other) == ["r1", "r2"]
    one.append([decision(2, "r2")])
    assert path.read_bytes().count(b"\n") == 2


def test_many_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "review.jsonl"

    def write(first):
        log = ReviewLog(path)
        for i in range(first, first + 25):
            log.append([decision(i, f"r{i:03}")])
            log.append([decision(0, "shared")])

    threads = [threading.Thread(target=write, args=(n,)) for n in (100, 200, 300, 400)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(rows_of(ReviewLog(path))) == 101
    assert path.read_bytes().count(b"\n") == 101


def test_what_cannot_be_meant_or_written_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "review.jsonl"
    log = ReviewLog(path)
    log.append([decision(1)])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no decision on this row"):
        log.append([decision(2, what="undo", undoes="decision-9")])
    assert path.read_bytes() == before
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        log.append([decision(3)])
    monkeypatch.undo()
    assert path.read_bytes() == before
    log.append([decision(3)])
    assert path.read_bytes().count(b"\n") == 2


def test_a_file_that_lost_lines_is_not_written_to(tmp_path):
    path = tmp_path / "review.jsonl"
    log = ReviewLog(path)
    log.append([decision(1), decision(2)])
    path.write_bytes(b"")
    with pytest.raises(RunFolderError, match="lines are gone"):
        log.append([decision(3)])
    assert path.read_bytes() == b""
