"""`stepsynth study` as a user meets it: tables, files, the report, and what is wrong where."""

import json
import shutil

import pytest

import stepsynth as library
from stepsynth.errors import RunFolderError
from stepsynth.report import charts
from stepsynth.studies import Chart, Findings, Table, studies
from tests.e2e.cli import in_json, ok, refused, stepsynth, summary_of, write_task

EVIL = "<script>alert(1)</script>"
# What the LLM writes is about the other fruit, so that the student has errors to extrapolate.
RULES = """{backend: scripted, rules: [
  {pattern: 'similar|like', answers: [apple number 3 is red, pear number 4 is soft]},
  {pattern: apple, answers: [a soft long thing, 'a long one <script>alert(1)</script>']},
  {pattern: pear, answers: [a red crisp thing, a crisp one]}]}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two runs, as `compare` lays them out, with gold in a file."""
    folder = tmp_path_factory.mktemp("studies")
    for method in ("s3", "zerogen"):
        task = write_task(folder / "task", llm=RULES, method=f"{{name: {method}, seed_size: 24}}")
        library.run(task, out=folder / "runs" / method / "0")
    return folder / "runs"


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made / "s3" / "0", tmp_path / "run")
    return tmp_path / "run"


def test_the_help_lists_every_study_with_a_line():
    done = ok("study", "--help", COLUMNS="200")
    for name in studies().names():
        assert f"{name}: " in done.stdout


def test_a_study_prints_writes_and_joins_the_report(run):
    assert ">Studies</h2>" not in (run / "report.html").read_text()
    done = ok("study", "gap", run)
    assert "Distribution gap" in done.stdout
    assert f"written: {run / 'studies/gap.json'}" in done.stderr
    findings = Findings.from_dict(json.loads((run / "studies/gap.json").read_text()))
    assert findings.study == "gap"
    html = (run / "report.html").read_text()
    section = html[html.index(">Studies</h2>") :]
    assert "trained on mine" in section
    assert "<svg" in section.split("</section>")[0]
    again = stepsynth("study", "quality", run, "--json")
    said = summary_of(again)
    assert said["study"] == "quality"
    assert said["files"] == [str(run / "studies/quality.json"), str(run / "report.html")]
    html = (run / "report.html").read_text()
    assert "Distribution gap" in html
    assert "Nearness of extrapolations" in html


def test_findings_are_printed_where_the_run_cannot_be_written(run):
    (run / "studies").write_text("a file in place of the folder")
    done = stepsynth("study", "gap", run)
    assert done.returncode == 2
    assert "Distribution gap" in done.stdout
    assert "cannot be written" in done.stderr


def test_what_a_study_says_is_escaped_in_the_report(run):
    evil = Findings(
        study=EVIL,
        tables=(Table(EVIL, (EVIL, "n"), ((EVIL, 1.5), (EVIL, None)), EVIL),),
        charts=(Chart(EVIL, {"data": {"values": [{"x": EVIL}]}, "mark": "text",
                             "encoding": {"text": {"field": "x"}}}),),
        warnings=(EVIL,),
    )  # fmt: skip
    (run / "studies").mkdir()
    (run / "studies/evil.json").write_text(json.dumps(evil.to_dict()))
    ok("report", run)
    html = (run / "report.html").read_text()
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)") >= 8


@pytest.mark.parametrize(
    "spec",
    [
        {"layer": [{"data": {"url": "http://x/y.csv"}, "mark": "point"}]},
        {"data": {"values": []}, "mark": {"type": "point", "href": "http://x"}},
        {"layer": 3},
    ],
)
def test_a_chart_that_is_none_or_would_load_something_is_refused(spec):
    with pytest.raises(RunFolderError, match="a chart in studies/ is damaged"):
        charts.from_spec(spec)


def test_a_damaged_study_is_said_to_be(run):
    (run / "studies").mkdir()
    (run / "studies/gap.json").write_text('{"study": "gap"}')
    assert "damaged" in refused("report", run)


def test_a_folder_of_compare_is_taken_as_its_runs(made, tmp_path):
    out = tmp_path / "found.md"
    ok("study", "efficiency", made, "--set", "orders=1", "--out", out)
    text = out.read_text()
    assert "| s3 | 1 |" in text
    assert "| zerogen | 1 |" in text
    assert not (made / "studies").exists()


