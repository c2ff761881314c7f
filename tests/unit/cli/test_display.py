"""The live line: what it says at every width, that it is not markup, and when it is quiet."""

import json
import threading
from collections import Counter
from io import StringIO
from itertools import count

import pytest
from rich.console import Console

from stepsynth.cli._display import Display
from stepsynth.cli._shared import llm_in_words, print_json, printable
from stepsynth.llm.core.usage import Status, Usage
from stepsynth.run_records import LLMTotals


def status(done=1234, total=2000, **more):
    given = {
        "phase": "round 1: extrapolate errors",
        "in_flight": 12,
        "allowed": 256,
        "per_second": 120.0,
        "usage": Usage(
            requests=1290,
            failures=Counter(refused_request=1),
            setbacks=Counter(rate_limit=10, timeout=2),
            retries=12,
            prompt_tokens=1_200_000,
            completion_tokens=310_000,
            usd=0.4123,
        ),
        **more,
    }
    return Status(done=done, total=total, **given)


@pytest.fixture
def drawn():
    """A display on a terminal, and a function that draws it at a width."""
    display = Display()
    display._is_live = True

    def draw(width: int) -> list[str]:
        console = Console(file=StringIO(), width=width, force_terminal=False)
        console.print(display._draw())
        return console.file.getvalue().splitlines()

    return display, draw


def test_80_columns_hold_all_of_it(drawn):
    display, draw = drawn
    display.asking(status(0, allowed=256))
    display.asking(status(in_flight=12, allowed=16))
    first, second, third = draw(80)
    assert "round 1: extrapolate errors" in first
    assert "1234/2000  120/s  ETA 6 s" in first
    assert second == "  12 in flight of 16 allowed, 0.412 USD, 1.5M tokens"
    assert third == "  1 failed: refused_request; 12 retried: 10 rate_limit, 2 timeout"


def test_a_calm_phase_needs_two_lines(drawn):
    display, draw = drawn
    display.asking(status(usage=Usage(requests=3, prompt_tokens=9, usd=None)))
    assert len(draw(80)) == 2
    assert draw(80)[1] == "  12 in flight, cost not known, 9 tokens"


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120, 200])
def test_no_line_is_wrapped_and_the_note_stays(drawn, width):
    display, draw = drawn
    display.asking(status(note="the provider is down, next try in 8 s"))
    lines = draw(width)
    assert len(lines) <= 3
    assert all(len(line) <= width for line in lines)
    assert any("the provider is" in line for line in lines)


def test_without_a_total_there_is_a_count_and_no_bar(drawn):
    display, draw = drawn
    display.asking(status(total=None))
    assert draw(80)[0] == "round 1: extrapolate errors 1234  120/s"


def test_nothing_is_markup_and_nothing_commands_the_terminal(drawn):
    display, draw = drawn
    display.asking(status(phase="[red]x[/red]", note="bad\x1b[2J\r[/b]\nword"))
    text = "\n".join(draw(120))
    assert "[red]x[/red]" in text
    assert "[/b] word" in text
    assert "\x1b" not in text
    assert "\r" not in text
    assert printable("a\tb\nc\x1b]0;x\x07") == "a\tb\nc<U+001B>]0;x<U+0007>"
    assert printable("a \u202etxt.exe\u2066 שלום") == "a <U+202E>txt.exe<U+2066> שלום"


def test_a_line_of_json_commands_no_terminal_and_says_the_same(capsys):
    value = {"text": "a \u202etxt.exe \x9b2J \x1b[2J é"}
    print_json(value)
    (line,) = capsys.readouterr().out.splitlines()
    assert not set("\u202e\x9b\x1b") & set(line)
    assert "é" in line
    assert json.loads(line) == value


def test_it_can_be_told_and_drawn_from_several_threads(drawn):
    display, draw = drawn
    stop = threading.Event()
    failed: list[BaseException] = []

    def tell() -> None:
        i = 0
        while not stop.is_set():
            display.asking(status(i % 2000, phase=f"phase {i % 50}"))
            i += 1

    def look() -> None:
        try:
            for _ in range(30):
                draw(80)
                display.forget()
        except BaseException as error:
            failed.append(error)

    teller, looker = threading.Thread(target=tell), threading.Thread(target=look)
    teller.start()
    looker.start()
    looker.join()
    stop.set()
    teller.join()
    assert not failed


