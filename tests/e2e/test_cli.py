"""Every command, as a user types it."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import stepsynth as package
from stepsynth.cli.main import app
from tests.e2e.cli import (
    COMMAND,
    in_json,
    ok,
    refused,
    stepsynth,
    stepsynth_process,
    summary_of,
    write_task,
)

COMMANDS = (
    *("demo", "init", "check", "audit", "plan", "preview", "run", "runs", "diff"),
    *("predict", "serve", "cost", "report", "review", "export", "dedup", "schema", "train"),
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "run"
    tell = {"PYTHONWARNINGS": "default::ResourceWarning"}
    return folder, stepsynth_process("demo", "--recorded", "--json", "--out", folder, **tell)


def test_a_run_leaves_no_file_and_no_store_open(demo):
    """Python 3.13 tells of stores, too; the tests' own are not told of."""
    _, done = demo
    assert done.returncode == 0
    assert "ResourceWarning" not in done.stderr


def test_the_help_names_every_command():
    done = ok("--help")
    assert all(command in done.stdout for command in COMMANDS)
    assert "130 Ctrl-C" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    assert "Usage" in ok(command, "--help").stdout


def test_the_version_is_printed():
    assert stepsynth_process("--version").stdout.strip() == package.__version__


def test_the_demo_prints_the_documented_json(demo):
    folder, done = demo
    assert done.returncode == 0, done.stderr
    summary = summary_of(done)
    assert summary["run"] == str(folder)
    assert (summary["task"], summary["method"], summary["student"]) == ("support", "s3", "linear")
    assert [r["round"] for r in summary["rounds"]] == [0, 1, 2]
    for row in summary["rounds"]:
        assert {"added", "train_size", "misclassified", "select", "test"} <= set(row)
        assert all(
            0 <= row[s][k] <= 1 for s in ("select", "test") for k in ("accuracy", "macro_f1")
        )
    assert summary["test"]["n"] == 150
    llm = summary["llm"]
    assert (llm["requests"], llm["from_store"], llm["failed"], llm["usd"]) == (0, 0, 0, None)
    assert sum(llm["rejected"].values()) > 0
    assert sum(p.stat().st_size for p in (folder / "model").iterdir()) < 5_000_000


def test_the_demo_again_is_the_same_and_says_what_it_is(demo, tmp_path):
    folder, _ = demo
    done = ok("demo", "--recorded", "--out", tmp_path / "again")
    assert "no LLM was called" in done.stdout
    assert "stepsynth run" in done.stdout
    assert "report.html" in done.stdout
    assert (tmp_path / "again/dataset.jsonl").read_bytes() == (
        folder / "dataset.jsonl"
    ).read_bytes()


def test_the_demos_test_messages_are_no_copies_of_others(demo):
    from stepsynth._util.text import normalise

    place = Path(package.__file__).parent / "demo"
    texts = {
        name: [
            normalise(json.loads(x)["text"])
            for x in (place / f"{name}.jsonl").read_text().splitlines()
        ]
        for name in ("mine", "select", "test")
    }
    everything = [t for found in texts.values() for t in found]
    assert len(set(everything)) == len(everything) == 80 + 50 + 150
    words = {t: set(t.split()) for t in everything}
    others = texts["mine"] + texts["select"]
    recorded = [json.loads(x) for x in (place / "recording.jsonl").read_text().splitlines()]
    others += [normalise(r["completion"]) for r in recorded if r["kind"] != "rationale"]
    words |= {t: set(t.split()) for t in others}
    for test in texts["test"]:
        if len(words[test]) < 6:
            continue
        near = max(len(words[test] & words[o]) / len(words[test] | words[o]) for o in others)
        assert near < 0.5, test


