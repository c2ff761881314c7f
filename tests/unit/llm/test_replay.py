"""Recordings are matched by the keys that they carry, in request order, once."""

import gzip
import json

import pytest

from stepsynth.errors import ConfigError, DataError
from stepsynth.llm import LLM, Completion, Failed, Request
from stepsynth.llm.backends.replay import Replay, ReplayBackend
from stepsynth.llm.store.recording import request_digest

LINES = [
    *({"kind": "seed", "label": "a", "completion": f"a{i}"} for i in range(6)),
    {"kind": "seed", "label": "b", "completion": "b0"},
    {"kind": "extrapolate", "label": "a", "source": "one", "completion": "like one"},
    {"kind": "extrapolate", "label": "a", "source": "one", "completion": "like one too"},
    {"kind": "extrapolate", "label": "b", "source": "one", "completion": "b like one"},
    {"kind": "extrapolate", "label": "a", "source": "two", "completion": "green tea is nice"},
]


@pytest.fixture
def record(tmp_path):
    def write(rows, name="r.jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return str(path)

    return write


def play(paths, requests, random_seed=0, **settings):
    spec = Replay(recordings=tuple(paths), **settings)
    llm = LLM(ReplayBackend(spec, random_seed), random_seed=random_seed)
    try:
        answers = llm.generate(requests, phase="test")
        return [a.text if isinstance(a, Completion) else a.reason for a in answers], llm.usage
    finally:
        llm.close()


def seed(label):
    return Request("p", "seed", tags={"kind": "seed", "label": label})


def like(source, label="a"):
    tags = {"kind": "extrapolate", "label": label, "source": source}
    return Request("p", f"extrapolate/{source}", tags=tags)


def test_seed_rows_are_drawn_without_replacement_by_the_random_seed(record):
    path = record(LINES, "r.jsonl.gz")
    drawn, usage = play([path], [seed("a") for _ in range(7)])
    assert sorted(drawn[:6]) == [f"a{i}" for i in range(6)]
    assert drawn[6] == "exhausted"
    assert (usage.requests, usage.from_store, usage.failures) == (0, 0, {"exhausted": 1})
    assert play([path], [seed("a") for _ in range(6)])[0] == drawn[:6]
    others = {tuple(play([path], [seed("a") for _ in range(6)], s)[0]) for s in range(1, 9)}
    assert len(others) > 4


def test_every_row_is_as_likely_to_be_drawn_first(record):
    path = record(LINES)
    first = [play([path], [seed("a")], random_seed=s)[0][0] for s in range(120)]
    assert all(8 <= first.count(f"a{i}") <= 36 for i in range(6))


def test_a_row_recorded_for_the_source_answers_and_the_label_counts(record):
    drawn, _ = play([record(LINES)], [like("one"), like("one"), like("one"), like("one", "b")])
    assert sorted(drawn[:2]) == ["like one", "like one too"]
    assert drawn[2:] == ["exhausted", "b like one"]


def test_the_nearest_unused_row_stands_in_with_a_fallback(record):
    path = record(LINES)
    asked = [like("a nice green tea"), like("a nice green tea"), like("one")]
    drawn, _ = play([path], asked, fallback="nearest")
    assert drawn[0] == "green tea is nice"
    assert set(drawn[1:]) == {"like one", "like one too"}


def test_the_identity_is_the_content_and_not_the_path(record):
    first = Replay(recordings=(record(LINES, "one.jsonl"),)).identity()
    assert first == Replay(recordings=(record(LINES, "two.jsonl"),)).identity()
    assert first != Replay(recordings=(record(LINES[1:], "three.jsonl"),)).identity()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{oops", "line 1: this is no recording"),
        ('{"kind": "seed", "completion": "x"}\n{"kind": "seed"}', "line 2: .*'completion'"),
        ("[1]", "line 1: .*expected an object"),
        (
            '{"kind": "seed", "completion": "x", "request": 5}',
            "line 1: .*'request' must be a text, got 5",
        ),
    ],
)
def test_a_line_that_is_no_recording_is_named(tmp_path, text, message):
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        ReplayBackend(Replay(recordings=(str(path),)), 0)


def test_a_recording_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.jsonl cannot be read"):
        ReplayBackend(Replay(recordings=(str(tmp_path / "none.jsonl"),)), 0)


def test_failures_are_typed(record):
    spec = Replay(recordings=(record(LINES),))
    llm = LLM(ReplayBackend(spec, 0))
    (answer,) = llm.generate([seed("zzz")], phase="test")
    llm.close()
    assert isinstance(answer, Failed)
    assert "label 'zzz'" in answer.message


def for_context(context, source=None, *, kind="extrapolate", label="a", stream="x"):
    tags = {"kind": kind, "label": label, "context": context}
    return Request("p", stream, tags=tags | ({} if source is None else {"source": source}))