def test_elsewhere_a_phase_leaves_one_line_and_a_stream_of_reports_does_not(capsys, monkeypatch):
    with Display() as display:
        monkeypatch.setattr("stepsynth.cli._display.time.monotonic", count().__next__)
        for done in range(2001):
            display.asking(status(done, in_flight=0 if done == 2000 else 12))
            display.progress("round 1: epochs", min(done, 10), 10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 + 1  # both ends; "epochs" goes on saying that it is done
    assert lines[0].startswith("round 1: epochs: 10/10")
    assert lines[1] == (
        "round 1: extrapolate errors: 2000/2000 (2.0 s each), 0.412 USD, 1.5M tokens; "
        "1 failed: refused_request; 12 retried: 10 rate_limit, 2 timeout"
    )


def test_a_phase_that_was_stopped_says_how_far_it_came(capsys):
    with Display() as display:
        display.asking(status(700))
    assert "round 1: extrapolate errors: 700/2000" in capsys.readouterr().err


def test_a_display_of_many_runs_leaves_no_line_of_a_phase(capsys):
    with Display(says_ends=False) as display:
        display.asking(status(2000))
        display.tell("[1/6] zerogen, random seed 0: done in 2.0 s")
        display.forget()
    assert capsys.readouterr().err == "[1/6] zerogen, random seed 0: done in 2.0 s\n"


def test_the_speed_of_training_is_that_of_this_round(drawn, monkeypatch):
    display, draw = drawn
    now = [0.0]
    monkeypatch.setattr("stepsynth.cli._display.time.monotonic", lambda: now[0])
    display.progress("embed", 900, 1000)  # was done before
    now[0] = 10.0
    display.progress("embed", 950, 1000)
    assert "950/1000  5/s  ETA 10 s" in draw(80)[0]
    display.progress("embed", 0, 1000)  # the phase begins anew
    now[0] = 12.0
    display.progress("embed", 100, 1000)
    assert "50/s" in draw(80)[0]


@pytest.mark.parametrize(
    ("per_second", "shown"),
    [
        (4000.0, "4000/s  ETA 1 s"),
        (1.44, "1.4/s  ETA 9 min"),
        (9.96, "10/s  ETA 77 s"),
        (0.5, "2.0 s each  ETA 26 min"),
        (0.0025, "7 min each  ETA 3.6 days"),
        (0.0, ""),
    ],
)
def test_slow_rates_and_long_times_are_said_as_one_would(drawn, per_second, shown):
    display, draw = drawn
    display.asking(status(1230, per_second=per_second))
    assert draw(100)[0].endswith(f"1230/2000  {shown}".rstrip())


def test_the_totals_say_what_was_sent_what_failed_and_what_a_row_cost():
    llm = {
        "requests": 120,
        "from_store": 30,
        "retries": 12,
        "setbacks": {"rate_limit": 10, "timeout": 3},
        "failures": {"timeout": 1},
        "rejected": {"refusal": 4, "too_short": 2},
        "replayed": 0,
        "prompt_tokens": 5000,
        "cached_tokens": 400,
        "completion_tokens": 800,
        "reasoning_tokens": 300,
        "usd": None,
        "tokens_per_kept_row": 58.0,
    }
    assert list(llm_in_words(LLMTotals(**llm), 150.0)) == [
        "LLM: 120 requests sent now, 30 from the store; 12 retried: 10 rate_limit, 2 timeout; "
        "1 failed: timeout; 6 rejected: 4 refusal, 2 too_short. 2.5 minutes.",
        "The whole run: 5000 prompt (400 of them cached) + 800 completion (300 of them reasoning) "
        "tokens, cost not known, 58 tokens a kept row.",
    ]
    (replayed,) = llm_in_words(LLMTotals(**llm | {"replayed": 9}), 1.0)
    assert replayed.startswith("LLM: none was called, 9 recorded answers; ")
