"""`stepsynth store` as a user calls it, on stores that real runs have written."""

import json
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from tests.e2e.cli import COMMAND, in_json, ok, refused, stepsynth, wait_until, write_task
from tests.stub_server import StubServer, completion, failure

SEEDS = 40
HOSTILE = "\x1b]0;mine\x07[bold red]a ripe one[/] <script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A task file and the folder of its run; some requests were given up."""
    folder = tmp_path_factory.mktemp("made")

    def answer(number, body):
        if number % 10 == 0:
            return failure(400, "not this one")
        return completion(f"note {body['seed']} {HOSTILE}", tokens=(100, 20))

    with StubServer(answer=answer) as server:
        task = write_task(folder, url=server.url)
        key = {"OPENAI_API_KEY": "k-12345"}
        return task, folder / "run", in_json("run", task, "--out", folder / "run", **key)


@pytest.fixture
def copied(made, tmp_path):
    task, run, _ = made
    shutil.copytree(run, tmp_path / "run")
    return task, tmp_path / "run"


def test_ls_says_what_is_there(made):
    _, run, summary = made
    found = in_json("store", "ls", run)
    llm = summary["llm"]
    rows = {row["kind"]: row for row in found["completions"]}
    answered = sum(row["completions"] for row in rows.values())
    assert set(rows) == {"seed", "extrapolate"} or set(rows) == {"seed"}
    assert answered + llm["failed"] == llm["requests"]
    assert found["failures"] == {"refused_request": llm["failed"]}
    assert sum(row["prompt_tokens"] for row in rows.values()) == 100 * answered
    assert rows["seed"]["model"] == "m"
    assert rows["seed"]["sampling"]["temperature"] == 0.9
    assert rows["seed"]["usd"] is None
    assert abs(rows["seed"]["last"] - time.time()) < 600
    assert [each["requests"] for each in found["runs"]] == [llm["requests"]]
    assert (found["version"], found["damaged"], found["unreadable"]) == (2, 0, 0)
    assert found["processes"] == found["batches"] == []
    assert found["bytes"] > 10_000
    shown = ok("store", "ls", run / "requests.sqlite").stdout
    assert "not known" in shown
    assert rows["seed"]["settings"] in shown
    assert "k-12345" not in shown + json.dumps(found)


def test_ls_knows_the_price_of_models_in_the_table(made, tmp_path):
    shutil.copy(made[1] / "requests.sqlite", tmp_path / "priced.sqlite")
    connection = sqlite3.connect(tmp_path / "priced.sqlite")
    value = json.loads(connection.execute("SELECT value FROM settings").fetchone()[0])
    value |= {"base_url": "https://api.openai.com/v1", "model": "gpt-4o-mini"}
    connection.execute("UPDATE settings SET value = ?", (json.dumps(value),))
    connection.commit()
    connection.close()
    for row in in_json("store", "ls", tmp_path / "priced.sqlite")["completions"]:
        usd = (0.15 * row["prompt_tokens"] + 0.60 * row["completion_tokens"]) / 1e6
        assert row["usd"] == pytest.approx(usd, abs=1e-6)


def test_explain_shows_a_request_and_commands_no_terminal(made):
    _, run, _ = made
    row = json.loads((run / "dataset.jsonl").read_text().splitlines()[0])
    request = row["provenance"]["request"]
    found = in_json("store", "explain", run, request[:20])
    assert (found["id"], found["state"]) == (request, "answered")
    assert found["completion"]["text"].startswith("note ")
    assert found["request"]["tags"]["kind"] == "seed"
    shown = ok("store", "explain", run, request).stdout
    assert found["request"]["prompt"] in shown
    assert "[bold red]a ripe one[/] <script>" in shown
    assert "\x1b" not in shown
    failed = json.loads((run / "rounds/0/failed.jsonl").read_text().splitlines()[0])
    lost = in_json("store", "explain", run, failed["provenance"]["request"])
    assert (lost["state"], lost["reason"]) == ("given up", "refused_request")
    assert "not this one" in lost["raw"] + lost["message"]
    assert "requests have ids that begin" in refused("store", "explain", run, "")
    assert "no request has an id" in refused("store", "explain", run, "zz")