def of_context(completion, context, **keys):
    return {"kind": "extrapolate", "context": context, "completion": completion, **keys}


ONE_LABEL = {"kind": "seed", "label": "a"}
ANYTHING = {"kind": "extrapolate", "label": "a", "completion": "anything"}
SAME = [{**ANYTHING, "completion": text} for text in ("same words", "words same", "same words")]
PAIRS = [{**ONE_LABEL, "context": c, "completion": f"for {c}"} for c in ("c1", "c2")]
DRINKS = [("green tea", "c1"), ("black coffee", "c2"), ("x", "c2")]
NEAREST = {"fallback": "nearest"}
OF_C = [for_context("c", "s")]


@pytest.mark.parametrize(
    ("rows", "asked", "settings", "answers"),
    [
        (LINES, [like("three")], {}, ["exhausted"]),
        ([ANYTHING], [like("one")], {}, ["exhausted"]),
        ([ANYTHING], [like("one")], NEAREST, ["anything"]),
        (SAME, [like("same words")] * 3, NEAREST, ["same words", "words same", "same words"]),
        (PAIRS, [for_context("c2", kind="seed")] * 2, {}, ["for c2", "exhausted"]),
        (LINES, [seed("b")] * 3, {"reuse": True}, ["b0"] * 3),
        (
            # Row 0 is handed out too: it is no "nothing found".
            [of_context("one", "c1"), of_context("two", "c2", label="a")],
            [for_context("c2", "s"), for_context("c1", "s"), for_context("c1", "t")],
            {},
            ["two", "one", "exhausted"],
        ),
        (
            [of_context("of c", "c"), of_context("of s", "c", source="s")],
            OF_C * 3,
            {},
            ["of s", "of c", "exhausted"],
        ),
        (
            [of_context(*drink) for drink in DRINKS],
            [for_context("c2", "green tea and coffee")] * 2,
            NEAREST,
            ["black coffee", "x"],
        ),
        ([of_context("x", "another")], OF_C, {}, ["exhausted"]),
        ([of_context("x", "c", source="another")], OF_C, {}, ["exhausted"]),
        ([of_context("x", "c", label="b")], OF_C, {}, ["exhausted"]),
        ([{"kind": "extrapolate", "completion": "x"}], OF_C, {}, ["exhausted"]),
    ],
    ids=[
        "no child of another row without a fallback",
        "no source: not without a fallback",
        "no source: for the fallback",
        "two as near go by line",
        "a context must agree",
        "used again",
        "a context and no source answers any source",
        "the source goes before the context",
        "the nearest of the same context",
        "another context",
        "another source",
        "another label",
        "neither source nor context",
    ],
)
def test_who_is_answered_by_which_row(record, rows, asked, settings, answers):
    assert play([record(rows)], asked, **settings)[0] == answers


def test_a_row_that_names_no_context_answers_for_every_one(record):
    rows = [{"kind": "seed", "label": "a", "completion": f"any {i}"} for i in range(2)]
    asked = [for_context(c, kind="seed") for c in ("c1", "c2", "c3")]
    drawn, _ = play([record(rows)], asked)
    assert sorted(drawn[:2]) == ["any 0", "any 1"]
    assert drawn[2] == "exhausted"


def test_each_draw_of_an_exported_run_gets_its_own_answer_again(record):
    drawn = {"kind": "seed", "label": "a", "context": "c"}
    rows = [{**drawn, "draw": i, "completion": f"draw {i}"} for i in reversed(range(5))]
    rows += [of_context(f"s draw {i}", "c", source="s", draw=i) for i in reversed(range(5))]
    asked = [for_context("c", kind="seed", stream="seed")] * 5
    asked += [for_context("c", "s", stream="extrapolate/s", label="its old answer")] * 5
    expected = [f"draw {i}" for i in range(5)] + [f"s draw {i}" for i in range(5)]
    assert play([record(rows)], asked)[0] == expected


def test_runs_that_shared_a_store_get_their_own_answers_again(record):
    asked = [Request("p", "seed", tags={"kind": "seed", "label": "a"}), seed("a")]
    rows = [
        {
            **{"kind": "seed", "label": "a", "draw": draw, "completion": f"{draw} of {of}"},
            "request": request_digest({"prompt": "p", "stream": "seed", "draw": draw}, of),
        }
        for of in (1, 0)
        for draw in (1, 0)
    ]
    path = record(rows)
    for of in (0, 1):
        drawn, usage = play([path], asked, of)
        assert drawn == [f"0 of {of}", f"1 of {of}"]
    assert usage.completion_tokens == 0


def test_a_recording_keeps_its_tokens(record):
    told = {"prompt_tokens": 7, "completion_tokens": 3}
    rows = [{"kind": "seed", "label": "a", "completion": f"{i}", **told} for i in range(2)]
    _, usage = play([record(rows)], [seed("a")] * 2)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.usd) == (14, 6, None)
