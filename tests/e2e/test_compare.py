"""`stepsynth compare`: what is run, asked, resumed, refused and shown."""

import csv
import json
import os
import re
import signal
import time

import pytest

import stepsynth as package
from stepsynth.errors import LimitReachedError
from tests.e2e.cli import (
    draw_in_browser,
    needs_browser,
    processes_of,
    start,
    stepsynth,
    summary_of,
    wait_until,
    workers_of,
    write_task,
)
from tests.stub_server import completion

# Most answers name the other fruit, so that the student errs and there is something to extrapolate.
RULES = """{backend: scripted, rules: [
  {pattern: 'Write.*"?apple', answers: [a soft pear, a red apple]},
  {pattern: 'Write.*"?pear', answers: [a red apple, a crisp apple, a soft pear]},
  {pattern: '', answers: [a soft apple and a crisp pear]}]}"""


def fruit(number, body):
    """Answer with a text for the label that the prompt names, never the same one twice."""
    prompt = body["messages"][-1]["content"]
    named = re.findall(r"apple|pear", prompt.split("Write")[-1])
    other = "pear" if named and named[0] == "apple" else "apple"
    name = other if body["seed"] % 5 else named[0] if named else "apple"
    return completion(f"a {name} of {body['seed']}")


@pytest.fixture
def task(tmp_path, server):
    server.answer = fruit
    return write_task(tmp_path, url=server.url)


def compare(task, out, methods, *options, **env):
    return stepsynth(
        *("compare", task, "--methods", methods, "--seeds", 2, "--out", out, "--json"),
        *options,
        **env,
    )


def prompts_of(server):
    return [(json.dumps(b["messages"]), b["seed"]) for b in server.bodies]


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """Two methods and one that cannot run here, two random seeds."""
    folder = tmp_path_factory.mktemp("scripted")
    task = write_task(folder, llm=RULES)
    done = compare(task, folder / "out", "s3,zerogen,synthesizrr,gold", "--jobs", 2)
    return folder / "out", done


def test_every_run_is_there_and_the_one_that_cannot_run_is_a_row_with_its_error(scripted):
    out, done = scripted
    assert done.returncode == 2, done.stderr
    table = summary_of(done)
    assert [m["name"] for m in table["methods"]] == ["s3", "zerogen", "synthesizrr", "gold"]
    assert [m["seeds"] for m in table["methods"]] == [[0, 1], [0, 1], [], [0, 1]]
    assert "corpus" in next(iter(table["methods"][2]["errors"]))
    assert "error: synthesizrr" in done.stderr
    for name in ("s3", "zerogen", "gold"):
        for seed in (0, 1):
            assert (out / name / str(seed) / "report.html").exists()
    assert "Traceback" not in done.stderr
    assert "[6/6]" in done.stderr


def test_the_numbers_are_those_of_the_runs(scripted):
    out, done = scripted
    table = summary_of(done)
    runs = {(r["method"], r["random_seed"]): r for r in table["runs"]}
    for name in ("s3", "zerogen", "gold"):
        for seed in (0, 1):
            folder = out / name / str(seed)
            summary = json.loads((folder / "manifest.json").read_text())["summary"]
            run = runs[name, seed]
            assert run["scores"]["accuracy"] == summary["test"]["accuracy"]
            rows = [json.loads(x) for x in (folder / "dataset.jsonl").read_text().splitlines()]
            assert run["train_size"] == len(rows)
            assert run["rows"] == (0 if name == "gold" else len(rows))
            assert run["training_tokens"] == sum(len(r["text"].split()) for r in rows)
            asked = sum(
                len((folder / f"rounds/{r['round']}/{file}.jsonl").read_text().splitlines())
                for r in summary["rounds"]
                for file in ("examples", "rejected", "failed")
            )
            assert run["calls"] == (0 if name == "gold" else asked)
    assert {r["rows"] for (name, _), r in runs.items() if name in ("s3", "zerogen")} == {60}
    by_name = {m["name"]: m for m in table["methods"]}
    assert by_name["zerogen"]["against"] == {}
    mean = by_name["s3"]["against"]["accuracy"]["mean"]
    each = [
        runs["s3", s]["scores"]["accuracy"] - runs["zerogen", s]["scores"]["accuracy"]
        for s in (0, 1)
    ]
    assert mean == pytest.approx(sum(each) / 2)
    assert [p["round"] for p in by_name["s3"]["curve"]] == [0, 1, 2]
    assert by_name["s3"]["curve"][0]["calls"] >= 40