def test_processes_find_what_one_process_finds(run):
    command = ("study", "efficiency", run, "--set", "orders=1", "--set", "sizes=3", "--json")
    alone = ok(*command)
    assert stepsynth(*command, "--jobs", "2").stdout == alone.stdout
    assert [path.name for path in (run / "studies").iterdir()] == ["efficiency.json"]


def test_the_charts_of_several_runs_have_a_page(made, tmp_path):
    shutil.copytree(made, tmp_path / "<b>runs")
    folder = tmp_path / "<b>runs"
    files = in_json("study", "efficiency", folder, "--set", "orders=1")["files"]
    assert files[-1] == str(folder / "studies.html")
    html = (folder / "studies.html").read_text()
    assert html.count("<svg") == 2  # against rows, against calls
    assert "Rows and calls to reach the best of zerogen" in html
    assert "<b>runs" not in html


def test_theory_needs_no_run(tmp_path):
    done = ok("study", "theory", "--set", "pairs=20", "--json", cwd=tmp_path)
    assert summary_of(done)["files"] == []
    assert list(tmp_path.iterdir()) == []
    again = stepsynth("study", "theory", "--set", "pairs=20", "--json", cwd=tmp_path)
    assert again.stdout == done.stdout


def test_a_run_that_was_stopped_is_studied_as_far_as_it_is(run):
    (run / "manifest.json").unlink()
    shutil.rmtree(run / "model")
    done = ok("study", "gap", run)
    assert "the run is not done" in done.stderr


def test_a_study_changes_nothing_of_the_run(run):
    names = ("config.yaml", "dataset.jsonl", "manifest.json", "identity.json")
    before = [(run / name).read_bytes() for name in names]
    for name in ("cartography", "gap"):
        assert stepsynth("study", name, run).returncode == 0
    assert [(run / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["teory"], "no study is named 'teory'", "did you mean 'theory'?"),
        (["gap"], "there is nothing to study", "stepsynth study gap runs/"),
        (["gap", "nowhere"], "nowhere: there is no such folder", "give a run folder"),
        (["gap", "."], "no run is here", "give the folder of a run"),
        (["quality", "ZEROGEN"], "no extrapolation is here", "`s3` and `goldgen`"),
        (["gap", "RUN", "--set", "golt=false"], "golt: unknown key", "did you mean 'gold'?"),
        (["gap", "RUN", "--set", "gold"], "expected KEY=VALUE", "--set random_seed=1"),
        (["cartography", "RUN", "--set", "epochs=many"], "epochs: ", ""),
        (["gap", "RUN", "--out", "x.html"], "ends in .json or .md", ""),
        (["gap", "RUN", "--jobs", "2"], "the study gap is done in one piece", "advice and"),
        (["advice", "RUN", "--executor", "dusk"], "no executor is named 'dusk'", "'dask'?"),
        (["gap", "RUN", "--set", "data.gold=no.jsonl"], "no.jsonl", ""),
    ],
)
def test_what_is_wrong_is_said_in_a_line(made, tmp_path, arguments, message, hint):
    places = {"RUN": str(made / "s3/0"), "ZEROGEN": str(made / "zerogen/0")}
    done = stepsynth("study", *(places.get(a, a) for a in arguments), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert message in done.stderr
    assert hint in done.stderr
    assert done.stdout == ""


def test_a_comparison_with_the_llm_itself_can_be_studied(tmp_path):
    rules = [
        {"pattern": "JSON", "answers": ['{"label": "apple"}']},
        *(
            {"pattern": f"that is {f}", "answers": [f"{f} no {i} is {w}" for i in range(30)]}
            for f, w in (("apple", "crisp"), ("pear", "soft"))
        ),
    ]
    llm = json.dumps({"backend": "scripted", "rules": rules})
    method = "{name: zerogen, seed_size: 20}"
    task = write_task(tmp_path, llm=llm, method=method)
    out = tmp_path / "out"
    ok("compare", task, "--methods", "zerogen,llm", "--seeds", "1", "--out", out)
    for place in (out, out / "zerogen"):
        studied = ok("study", "labels", place)
        assert "zerogen/0" in studied.stdout
    error = refused("study", "labels", out / "llm" / "0")
    assert "this run has no rows, its method makes none" in error