def test_explain_finds_all_requests_of_the_task_itself(made):
    task, run, _ = made
    found = in_json("store", "explain", run, task)
    (seed, *_) = found["kinds"]
    assert seed["kind"] == "seed"
    lost = [each for each in found["requests"] if each["similar"] is None or each["differences"]]
    assert seed["found"] + len(lost) == seed["asked"] > 3
    assert seed["found"] >= 3
    assert [row["differences"] for row in found["settings"]] == [[]]


@pytest.mark.parametrize(
    ("override", "key", "store", "task"),
    [
        ("llm.temperature=0.7", "sampling.temperature", 0.9, 0.7),
        ("llm.model=other", "model", "m", "other"),
        ("llm.extra_body={top_k: 5}", "extra_body.top_k", None, 5),
        ("random_seed=7", "random_seed", 0, 7),
        ("task.text_name=fruit letter", "prompt", "note", "letter"),
    ],
)
def test_explain_says_why_a_run_would_not_find_its_requests(made, override, key, store, task):
    file, run, _ = made
    found = in_json("store", "explain", run, file, "--set", override)
    assert found["kinds"][0]["found"] == 0
    difference = next(d for d in found["requests"][0]["differences"] if d["key"] == key)
    if key == "prompt":
        assert store in difference["store"]
        assert task in difference["task"]
        assert difference["at"] > 0
    else:
        assert (difference["store"], difference["task"]) == (store, task)
        assert [d["key"] for d in found["requests"][0]["differences"]] == [key]
    by_settings = [d["key"] for d in found["settings"][0]["differences"]]
    assert by_settings == ([] if key in ("random_seed", "prompt") else [key])
    if key == "prompt":
        shown = ok("store", "explain", run, file, "--set", override).stdout
        assert f"prompt differs from character {difference['at']}" in shown


@pytest.mark.parametrize("hide", [(), ("--hide-gold",)])
def test_an_export_replays_the_run(tmp_path, server, hide):
    server.answer = lambda _, body: completion(f"note {body['seed']} {HOSTILE}\u2028\U0001f34f")
    task, run, out = (
        write_task(tmp_path, url=server.url),
        tmp_path / "run",
        tmp_path / "saved.jsonl",
    )
    assert stepsynth("run", task, "--out", run).returncode == 0
    found = in_json("store", "export", run, "--out", out, *hide)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert found["written"] == len(rows)
    assert (found["damaged"], found["unreadable"], found["others"]) == (0, 0, 0)
    sources = [row["source"] for row in rows if "source" in row]
    assert sources, "gold texts were extrapolated"
    assert all(re.fullmatch("[0-9a-f]{16}", row["request"]) for row in rows)
    assert found["repeats"] == 0
    if hide:
        assert not any("prompt" in row for row in rows)
        assert all(re.fullmatch("sha256:[0-9a-f]{24}", source) for source in sources)
    else:
        assert all("fruit note" in row["prompt"] for row in rows)
    recorded = f"llm={{backend: replay, recordings: ['{out}']}}"
    ok("run", task, "--set", recorded, "--out", tmp_path / "again", "--json")

    def texts(folder):
        lines = (folder / "dataset.jsonl").read_text().splitlines()
        return [(row["text"], row["label"]) for row in map(json.loads, lines)]

    assert texts(tmp_path / "again") == texts(run)
    only = in_json("store", "export", run, "--out", out, "--kind", "seed", "--model", "m")
    assert only["written"] == sum(row["kind"] == "seed" for row in rows)
    none = stepsynth("store", "export", run, "--out", out, "--model", "n")
    assert (none.returncode, "did you mean" in none.stderr) == (2, False)


def test_an_export_does_not_replace_the_store_itself(copied):
    _, run = copied
    store = run / "requests.sqlite"
    before = in_json("store", "ls", run)["completions"]
    for args in (("store", "export", run, "--out"), ("report", run, "--out")):
        assert "this is a database" in refused(*args, store)
    assert in_json("store", "ls", run)["completions"] == before


def test_hidden_answers_tell_no_gold_text_by_repeating_it(tmp_path, server):
    def answer(number, body):
        like = re.search('"(.+)"', body["messages"][0]["content"])
        is_copy = like is not None and number % 2
        return completion(f"Sure! '{like[1].upper()}'" if is_copy else f"{number} leaves on a tree")

    server.answer = answer
    task, run = write_task(tmp_path, url=server.url), tmp_path / "run"
    assert stepsynth("run", task, "--out", run).returncode == 0
    gold = [json.loads(line)["text"] for line in (tmp_path / "gold.jsonl").read_text().splitlines()]
    for hide in ((), ("--hide-gold",)):
        found = in_json("store", "export", run, "--out", tmp_path / "saved.jsonl", *hide)
        saved = (tmp_path / "saved.jsonl").read_text().lower()
        told = [text for text in gold if text in saved]
        assert (found["repeats"] > 0, bool(told)) == (bool(hide), not hide)
        assert found["written"] > 40


