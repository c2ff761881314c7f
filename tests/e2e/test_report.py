"""The report: self-contained, escaped, and without an error in a real browser."""

import json
import random
import re
import shutil

import pytest

import stepsynth
from tests.e2e.cli import draw_in_browser, needs_browser
from tests.e2e.cli import stepsynth as command

EVIL = '<script>alert(1)</script><img src=x onerror=alert(2)> "quoted" & {{ 7*7 }} </svg>'
WORDS = tuple(f"w{i}" for i in range(300))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rng = random.Random(0)

    def odd():
        """Unlike any other one, so that none is a copy of a row that is held out."""
        return f"{EVIL} {' '.join(rng.sample(WORDS, 16))}"

    gold = [{"text": odd(), "label": fruit} for fruit in ("apple<b>", "pear") for i in range(20)]
    rules = [
        {"pattern": "reasons", "answers": [f"1. {EVIL}\n2. two"]},
        {
            "pattern": "Write",
            "answers": [odd() for _ in range(9)] + ["I cannot write that."],
        },
    ]
    stepsynth.synthesize(
        {
            "labels": {"apple<b>": "<i>apple</i>", "pear": "pear"},
            "instruction": f"Decide this: {EVIL}",
        },
        gold,
        llm={"backend": "scripted", "rules": rules},
        method={"name": "s3", "seed_size": 20, "num_rationales": 2},
        out=folder / "run",
        name="<u>name</u>",
    )
    return folder / "run" / "report.html"


def test_what_data_and_llm_wrote_is_escaped(report):
    html = report.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in re.sub(r"<b>[\d.]+( s)?</b>|<b>(s3|linear)</b>", "", html)
    assert "&lt;script&gt;alert(1)" in html
    assert "{{ 7*7 }}" in html


def test_it_loads_nothing(report):
    html = report.read_text(encoding="utf-8")
    tags = " ".join(re.findall(r"<[a-zA-Z][^>]*>", html)) + html.split("</style>")[0]
    links = re.findall(
        r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)|url\(([^)]+)\)|@import (\S+)""", tags
    )
    assert {link for found in links for link in found if link} == {"data:,"}
    assert re.findall(r"<(?:script|link|iframe|object|embed|form)\b(?! rel=\"icon\")", html) == []
    assert "default-src 'none'" in html


def test_it_answers_the_readers_questions_in_order(report):
    html = report.read_text(encoding="utf-8")
    wanted = [
        "Did each round close the gap?",
        "Confusion matrix",
        "Did it help?",
        "What was misclassified, and what was written for it",
        "Label balance",
        "Outputs that were not used",
        "What it cost",
        "Prompts in full",
        "Configuration",
    ]
    places = [html.index(title) for title in wanted]
    assert places == sorted(places)
    assert html.count("<svg") >= 5
    assert "refusal" in html


def test_a_run_that_was_stopped_has_a_report_too(report, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(report.parent, run)
    (run / "manifest.json").unlink()
    for metrics in run.glob("rounds/*/metrics.json"):
        numbers = json.loads(metrics.read_text())
        numbers.pop("test")
        metrics.write_text(json.dumps(numbers))
    done = command("report", run)
    assert done.returncode == 0, done.stderr
    assert "This run is not done" in (run / "report.html").read_text(encoding="utf-8")


def test_a_damaged_run_is_said_to_be(report, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(report.parent, run)
    (run / "rounds/0/examples.jsonl").write_text("{oops\n")
    done = command("report", run)
    assert done.returncode == 2
    assert "damaged" in done.stderr


@needs_browser
def test_a_browser_draws_it_without_a_word_on_the_console(report, tmp_path):
    draw_in_browser(report, tmp_path / "report.png", "1200,3000")