def test_how_fast_a_student_predicts_is_measured_once_and_remembered(scripted):
    out, done = scripted
    known = json.loads((out / "speed.json").read_text())
    assert list(known) == ["s3", "zerogen", "gold"]
    again = compare(out.parent / "fruit.yaml", out, "s3,zerogen,synthesizrr,gold")
    for table in (summary_of(done), summary_of(again)):
        shown = {m["name"]: m["mean"].get("ms_per_1000_predictions") for m in table["methods"]}
        assert shown == {**{name: of["ms"] for name, of in known.items()}, "synthesizrr": None}
    assert min(of["ms"] for of in known.values()) > 0
    assert "ms per 1,000 predictions" in (out / "compare.md").read_text()


def test_the_files_say_the_same(scripted):
    out, done = scripted
    with (out / "compare.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 8
    assert {line["method"] for line in lines if line["error"]} == {"synthesizrr"}
    markdown = (out / "compare.md").read_text(encoding="utf-8")
    assert "| synthesizrr | –" in markdown
    assert "macro-F1 minus zerogen" in markdown
    assert r"texts and labels of \`mine\`: it is trained on them" in markdown
    stored = json.loads((out / "compare.json").read_text())
    assert stored["methods"] == summary_of(done)["methods"]


def test_the_page_loads_nothing_and_escapes_names(tmp_path):
    task = write_task(tmp_path, llm=RULES)
    text = task.read_text().replace("{a: apple, p: pear}", "{'<i>a': apple, p: pear}")
    task.write_text(text)
    gold = tmp_path / "gold.jsonl"
    gold.write_text(gold.read_text().replace('"label": "a"', '"label": "<i>a"'))
    done = package.compare(
        task, ["gold", "zerogen:seed_size=30"], seeds=1, out=tmp_path / "out", against="gold"
    )
    html = (tmp_path / "out/compare.html").read_text(encoding="utf-8")
    assert done.exit_code == 0
    assert "<i>" not in html
    assert "&lt;i&gt;a" in html
    tags = " ".join(re.findall(r"<[a-zA-Z][^>]*>", html))
    links = set(re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>#]+)""", tags))
    assert links == {"data:,", "gold/0/report.html", "zerogen-seed_size=30/0/report.html"}
    assert "default-src 'none'" in html
    assert "one random seed" in html


def test_nothing_is_sent_twice_and_what_is_done_is_not_done_again(tmp_path, task, server):
    done = compare(task, tmp_path / "out", "s3,goldgen,random")
    assert done.returncode == 0, done.stderr
    sent = prompts_of(server)
    assert len(set(sent)) == len(sent)
    table = summary_of(done)
    first, second = (next(r for r in table["runs"] if r["method"] == m) for m in ("s3", "goldgen"))
    assert first["sent"] == first["calls"] == 60
    # Its seed rows are S3's, so they were paid for.
    assert second["calls"] == 60
    assert second["sent"] <= 20
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("manifest.json")}
    assert len(stamps) == 6
    again = compare(task, tmp_path / "out", "s3,goldgen,random")
    assert again.returncode == 0
    assert len(server.bodies) == len(sent)
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert summary_of(again)["methods"] == table["methods"]


def test_equal_calls_are_counted_all_and_never_passed(tmp_path, task, server):
    options = ("--equal", "calls", "--budget", 45, "--set", "method.rationales=true")
    done = compare(task, tmp_path / "out", "s3,zerogen,gold", *options, "--jobs", 1)
    assert done.returncode == 0, done.stderr
    calls = {(r["method"], r["random_seed"]): r["calls"] for r in summary_of(done)["runs"]}
    # Shares of whole calls leave one over; nothing goes past.
    assert {calls[name, s] for name in ("s3", "zerogen") for s in (0, 1)} <= {44, 45}
    assert calls["gold", 0] == 0
    assert len(server.bodies) <= 4 * 45


def test_a_run_that_fails_stops_no_other_one(tmp_path):
    rules = RULES.replace("a red apple, a crisp apple, a soft pear", "'I cannot write that.'")
    task = write_task(tmp_path, llm=rules)
    done = compare(task, tmp_path / "out", "zerogen,gold", "--jobs", 1)
    assert done.returncode == 5, done.stderr
    table = summary_of(done)
    assert [m["seeds"] for m in table["methods"]] == [[], [0, 1]]
    assert "zerogen, which the others are compared with, has no result" in (
        tmp_path / "out/compare.md"
    ).read_text(encoding="utf-8")


def test_a_limit_is_that_of_the_whole_comparison(tmp_path, task, server):
    # S3 sends 60 with each random seed, ZeroGen 20 more: 80 each are needed, 70 are allowed.
    same = ("--set", "task.length=[4, 6]")  # else S3 sees it in gold, and ZeroGen does not
    capped = ("--set", "limits.requests=140", *same)
    done = compare(task, tmp_path / "out", "s3,zerogen", *capped)
    assert done.returncode == 3, done.stderr
    assert "limits.requests" in summary_of(done)["stopped"]
    assert summary_of(done)["methods"][0]["seeds"]
    assert 60 < len(server.bodies) <= 140
    html = (tmp_path / "out/compare.html").read_text(encoding="utf-8")
    assert "This comparison was stopped" in html
    with pytest.raises(LimitReachedError):
        package.compare(
            task, ["s3", "zerogen"], seeds=2, out=tmp_path / "out", overrides=capped[1::2]
        )
    assert len(server.bodies) <= 140
    done = compare(task, tmp_path / "out", "s3,zerogen", *same, "--jobs", 1)
    assert done.returncode == 0, done.stderr
    sent = prompts_of(server)
    assert len(set(sent)) == len(sent) == 160


def has_come(moment, process, out, server):
    """Say whether a comparison is so far."""
    if moment == "processes start":
        return workers_of(process.pid)
    if moment == "they ask":
        return len(server.bodies) >= 12
    return [*out.glob("*/*/compared.json")]  # some runs are done


@pytest.mark.parametrize("moment", ["processes start", "they ask", "some runs are done"])
def test_ctrl_c_stops_the_processes_and_the_same_command_goes_on(tmp_path, task, server, moment):
    server.delay_s = 0.05
    out = tmp_path / "out"
    command = ("compare", task, "--methods", "s3,zerogen", "--seeds", 2, "--jobs", 2, "--json")
    process = start(*command, "--out", out)
    wait_until(lambda: has_come(moment, process, out, server), process)
    os.killpg(process.pid, signal.SIGINT)  # to all of them, as a terminal sends it
    shown, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert json.loads(shown.splitlines()[-1])["stopped"] == "interrupted"
    wait_until(lambda: not processes_of(process.pid), limit_s=10)
    assert server.in_flight == 0
    stopped_at = len(server.bodies)
    assert stopped_at < 200
    time.sleep(0.3)
    assert len(server.bodies) == stopped_at
    server.delay_s = 0.0
    done = compare(task, tmp_path / "out", "s3,zerogen", "--jobs", 1)
    assert done.returncode == 0, done.stderr
    sent = prompts_of(server)
    assert len(set(sent)) == len(sent)
    assert all(r["error"] == "" for r in summary_of(done)["runs"])


def test_a_second_ctrl_c_drops_what_is_on_its_way(tmp_path, task, server):
    server.delay_s = 60.0
    process = start("compare", task, "--methods", "s3", "--seeds", 2, "--out", tmp_path / "out")
    wait_until(lambda: server.bodies, process)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    line = ""
    while "Ctrl-C again" not in line:
        line = process.stderr.readline()
        assert line, "it was not said"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 45
    assert process.returncode == 130, err
    assert "Traceback" not in err
    wait_until(lambda: not processes_of(process.pid), limit_s=10)


@needs_browser
def test_a_browser_draws_the_page_without_a_word_on_the_console(scripted, tmp_path):
    draw_in_browser(scripted[0] / "compare.html", tmp_path / "compare.png", "1300,2600")
