"""What the Python interface tells: warnings by `warnings`, and progress below a cell."""

import sys
import warnings
from collections import Counter
from types import SimpleNamespace

import pytest

from stepsynth import StepsynthWarning, notebook
from stepsynth.llm.core.usage import Status, Usage
from stepsynth.run_records import RoundMetrics, Scores


@pytest.fixture
def cell(monkeypatch):
    """The content of what is displayed; IPython itself need not be installed."""
    shown: list[dict[str, str]] = []

    def display(content, *, raw, display_id):
        assert raw
        assert display_id
        shown.append(content)
        return SimpleNamespace(update=lambda content, **_: shown.append(content))

    kernel = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: kernel)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(notebook, "EVERY_S", 0.0)
    return shown


def told_by(observer, *messages):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default", StepsynthWarning)
        for message in messages:
            observer.warn(message)
    return found


@pytest.mark.parametrize("make", [notebook.WarningObserver, notebook.WarningWatcher])
def test_a_warning_comes_once_from_the_line_that_calls(make):
    first, second = told_by(make(), "few rows", "few rows", "no key")
    assert [str(w.message) for w in (first, second)] == ["few rows", "no key"]
    assert first.category is StepsynthWarning
    assert first.filename == __file__


def test_a_script_shows_no_progress():
    assert not notebook.in_notebook()
    assert type(notebook.default_observer()) is notebook.WarningObserver
    assert type(notebook.default_watcher()) is notebook.WarningWatcher


def test_a_run_is_a_bar_and_then_a_line_for_each_round(cell):
    observer = notebook.default_observer()
    usage = Usage(failures=Counter(timeout=2), usd=0.5)
    observer.asking(Status("seed data", 3, 10, 4, 4, 1.0, usage, "the provider is down"))
    assert cell[-1]["text/plain"] == "seed data: 3/10, 0.5 USD, 2 failed, the provider is down"
    assert '<progress value="3" max="10">' in cell[-1]["text/html"]
    scores = Scores(accuracy=0.5, macro_f1=0.25)
    observer.round_done(
        RoundMetrics(round=0, added=9, train_size=9, misclassified=4, select=scores)
    )
    assert cell[-1]["text/plain"] == (
        "round 0: 9 rows added, trained on 9, 4 mining rows misclassified, "
        "select acc. 0.500, select F1 0.250"
    )


def test_what_is_shown_is_text_and_no_html(cell):
    observer = notebook.default_observer()
    observer.progress("<script>alert(1)</script>\x1b[2J", 1, 2)
    assert "&lt;script&gt;" in cell[-1]["text/html"]
    assert "<script>" not in cell[-1]["text/html"]
    assert "\x1b" not in cell[-1]["text/html"]


def test_many_reports_are_drawn_at_intervals_and_the_end_at_once(cell, monkeypatch):
    monkeypatch.setattr(notebook, "EVERY_S", 3600.0)
    observer = notebook.default_observer()
    for done in range(101):
        observer.progress("training", done, 100)
    assert len(cell) <= 3
    assert cell[-1]["text/plain"] == "training: 100/100"
