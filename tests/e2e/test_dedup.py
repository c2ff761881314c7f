"""`stepsynth dedup`, as a user types it: the same rows by any way, and what can be wrong."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from random import Random

import pytest

from tests.e2e.cli import (
    COMMAND,
    in_json,
    ok,
    refused,
    start,
    stepsynth,
    summary_of,
    wait_until,
    workers_of,
)
from tests.e2e.test_executors import dask_cluster

pytest.importorskip("rensa")

COUNT = 3000


def made_rows(count=COUNT):
    rng = Random(0)
    rows = []
    for number in range(count):
        words = [f"w{rng.randrange(500)}" for _ in range(30)]
        if rows and rng.random() < 0.3:
            words = rng.choice(rows)["text"].split()
            if rng.random() < 0.7:
                words[rng.randrange(30)] = "changed"
        rows.append({"text": " ".join(words), "id": number})
    return rows


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("in") / "in.jsonl", made_rows())


@pytest.fixture(scope="module")
def expected(lines, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "out.jsonl"
    return in_json("dedup", lines, "-o", out, "--jobs", "1"), out.read_text()


def counts(found):
    return {key: value for key, value in found.items() if key != "output"}


def test_the_first_row_of_each_cluster_is_kept_as_it_is(lines, expected):
    found, text = expected
    given = lines.read_text().splitlines()
    kept = text.splitlines()
    assert [line for line in given if line in set(kept)] == kept
    assert kept[0] == given[0]
    assert found["rows"] == COUNT
    assert found["kept"] == len(kept) == COUNT - found["duplicates"] - found["near_duplicates"]
    assert found["duplicates"] > 100 < found["near_duplicates"]
    assert found["without_text"] == 0


def test_shards_processes_and_parquet_keep_the_same_rows(lines, expected, tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    for at in range(0, COUNT, 700):
        table = pa.Table.from_pylist(rows[at : at + 700])
        parquet.write_table(table, tmp_path / f"{at:04d}.parquet", row_group_size=300)
    out = tmp_path / "out"
    assert counts(in_json("dedup", tmp_path, "-o", out, "--jobs", "2")) == counts(expected[0])
    kept = [
        row
        for path in sorted(out.glob("*.parquet"))
        for row in parquet.read_table(path).to_pylist()
    ]
    assert kept == [json.loads(line) for line in expected[1].splitlines()]
    assert json.loads((out / "manifest.json").read_text())["rows"] == len(kept)
    assert not list(tmp_path.glob(".*"))


def test_an_address_gets_the_same_rows_and_nothing_is_left_here(lines, expected, tmp_path):
    pytest.importorskip("fsspec")
    there = tmp_path / "bucket" / "data"
    for name, files in (("out.jsonl", ["out.jsonl"]), ("clean", ["part-00000.jsonl"])):
        address = f"file://{there}/{name}"
        found = in_json("dedup", f"file://{lines}", "-o", address, cwd=tmp_path)
        assert (found["output"], counts(found)) == (address, counts(expected[0]))
        written = there / name
        parts = [written] if written.is_file() else [written / file for file in files]
        assert "".join(part.read_text() for part in parts) == expected[1]
    assert json.loads((there / "clean" / "manifest.json").read_text())["rows"] == found["kept"]
    assert "/clean: there is something" in refused("dedup", lines, "-o", address)
    (tmp_path / ".clean.dedup" / "out").mkdir(parents=True)  # a command was stopped as it sent
    again = in_json("dedup", lines, "-o", address, cwd=tmp_path)
    assert counts(again) == counts(expected[0])
    assert [path.name for path in tmp_path.iterdir()] == ["bucket"]


def test_dask_keeps_the_same_rows(lines, expected, tmp_path):
    with dask_cluster(tmp_path) as (address, _):
        given = ("--executor", "dask", "--set", f"executors.dask.address={address}")
        done = stepsynth("dedup", lines, "-o", tmp_path / "out.jsonl", *given, "--json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.jsonl").read_text() == expected[1]


@pytest.mark.skipif(sys.platform == "win32", reason="there nothing is killed so")
def test_a_killed_command_goes_on_and_a_killed_worker_is_done_without(lines, expected, tmp_path):
    big = write_lines(tmp_path / "in.jsonl", made_rows(20_000))
    out = tmp_path / "out.jsonl"
    command = ("dedup", big, "-o", out, "--jobs", "2", "--json")
    first = start(*command)
    work = tmp_path / ".out.jsonl.dedup"
    wait_until((work / "signatures").exists)
    first.kill()
    first.communicate()
    second = start(*command)
    wait_until(lambda: workers_of(second.pid), second)
    os.kill(workers_of(second.pid)[0], signal.SIGKILL)
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    whole = stepsynth("dedup", big, "-o", tmp_path / "whole.jsonl", "--json")
    assert counts(json.loads(said.splitlines()[-1])) == counts(summary_of(whole))
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not work.exists()


def test_two_commands_on_one_output_are_refused(lines, tmp_path):
    (tmp_path / ".out.jsonl.dedup").mkdir()
    lock = sqlite3.connect(tmp_path / ".out.jsonl.dedup" / "lock.sqlite", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    done = stepsynth("dedup", lines, "-o", tmp_path / "out.jsonl")
    lock.close()
    assert done.returncode == 2
    assert "another process is writing into this output" in done.stderr


def test_other_input_does_not_go_on_with_what_is_left(lines, expected, tmp_path):
    left = tmp_path / ".out.jsonl.dedup"
    (left / "signatures" / "00000").mkdir(parents=True)
    (left / "signatures" / "00000" / "done.json").write_text('{"runs": [], "empty": 0}')
    (left / "identity.json").write_text('{"parts": "others"}')
    ok("dedup", lines, "-o", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == expected[1]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on files there")
@pytest.mark.parametrize("kilobytes", [60, 100])
def test_a_full_disk_is_one_message_and_the_command_goes_on(lines, expected, tmp_path, kilobytes):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1000, kilobytes * 1000))

    command = [*COMMAND, "dedup", str(lines), "-o", str(tmp_path / "out.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2
    assert "the file may grow no larger" in done.stderr
    assert "goes on where this stopped" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert (tmp_path / "out.jsonl").read_text() == expected[1]


def test_rows_without_text_and_rows_of_a_megabyte(tmp_path):
    long = " ".join(f"w{i}" for i in range(170_000))
    texts = [long, None, "  ", f"{long} and more", "short", "Short!"]
    rows = [{"text": text} for text in texts] + [{"other": 1}]
    done = ok("dedup", write_lines(tmp_path / "in.jsonl", rows), "-o", tmp_path / "out.jsonl")
    assert done.stdout.startswith(
        "2 of 7 rows kept; removed: 1 duplicates, 1 near-duplicates, 3 without text"
    )
    kept = [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert kept == [long, "short"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("nowhere.jsonl",), "nowhere.jsonl: there is no .jsonl or .jsonl.gz or .parquet file"),
        (("in.jsonl", "--text", "body"), "there is no column 'body'"),
        (("in.jsonl", "-o", "out.parquet"), "of another kind than IN, which is .jsonl"),
        (("in.jsonl", "-o", "in.jsonl"), "in.jsonl is IN"),
        (("in.jsonl", "-o", "."), "a folder with something in it"),
        (("in.jsonl", "--executor", "dusk"), "no executor is named 'dusk'"),
        (("in.jsonl", "--set", "cpus=1"), "only the executor local has settings here"),
        (("in.jsonl", "--set", "executors.local.cups=1"), "unknown key"),
        (("damaged.parquet",), "damaged.parquet: this is no Parquet, or it is damaged"),
        (("bad.jsonl",), "bad.jsonl, the line at byte 14: this is no JSON"),
    ],
)
def test_what_is_wrong_is_one_message(tmp_path, given, said):
    write_lines(tmp_path / "in.jsonl", [{"text": "a"}])
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text"\n')
    output = () if "-o" in given else ("-o", "out.jsonl")
    assert said in refused("dedup", *given, *output, cwd=tmp_path)
    assert not (tmp_path / "out.jsonl").exists()
