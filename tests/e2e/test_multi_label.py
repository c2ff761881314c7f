"""Rows of several labels from a gold file, over HTTP, to a report, a comparison and predictions."""

import json
import re
from itertools import count
from pathlib import Path

import pytest

import stepsynth as package
from stepsynth.records import LabelSet
from stepsynth.report import score_interval
from stepsynth.review import History, Table
from stepsynth.review.deciding import BadRequestError, decide
from stepsynth.review.page import Query, find_rows
from tests.e2e.cli import in_json, ok, refused, stepsynth
from tests.stub_server import StubServer, completion

MESSAGES = """\
The car park by the station is full at seven every morning.|parking
My resident permit ran out and the online form shows an error.|parking
A van blocks the loading bay in front of our bakery.|parking
Can visitors of the hospital leave their car there all day?|parking
The ticket machine on the quay swallowed my coins.|parking
Our organic bin was left standing full on Tuesday.|waste
Where can I bring four old tyres and a mattress?|waste
Rats come to the rubbish bags behind the kebab shop.|waste
The bottle bank in Elm Road has been overflowing since Sunday.|waste
We need a second paper bin for our house of six families.|waste
A bar on the ground floor plays loud music until three.|noise
Builders start drilling at half past five in the morning.|noise
The neighbours' dog barks through the whole night.|noise
Motorcycles race along the ring road after midnight.|noise
The fan on the roof of the cold store hums without a pause.|noise
A deep pothole in Mill Street has damaged my wheel.|roads
The street lamp by the school has been dark for weeks.|roads
Ice on the footbridge made me fall this morning.|roads
The zebra crossing at the chemist's can hardly be seen any more.|roads
A manhole cover on the cycle path is loose.|roads
Cars park on the pavement, so that prams must use the broken road.|parking,roads
The barrier of the car park squeaks all night long.|parking,noise
The bin lorry cannot get through because of parked cars.|parking,waste
Glass from the bottle bank lies all over the cycle path.|waste,roads
Men throw bottles into the glass container at two at night.|waste,noise
Road works with a jackhammer go on until late in the evening.|noise,roads
Parked trucks run their engines all night and break the kerb.|parking,noise,roads
Thank you for the lovely concert in the park.|
What are the opening hours of the town hall?|
I would like to praise the lady at the front desk.|
How do I get a copy of my birth certificate?|
When is the next meeting of the council?|
"""
WORDS = {"parking": "parked car", "waste": "full bin", "noise": "loud din", "roads": "broken road"}
NUMBERS = count()


