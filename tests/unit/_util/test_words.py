"""Numbers and Markdown as people see them, in every report alike."""

import shlex
from pathlib import Path

import pytest

from stepsynth._util.words import (
    amount,
    duration,
    markdown_row,
    set_path,
    set_replay,
    short,
    usd,
)
from stepsynth.taskfile import parse_value


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0"), (999, "999"), (1500, "1.5k"), (45_600, "46k"), (1_510_000, "1.5M")]
)
def test_big_numbers_are_short(n, said):
    assert short(n) == said


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0"), (0.00042, "0.00042"), (0.41234, "0.412"), (3.2, "3.20")]
)
def test_small_amounts_keep_three_digits(n, said):
    assert amount(n) == said


def test_what_is_not_known_is_said():
    assert usd(None) == "cost not known"
    assert usd(1234.5) == "1,234.50 USD"
    assert (duration(99.94), duration(120)) == ("99.9 s", "2.0 minutes")


def test_a_cell_stays_in_its_cell_and_is_no_markup():
    assert markdown_row(["a|b\nc", "<script>", "*x*_y_`z`"]) == (
        r"| a\|b c | \<script> | \*x\*\_y\_\`z\` |"
    )


@pytest.mark.parametrize("name", ["runs", "my runs", "it's", "a, b]", "x: y #1", "caf\u00e9"])
def test_an_option_with_a_path_can_be_pasted_into_a_shell(name):
    path = Path("/data") / name / "requests.sqlite"
    _, given = shlex.split(set_path("llm.store", path))
    key, _, value = given.partition("=")
    assert (key, parse_value(value)) == ("llm.store", str(path))
    _, given = shlex.split(set_replay(path))
    recorded = {"backend": "replay", "recordings": [str(path)]}
    assert parse_value(given.partition("=")[2]) == recorded


def test_an_option_with_a_plain_path_is_as_one_would_type_it():
    assert set_path("llm.store", Path("/a/b-1.sqlite")) == "--set llm.store=/a/b-1.sqlite"
    recorded = "--set 'llm={backend: replay, recordings: [/a/b.jsonl]}'"
    assert set_replay(Path("/a/b.jsonl")) == recorded