def test_a_report_can_be_written_again_elsewhere(demo, tmp_path):
    folder, _ = demo
    done = stepsynth("report", folder, "--out", tmp_path / "r.html")
    assert done.stdout.strip() == str(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_bytes() == (folder / "report.html").read_bytes()


def test_a_recording_of_a_run_gives_the_same_rows_again(tmp_path):
    ok("demo", "--recorded", "--out", tmp_path / "first")
    recording = tmp_path / "recording.jsonl"
    ok("export", tmp_path / "first", "--recording", recording)
    chosen = ["--set", f"llm={{backend: replay, recordings: [{recording}]}}"]
    ok("demo", "--recorded", "--out", tmp_path / "again", *chosen, "--json")
    data = [(tmp_path / name / "dataset.jsonl").read_bytes() for name in ("first", "again")]
    assert data[0] == data[1]


def test_the_schema_is_one_and_accepts_the_demo():
    from ruamel.yaml import YAML

    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(stepsynth("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    task = YAML(typ="safe").load(Path(package.__file__).parent / "demo" / "support.yaml")
    jsonschema.validate(task, schema)
    for section, value in (
        ("task", {"labels": ["a", "b"]}),
        ("task", {"labels": {"a": None, "b": "bee"}}),
        ("task", {"recipe": "imdb"}),
        ("llm", {"backend": "replay", "recordings": "r.jsonl"}),
        ("student", "linear"),
        ("student", {}),
        ("method", "zerogen"),
        ("method", {"rounds": 1}),
    ):
        jsonschema.validate({**task, section: value}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**task, "method": {"name": "s3", "round": 1}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**task, "methd": {}}, schema)


def test_init_writes_a_task_that_check_accepts(tmp_path):
    rows = "body,team\n" + "".join(
        f"the {t} {i} text,{t}\n" for t in ("yes", "no") for i in range(20)
    )
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(rows.encode()))
    options = ["--gold", "mine.csv.gz", "--text", "body", "--label", "team", "--text-name", "note"]
    ok("init", *options, cwd=tmp_path)
    text = (tmp_path / "task.yaml").read_text()
    assert '"yes": "yes"' in text
    assert text.count("#") > 10
    assert "student: {name: auto}" in text
    model = ["--set", "llm.model=small"]
    found = in_json("check", "task.yaml", "--no-ping", *model, cwd=tmp_path)
    assert {n: s["rows"] for n, s in found["splits"].items()} == {
        "mine": 20,
        "select": 8,
        "test": 12,
    }
    assert "--force" in refused("init", *options, cwd=tmp_path)


def test_init_refuses_labels_that_the_file_does_not_have(tmp_path):
    (tmp_path / "x.csv").write_text("text,label\na,one\nb,two\n")
    error = refused("init", "--gold", "x.csv", "--labels", "one,tow", cwd=tmp_path)
    assert "line 3: the label 'two'" in error
    assert not (tmp_path / "task.yaml").exists()


def test_init_takes_an_encoding_by_name(tmp_path):
    rows = "".join(f"un café {i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "x.csv").write_bytes(f"text,label\n{rows}".encode("cp1252"))
    assert "--encoding cp1252" in stepsynth("init", "--gold", "x.csv", cwd=tmp_path).stderr
    error = refused("init", "--gold", "x.csv", "--encoding", "cp1253x", cwd=tmp_path)
    assert "--encoding: no encoding of texts is named 'cp1253x'" in error
    ok("init", "--gold", "x.csv", "--encoding", "cp1252", cwd=tmp_path)
    assert 'encoding: "cp1252"' in (tmp_path / "task.yaml").read_text()


def test_init_refuses_a_column_that_is_no_label(tmp_path):
    rows = "".join(f"text {i},id {i}\n" for i in range(30))
    (tmp_path / "x.csv").write_text("text,label\n" + rows)
    assert "30 different values in 30 rows" in refused("init", "--gold", "x.csv", cwd=tmp_path)
    (tmp_path / "x.csv").write_text("text,label\n" + "a text,one\n" * 30)
    assert "only the value 'one'" in refused("init", "--gold", "x.csv", cwd=tmp_path)


def test_a_semicolon_file_is_read_and_a_missing_column_says_how_to_name_it(tmp_path):
    rows = "".join(f"text, number {i};{'ab'[i % 2]}\n" for i in range(30))
    (tmp_path / "x.csv").write_text("body;label\n" + rows)
    done = stepsynth("init", "--gold", "x.csv", cwd=tmp_path)
    assert "--text COLUMN" in done.stderr
    assert stepsynth("init", "--gold", "x.csv", "--text", "body", cwd=tmp_path).returncode == 0
    assert "YOUR_MODEL" in refused("check", "task.yaml", cwd=tmp_path)
    gold = ("--set", "student=linear")
    assert in_json("audit", "task.yaml", *gold, cwd=tmp_path)["rows"] > 0  # asks no LLM
    assert in_json("train", "task.yaml", "x.csv", "--out", "m", *gold, cwd=tmp_path)["out"] == "m"


def test_labels_that_look_like_markup_are_shown(tmp_path):
    gold = [{"text": f"note {i}", "label": ("[/x]", "[red]b")[i % 2]} for i in range(40)]
    (tmp_path / "g.jsonl").write_text("".join(json.dumps(r) + "\n" for r in gold))
    (tmp_path / "t.yaml").write_text(
        'task: {labels: ["[/x]", "[red]b"]}\ndata: {gold: g.jsonl}\nmethod: gold\n'
    )
    done = ok("check", tmp_path / "t.yaml")
    assert "[/x]" in done.stdout
    assert "[red]b" in done.stdout


def test_a_label_of_one_row_is_learnt_and_check_says_what_it_lacks(tmp_path):
    rows = [{"text": f"note {i} of {'ab'[i % 2]}", "label": "ab"[i % 2]} for i in range(59)]
    rows.insert(7, {"text": "something else", "label": "odd"})
    (tmp_path / "g.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "t.yaml").write_text(
        "task: {labels: [a, b, odd]}\ndata: {gold: g.jsonl}\nmethod: gold\n"
    )
    found = in_json("check", "t.yaml", cwd=tmp_path)
    assert found["splits"]["mine"]["labels"]["odd"] == 1
    assert any("'odd' has 1 row in all, which is in mine" in said for said in found["warnings"])
    ok("run", "t.yaml", "--out", "run", cwd=tmp_path)


def test_bad_rows_of_every_file_are_left_out_where_that_is_asked_for(tmp_path):
    def write(name, texts):
        lines = [f"{text},{'ab'[i % 2]}" for i, text in enumerate(texts)]
        (tmp_path / name).write_text("\n".join(["text,label", *lines, f"odd of {name},x", "lone"]))

    for name, count in (("gold.csv", 40), ("select.csv", 12), ("test.csv", 12), ("seed.csv", 12)):
        write(name, [f"{name} note {i}" for i in range(count)])
    (tmp_path / "t.yaml").write_text(
        "task: {labels: [a, b]}\n"
        "data: {gold: gold.csv, select: select.csv, test: test.csv, on_bad_row: skip}\n"
        "llm: {backend: scripted, rules: [{pattern: '', answers: ['a text \\0']}]}\n"
        "method: {name: s3, seed_from: seed.csv, rounds: 0}\n"
    )
    told = in_json("check", "t.yaml", cwd=tmp_path)["warnings"]
    for name in ("gold.csv", "select.csv", "test.csv", "seed.csv"):
        (said,) = (each for each in told if f"/{name}:" in each)
        assert "2 rows were left out" in said
    error = refused("check", "t.yaml", "--set", "data.on_bad_row=error", cwd=tmp_path)
    assert "gold.csv: 2 rows cannot be used:\n  line 42: the label 'x'" in error
    assert "line 43: this row has 1 field, and the header 2" in error


def test_check_prints_a_table_and_says_what_overlaps(tmp_path):
    task = write_task(tmp_path, url="http://127.0.0.1:9/v1")
    with (tmp_path / "gold.jsonl").open("a") as file:
        file.write('{"text": "APPLE number 0 is red!", "label": "a"}\n')
    done = ok("check", task, "--no-ping")
    assert "1 gold row was dropped: a duplicate of another gold row" in done.stdout.replace(
        "\n", " "
    )
    assert "No LLM was asked" in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "none.yaml"], "there is no such file"),
        (["run"], "Missing argument"),
        (["rnu"], "run"),
        (["report", "nowhere"], "no run is here"),
        (["export", "nowhere", "--recording", "x"], "no run is here"),
    ],
)
def test_wrong_usage_has_one_message_and_no_traceback(tmp_path, args, message):
    assert message in refused(*args, cwd=tmp_path)