def answer(_, body):
    """Write about the topics that a prompt names."""
    asked = body["messages"][-1]["content"]
    if '{"labels"' in asked:
        text = asked.split("Here is a message:")[-1]
        return completion(json.dumps({"labels": [k for k, v in WORDS.items() if v in text]}))
    if re.search(r"List \d+ different", asked):
        return completion("1. a first thing\n2. a second thing\n3. a third thing")
    named = "".join(re.findall(r"message about ([\w, ]+)", asked)[:1])
    topics = [] if "other than" in named else [word for word in WORDS if word in named]
    number = next(NUMBERS)
    told = " and a ".join(WORDS[topic] for topic in topics) or "kind word for the staff"
    return completion(f"Near house {number} there is a {told}, as {number % 7} of us saw.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("city")
    rows = [line.rsplit("|", 1) for line in MESSAGES.splitlines()]
    gold = [
        {"message": f"{text} ({i})", "topics": labels.split(",") if labels else []}
        for i in range(3)
        for text, labels in rows
    ]
    lines = "".join(json.dumps(row) + "\n" for row in gold)
    (place / "gold.jsonl").write_text(lines, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def llm():
    with StubServer(answer=answer) as running:
        yield running


@pytest.fixture(scope="module")
def task(folder, llm) -> Path:
    path = folder / "city.yaml"
    path.write_text(
        f"""\
task:
  kind: multi_label
  instruction: Decide what a message to the city is about.
  text_name: message
  labelled_name: message about {{label}}
  labels: [parking, waste, noise, roads]
data:
  gold: gold.jsonl
  columns: {{text: message, label: topics}}
  split: {{mine: 0.4, select: 0.3, test: 0.3}}
llm: {{backend: openai_compatible, base_url: "{llm.url}", model: m, concurrency: 8}}
method: {{name: s3, seed_size: 40, rounds: 1, num_rationales: 3}}
curation: {{copies: false}}
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def run(task) -> package.Run:
    summary = in_json("run", task, "--out", task.parent / "run")
    assert {"micro_f1", "macro_f1", "sample_f1", "exact_match"} <= summary["test"].keys()
    return package.open_run(task.parent / "run")


def test_the_rows_have_the_sets_of_gold(run, llm):
    sets = {row.label for row in run.dataset}
    assert LabelSet(("parking", "noise")) in sets or LabelSet(("parking", "roads")) in sets
    assert all(isinstance(label, LabelSet) for label in sets)
    prompts = [body["messages"][-1]["content"] for body in llm.bodies]
    nothing = "about something other than parking, waste, noise or roads"
    assert any(nothing in prompt for prompt in prompts)
    several = r"about \w+ and also \w+, all in the same message"
    assert any(re.search(several, prompt) for prompt in prompts)


def test_what_was_mistaken_is_in_the_errors_and_each_label_in_the_report(run):
    missed = run.rounds[0].missed
    assert missed
    for each in missed:
        own = set(each.example.label.names) - set(each.differences["missed"])
        said = own | set(each.differences["too_many"])
        assert said == set(LabelSet.parse(each.predicted).names)
    page = run.folder.report.read_text(encoding="utf-8")
    assert "Scores by label" in page
    assert "Confusion matrix" not in page
    assert "missed: " in page or "too many: " in page
    assert "test micro-F1, %" in page


def test_references_are_told_in_exact_matches(run):
    names = [each.name for each in run.summary.references]
    assert names == ["majority class", "gold alone"]
    for each in run.summary.references:
        kept = run.summary.test["exact_match"] - each.test["exact_match"]
        assert each.kept_minus[0] == pytest.approx(kept)


def test_what_answers_cost_is_scored_by_sets(run, task, folder):
    sets = [["parking"], ["waste", "noise"], ["roads"], []]
    things = [" beside a ".join(WORDS[name] for name in own) or "brass band" for own in sets]
    lines = [
        {"message": f"On day {i * i} my aunt {word} a {thing} in her dream", "topics": own}
        for i, word in enumerate(("saw", "drew", "praised", "forgot", "heard"))
        for thing, own in zip(things, sets, strict=True)
    ]
    rows = folder / "new.jsonl"
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = in_json("cost", run.folder.path, rows, "--fall-back", task)
    model, asked = found["ways"]
    assert (model["name"], asked["name"], found["rows"]) == ("model alone", "LLM alone", 20)
    assert model["scores"].keys() == {"exact_match", "micro_f1"}
    assert asked["scores"]["exact_match"]["mean"] == asked["scores"]["micro_f1"]["mean"] == 1.0
    assert "micro-F1 %" in (run.folder.path / "cost.html").read_text(encoding="utf-8")
    one = folder / "one.yaml"
    one.write_text(task.read_text().replace("multi_label", "classification"))
    error = refused("cost", run.folder.path, rows, "--fall-back", one)
    assert "those of the model are parking, waste, noise, roads (several a text)" in error


def test_predictions_are_sets_with_a_probability_for_each_label(run):
    text = "a parked car and a loud din near house 3"
    done = stepsynth("predict", run.folder.path, text, "--json")
    said = json.loads(done.stdout)
    assert said["probabilities"].keys() == {"parking", "waste", "noise", "roads"}
    thresholds = json.loads((run.folder.model / "thresholds.json").read_text())
    given = [name for name, p in said["probabilities"].items() if p >= thresholds[name]]
    assert said["label"] == given
    line = stepsynth("predict", run.folder.path, text).stdout.rstrip("\n").split("\t")
    shares = [f"{said['probabilities'][name]:.4f}" for name in given]
    assert line == ["|".join(given) or "(none)", "|".join(shares)]
    assert package.load_student(run.folder.model).predict([text]) == [line[0]]
    table = run.folder.path / "out.csv"
    stepsynth("predict", run.folder.path, text, "--output", table)
    assert table.read_text().splitlines()[1].split(",")[1] == line[0]


def test_a_task_is_checked_planned_and_previewed(task, run):
    checked = ok("check", task)
    assert re.search(r"parking .*\d+ .*\d+ .*\d+", checked.stdout)
    assert re.search(r"\(none\) .*\d+ .*\d+ .*\d+", checked.stdout)
    ok("plan", task)
    shown = ok("preview", task, "-n", "2")
    assert "in one message about" in shown.stdout


def test_methods_are_compared_by_micro_f1(task):
    args = ("--methods", "llm,gold", "--seeds", "1", "--out", task.parent / "compare")
    found = in_json("compare", task, *args, "--against", "llm")
    assert found["score"] == "micro_f1"
    gold = next(row for row in found["methods"] if row["name"] == "gold")
    assert gold["against"].keys() == {"micro_f1", "macro_f1", "exact_match"}
    assert gold["by_label"].keys() == {"parking", "waste", "noise", "roads"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("method=progen", "'progen' is not defined for multi_label"),
        ("method=s3_plus", "'s3_plus' is not defined for multi_label"),
        ("student=ensemble", "'ensemble' cannot learn multi_label"),
        ("curation.check=llm", "multi_label rows have sets of labels"),
        ("data.decisions=x.jsonl", "a multi_label row has a set of them"),
    ],
)
def test_what_is_for_one_label_is_refused_before_anything_is_read(task, setting, message):
    assert message in refused("run", task, "--set", setting, "--out", task.parent / "refused")


def test_the_cards_say_what_the_model_gives(run, tmp_path):
    args = ("--hub", "org/city", "--license", "mit", "--dry-run", tmp_path / "hub")
    ok("export", run.folder.path, *args)
    cards = [path.read_text(encoding="utf-8") for path in (tmp_path / "hub").rglob("README.md")]
    assert len(cards) == 2
    for card in cards:
        assert "multi-label text classification" in card
        assert "| micro_f1 |" in card
        assert "the context that it belongs to" not in card


def test_a_review_changes_no_set_of_labels(run):
    table = Table.read(run)
    assert table.labels == ()
    row = next(iter(table.rows.values()))
    query = Query(label=str(row.example.label))
    assert row in list(find_rows(table, query, History()))
    missed = {"id": "a" * 8, "data": "gold", "row": table.errors[0].id, "what": "keep"}
    with pytest.raises(BadRequestError, match="sets of labels cannot be decided on"):
        decide(missed, table, History())


def test_rows_and_task_may_be_objects():
    rows = enumerate(line.rsplit("|", 1) for line in MESSAGES.splitlines())
    gold = [
        {"text": f"{text} ({i})", "label": labels.split(",") if labels else []}
        for i, (text, labels) in rows
    ]
    task = package.MultiLabel(labels=list(WORDS), text_name="message")
    result = package.synthesize(task, gold, method=package.Gold())
    assert all(isinstance(row.label, LabelSet) for row in result.dataset)
    assert 0 <= result.summary.test["micro_f1"] <= 1


def test_an_audit_and_studies_say_that_they_are_for_one_label(task, run):
    audited = stepsynth("audit", task)
    studied = stepsynth("study", "quality", run.folder.path)
    assert (audited.returncode, studied.returncode) == (2, 2)
    assert "have sets of labels" in audited.stderr
    assert "have sets of labels" in studied.stderr


def test_init_writes_a_task_of_several_labels(folder, llm):
    out = folder / "new.yaml"
    args = ("--gold", folder / "gold.jsonl", "--text", "message", "--label", "topics", "-o", out)
    assert "but of kind multi_label" in refused("init", *args)
    ok("init", *args, "--multi-label")
    assert "kind: multi_label" in out.read_text(encoding="utf-8")
    assert 'labelled_name: "message about {label}"' in out.read_text(encoding="utf-8")


def test_the_list_of_runs_has_the_interval_of_micro_f1_as_the_report_has_it(run):
    """Micro-F1 is no share of the rows, so the interval of a share would be wrong."""
    listed = json.loads(stepsynth("runs", run.folder.path, "--json").stdout)
    (line,) = listed["runs"] if isinstance(listed, dict) else listed
    assert (line["low"], line["high"]) == score_interval(run, "micro_f1")
    assert line["low"] <= run.summary.test["micro_f1"] <= line["high"]