def test_gc_deletes_what_was_chosen_and_only_when_told(copied):
    _, run = copied
    before = in_json("store", "ls", run)
    total = sum(row["completions"] for row in before["completions"])
    assert "nothing to delete" in refused("store", "gc", run)
    young = in_json("store", "gc", run, "--older-than", "1", "--yes")
    assert (young["deleted"], young["left"]) == (0, total)
    failed = sum(before["failures"].values())
    assert in_json("store", "gc", run, "--failures", "--yes")["deleted"] == failed
    dry = in_json("store", "gc", run, "--model", "m")
    assert (dry["deleted"], dry["left"], dry["dry_run"]) == (total, 0, True)
    assert sum(row["completions"] for row in in_json("store", "ls", run)["completions"]) == total
    done = in_json(
        "store", "gc", run, "--settings", before["completions"][0]["settings"][:5], "--yes"
    )
    assert (done["deleted"], done["left"]) == (total, 0)
    assert done["freed"] > before["bytes"] / 4
    after = in_json("store", "ls", run)
    assert (after["completions"], after["failures"]) == ([], {})
    # What was spent stays spent.
    assert after["runs"] == before["runs"]


def test_gc_keeps_away_from_a_store_that_is_in_use_and_ls_does_not(tmp_path, server):
    def answer(number, body):
        if number > 16:
            server.delay_s = 120  # from now on the run waits
        return completion(f"note {body['seed']}, a ripe one")

    server.answer = answer
    task, run = write_task(tmp_path, url=server.url), tmp_path / "run"
    command = [*COMMAND, "run", str(task), "--out", str(run)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: server.delay_s and server.in_flight >= 8)
        found = in_json("store", "ls", run)
        (process,) = found["processes"]
        assert process["pid"] == running.pid
        assert 0 < process["claims"] < SEEDS
        stored = found["completions"][0]["completions"]
        assert stored + process["claims"] == SEEDS
        error = refused("store", "gc", run, "--older-than", "0", "--yes")
        assert f"process {running.pid} on" in error
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()
    # What a process that was killed had claimed keeps nobody away.
    left = in_json("store", "ls", run)
    assert left["processes"] == []
    stored = left["completions"][0]["completions"]
    assert in_json("store", "gc", run, "--model", "m", "--yes")["deleted"] == stored


def test_a_run_on_a_damaged_store_says_so_and_its_completions_are_saved(copied, tmp_path):
    task, run = copied
    store = run / "requests.sqlite"
    content = store.read_bytes()
    store.write_bytes(content[: len(content) * 2 // 3])
    error = refused("run", task, "--out", run)
    assert "damaged" in error
    assert "stepsynth store export" in error
    saved = ok("store", "export", run, "--out", tmp_path / "saved.jsonl")
    assert "damaged" in saved.stderr
    rows = [json.loads(line) for line in (tmp_path / "saved.jsonl").read_text().splitlines()]
    assert rows
    assert all(row["completion"].startswith("note ") for row in rows)


@pytest.mark.parametrize("content", ["notes of mine\n" * 500, None])
def test_a_run_on_what_is_no_store_says_so(copied, content):
    task, run = copied
    store = run / "requests.sqlite"
    store.unlink()
    store.mkdir() if content is None else store.write_text(content)
    for command in (("run", task, "--out", run), ("store", "ls", store)):
        error = refused(*command)
        assert "error: " in error
        assert "hint: " in error


def test_stores_are_merged_into_a_new_one_that_a_run_takes(copied, made, tmp_path):
    _, run = copied
    found = in_json("store", "merge", run, made[1], "--out", tmp_path / "all.sqlite")
    listed = in_json("store", "ls", tmp_path / "all.sqlite")
    assert found["written"] == sum(row["completions"] for row in listed["completions"])
    assert found["repeated"] == found["written"]
    assert (found["different"], found["damaged"]) == (0, 0)
    assert "all.sqlite exists" in refused("store", "merge", run, "--out", tmp_path / "all.sqlite")