def test_a_folder_of_another_run_is_refused_with_the_first_key_that_differs(demo):
    folder, _ = demo
    error = refused("demo", "--recorded", "--out", folder, "--set", "method.rounds=1")
    assert "its method.rounds is 2, now it is 1" in error


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    assert "no run folder" in refused("demo", "--recorded", "--out", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_chinese_task_works_from_prompt_to_prediction(tmp_path):
    gold = [
        ("这部电影很感人", "好"),
        ("演员的表演很好", "好"),
        ("太无聊了", "坏"),
        ("剧情很糟糕", "坏"),
    ]
    lines = [
        json.dumps({"text": f"{t}，第{i}次看", "label": y}, ensure_ascii=False)
        for t, y in gold
        for i in range(6)
    ]
    (tmp_path / "gold.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "seed.j2").write_text("写一条{{ label_word }}评。", encoding="utf-8")
    (tmp_path / "more.j2").write_text(
        "写一条类似的{{ label_word }}评：{{ text }}", encoding="utf-8"
    )
    (tmp_path / "zh.yaml").write_text(
        """\
task:
  labels: {好: 好, 坏: 差}
  prompts: {seed: seed.j2, extrapolate: more.j2}
data: {gold: gold.jsonl}
llm:
  backend: scripted
  rules:
    - pattern: "好评"
      answers: ["好的，以下是一条评论：\\n很感人的电影。", "「表演很好。」", "感人，很好看"]
    - {pattern: "差评", answers: ["太糟糕了。(差)", "很无聊的剧情", "无聊，糟糕"]}
method: {name: s3, seed_size: 30, rationales: false}
""",
        encoding="utf-8",
    )
    ok("run", tmp_path / "zh.yaml", "--out", tmp_path / "run", "--json")
    texts = {
        json.loads(x)["text"]
        for x in (tmp_path / "run/dataset.jsonl").read_text(encoding="utf-8").splitlines()
    }
    assert texts == {
        "很感人的电影。",
        "表演很好。",
        "感人，很好看",
        "太糟糕了。",
        "很无聊的剧情",
        "无聊，糟糕",
    }
    said = stepsynth("predict", tmp_path / "run", "这部电影太无聊了")
    assert said.stdout.startswith("坏\t")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
RULED = "{backend: scripted, rules: [{pattern: '', answers: [a soft pear, a red apple, a plum]}]}"


@pytest.mark.parametrize("command", ["run", "compare"])
@pytest.mark.parametrize("env", [ASCII, {"PYTHONIOENCODING": "latin-1"}])
def test_folders_and_tables_are_shown_whatever_the_terminal_takes(tmp_path, command, env):
    task = write_task(tmp_path, llm=RULED, method="{name: zerogen, seed_size: 9}")
    out = tmp_path / "\u00e4pfel \u68a8"
    more = ("--methods", "gold", "--seeds", 1, "--jobs", 1) if command == "compare" else ()
    for form in ((), ("--json",)):
        done = subprocess.run(
            [*COMMAND, *map(str, (command, task, "--out", out, *more, *form))],
            capture_output=True,
            env={**os.environ, **env},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
    line = json.loads(done.stdout.splitlines()[-1])
    shown = line["run" if command == "run" else "folder"]
    # The system's bytes, where Python took them for no text.
    assert os.fsencode(out) in (shown.encode("utf-8", "surrogateescape"), os.fsencode(shown))


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks take UTF-8 alone")
def test_a_folder_whose_name_is_no_text_is_taken(tmp_path):
    task = write_task(tmp_path, llm=RULED)
    out = tmp_path / os.fsdecode(b"caf\xe9")
    done = stepsynth_process("run", task, "--out", out, "--json", PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 0, done.stderr
    assert os.fspath(out) == summary_of(done)["run"]
    assert json.loads((out / "manifest.json").read_bytes())["summary"]["run"].endswith("caf?")


@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_name_that_is_too_long_is_said(tmp_path, command):
    task = write_task(tmp_path, llm=RULED)
    more = ("--methods", "gold") if command == "compare" else ()
    assert "the name is too long" in refused(command, task, "--out", tmp_path / ("x" * 300), *more)


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    task = write_task(tmp_path, llm=RULED)
    out = tmp_path / "run"
    assert stepsynth("run", task, "--out", out).returncode == 0
    left = out / ".dataset.jsonl.part-abcd1234"
    left.write_text("half a r")
    (out / "fitted/.abcd1234").mkdir()
    (out / "fitted/.abcd1234/weights.npz").write_bytes(b"half")
    own = [out / ".gitignore", out / "fitted/.DS_Store"]
    for file in own:
        file.write_text("*")
    assert stepsynth("run", task, "--out", out).returncode == 0
    assert sorted(out.rglob(".*")) == own


def test_the_demo_without_its_llm_says_how_to_get_it_or_do_without(monkeypatch, tmp_path):
    monkeypatch.setattr("stepsynth.cli.demo.find_spec", lambda _: None)
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "the LLM of the demo is not installed" in done.stderr
    assert "stepsynth demo --recorded" in done.stderr
    assert "stepsynth[embedded]" in done.stderr
    assert not (tmp_path / "run").exists()
    gold = ["demo", "--set", "method=gold", "--out", str(tmp_path / "gold")]
    assert CliRunner().invoke(app, gold).exit_code == 0, "no LLM is needed"
    recording = ["export", str(tmp_path / "gold"), "--recording", str(tmp_path / "r.jsonl")]
    done = CliRunner().invoke(app, recording)
    assert done.exit_code == 2
    assert "no answer of an LLM to record" in done.stderr
    assert not (tmp_path / "r.jsonl").exists()


def test_an_audit_writes_doubts_and_later_commands_read_the_decisions(tmp_path):
    task = write_task(tmp_path, llm="{backend: replay, recordings: [gold.jsonl]}")
    gold = tmp_path / "gold.jsonl"
    texts = [f"apple number {i} is crisp" for i in (97, 98, 99)]
    wrong = [json.dumps({"text": text, "label": "p"}) + "\n" for text in texts]
    gold.write_text(gold.read_text(encoding="utf-8") + "".join(wrong), encoding="utf-8")
    rows = rows_of_splits(task, "mine", "select")
    found = in_json("audit", task)
    file = tmp_path / "fruit.audit.jsonl"
    assert (found["rows"], found["file"]) == (rows, str(file))
    doubts = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert doubts[0]["text"] in texts
    assert (doubts[0]["kind"], doubts[0]["suggested"]) == ("wrong_label", "a")

    assert "may hold decisions of yours" in refused("audit", task)
    shown = stepsynth("audit", task, "--out", tmp_path / "again.jsonl").stdout
    assert "wrong label" in shown
    assert "again.jsonl" in shown

    decided = doubts[0] | {"decision": "drop"}
    file.write_text(json.dumps(decided) + "\n", encoding="utf-8")
    setting = f"data.decisions={file.name}"
    tests = rows_of_splits(task, "test")
    assert rows_of_splits(task, "mine", "select", setting=setting) == rows - 1
    assert rows_of_splits(task, "test", setting=setting) == tests


def rows_of_splits(task, *names, setting="random_seed=0"):
    done = stepsynth("check", task, "--no-ping", "--json", "--set", setting)
    return sum(json.loads(done.stdout)["splits"][name]["rows"] for name in names)
