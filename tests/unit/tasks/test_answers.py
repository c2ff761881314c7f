"""Where an answer stands in its passage: word for word, nearly, or not at all."""

import json
import time

import numpy as np
import pytest

from stepsynth.errors import ConfigError
from stepsynth.records import Answers
from stepsynth.tasks._answers import find_answer, find_entities, read_answers

PASSAGE = (
    "In 1981 the “Golden  Gate” party met in São Paulo; in 1982 it spoke of art, of 7 billion "
    "people and of 1,500.50 dollars. Queen Elizabeth II — the queen's own choice — came in the "
    "19th hour. The 2nd party met in 1981 too."
)


def at(passage: str, found: Answers | None) -> list[str]:
    """Return what stands in the passage where an answer is said to be."""
    assert found is not None
    pairs = zip(found.texts, found.starts, strict=True)
    return [passage[start : start + len(text)] for text, start in pairs]


@pytest.mark.parametrize(
    ("answer", "start"),
    [("1981", 3), ("In 1981", 0), ("São Paulo", 40), ("art", 71), ("19th", 179), ("1,500.50", 103)],
)
def test_an_answer_is_found_word_for_word(answer, start):
    found = find_answer(PASSAGE, answer)
    assert found == Answers((answer,), (start,))
    assert not found.is_repaired


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("golden gate", "Golden  Gate"),
        ('"Golden Gate"', "Golden  Gate"),
        ("the “golden\ngate” PARTY", "the “Golden  Gate” party"),
        ("the queen’s own choice", "the queen's own choice"),
        ("Elizabeth II - the queen's own", "Elizabeth II — the queen's own"),
        ("SÃO PAULO", "São Paulo"),
        ("of art, of 7 billion people.", "of art, of 7 billion people"),
        ("'art'", "art"),
        ("Quen Elizabeth II", "Queen Elizabeth II"),
        ("seven hours in the 19th hour", None),
        ("it spoked of art", "it spoke of art"),
        ("19th hours", "19th hour"),
        ("1,500.50 dolars", "1,500.50 dollars"),
    ],
)
def test_a_near_miss_becomes_the_passages_own_words(answer, text):
    found = find_answer(PASSAGE, answer)
    if text is None:
        assert found is None
    else:
        assert found is not None
        assert at(PASSAGE, found) == [text] == list(found.texts)
        assert found.is_repaired


@pytest.mark.parametrize(
    "answer",
    [
        "1983",
        "in 1983",
        "The party met in 1984",
        "7 million people",
        "8 billion people",
        "Queen Elizabeth I",
        "Queen Elizabeth III",
        "1,600.50 dollars",
        "the 18th hour",
    ],
)
def test_another_number_is_another_answer(answer):
    assert find_answer(PASSAGE, answer) is None


@pytest.mark.parametrize(
    "answer", ["198", "81", "500", "1,500", "50 dollars", "about 1", "19", "2"]
)
def test_a_part_of_a_number_is_no_answer(answer):
    assert find_answer(f"{PASSAGE} It cost about 1.5 dollars.", answer) is None


@pytest.mark.parametrize(
    ("passage", "answer", "start"),
    [
        ("the party of art", "art", 13),
        ("the Party of Art", "art", 13),
        ("a party", "art", None),
        ("a B a", "a", 0),
        ("A b", "b", 2),
        ("it is x-ray", "x", 6),
        ("no", "not", None),
        ("no", "no", 0),
        ("他在巴黎出生", "巴黎", 2),  # no spaces between words
        ("1981年出生", "1981", 0),
        ("it cost $5.", "$5", 8),
        ("it cost $5.50", "$5", None),
        ("5% of 25%", "5%", 0),
        ("25% of 5%", "5%", 7),
        ("The End.", "the end", 0),
    ],
)
def test_a_short_answer_is_a_whole_word(passage, answer, start):
    found = find_answer(passage, answer)
    assert (found.starts[0] if found else None) == start


@pytest.mark.parametrize(
    "answer", ["", "  ", "?!", '""', "...", "not there at all", PASSAGE + "x."]
)
def test_what_is_not_in_the_passage_is_not_found(answer):
    assert find_answer(PASSAGE, answer) is None
    assert find_answer("", answer) is None


@pytest.mark.parametrize(
    ("passage", "answer", "text"),
    [
        ("İstanbul was founded by Byzas of Megara", "Byzas of Megarra", "Byzas of Megara"),
        ("İİİ is written in İzmir", "izmir", "İzmir"),
        ("ﬁrst of all, a ﬁne day", "fine day", None),
        ("ﬁrst of all, a ﬁne day", "ﬁne day", "ﬁne day"),
        ("a 😀 face, then Grinning Cat", "grinning cat", "Grinning Cat"),
        ("a 😀 face", "😀", "😀"),
        ("half \ufffd a sign", "half \ud83d a sign", "half \ufffd a sign"),
    ],
)
def test_offsets_count_characters_whatever_the_script(passage, answer, text):
    found = find_answer(passage, answer)
    assert (found and at(passage, found)) == (None if text is None else [text])


TWICE = "Rome, Athens and Rome and Rome."


@pytest.mark.parametrize(
    ("value", "texts", "starts", "is_repaired"),
    [
        ({"text": ["Rome"], "answer_start": [17]}, ("Rome",), (17,), False),
        ({"text": ["Rome", "Athens"], "answer_start": [0, 6]}, ("Rome", "Athens"), (0, 6), False),
        ({"text": "Rome", "answer_start": 26}, ("Rome",), (26,), False),
        ({"text": ["Athens"]}, ("Athens",), (6,), False),
        ([{"text": "Rome", "answer_start": 17}], ("Rome",), (17,), False),
        ([{"text": "Rome"}, {"text": "Athens", "answer_start": 6}], ("Rome", "Athens"), (0, 6), 0),
        ("Athens", ("Athens",), (6,), False),
        (["Athens", "Rome"], ("Athens", "Rome"), (6, 0), False),
        (["", "Rome", " "], ("Rome",), (0,), False),
        ("athens", ("Athens",), (6,), True),
        ({"text": ["Rome"], "answer_start": [15]}, ("Rome",), (17,), True),
        ({"text": ["Rome"], "answer_start": [24]}, ("Rome",), (26,), True),
        ({"text": ["Rome"], "answer_start": [3]}, ("Rome",), (0,), True),
        ({"text": ["Rome"], "answer_start": [-1]}, ("Rome",), (0,), True),
        ({"text": ["Rome"], "answer_start": [999]}, ("Rome",), (26,), True),
        ({"text": np.array(["Rome"]), "answer_start": np.array([17])}, ("Rome",), (17,), False),
        ({"text": ["Rome"], "answer_start": [np.int64(17)]}, ("Rome",), (17,), False),
        (np.array(["Athens"], dtype=object), ("Athens",), (6,), False),
        (np.array([{"text": "Rome", "answer_start": 26}]), ("Rome",), (26,), False),
    ],
)
def test_answers_are_read_in_every_form(value, texts, starts, is_repaired):
    found = read_answers(value, TWICE)
    assert found == Answers(texts, starts)
    assert found.is_repaired == is_repaired


@pytest.mark.parametrize(
    "value",
    [
        {"text": ["Rome", "Athens"], "answer_start": [17, 6]},
        [{"text": "Rome", "answer_start": 17}, {"text": "Athens", "answer_start": 6}],
        ["Rome", "Athens"],
        [],
        {"text": [], "answer_start": []},
    ],
)
def test_answers_in_a_cell_of_a_table_may_be_json(value):
    assert read_answers(json.dumps(value), TWICE) == read_answers(value, TWICE)


def test_an_answer_that_looks_like_json_is_an_answer():
    assert read_answers("[1]", "As [1] says.") == Answers(("[1]",), (3,))
    with pytest.raises(ValueError, match="not in its passage"):
        read_answers("[sic", "As [1] says.")


def test_a_long_answer_takes_no_long_time():
    words = [f"w{i * i % 99_991}" for i in range(30_000)]
    passage, said = " ".join(words), " ".join(words[::-2])
    began = time.monotonic()
    assert find_answer(passage, said) is None
    assert time.monotonic() - began < 5
    assert find_answer(passage, " ".join(words[:10_000]).upper()).starts == (0,)


def test_places_that_overlap_are_looked_at_too():
    assert read_answers({"text": ["aba"], "answer_start": [3]}, "xababa").starts == (3,)
    assert read_answers({"text": ["aba"], "answer_start": [4]}, "xababa").starts == (3,)


def test_without_an_offset_an_answer_is_a_whole_word_where_it_can_be():
    assert read_answers("art", "a party of art").starts == (11,)
    assert read_answers("US", "the USA").starts == (4,)


@pytest.mark.parametrize("value", ["", [], {"text": [], "answer_start": []}, [""], np.array([])])
def test_no_answer_is_none(value):
    assert read_answers(value, TWICE) is None


@pytest.mark.parametrize("value", ["Berlin", ["Rome", "Berlin"], {"text": ["Roma Termini"]}])
def test_an_answer_that_is_not_in_the_passage_is_refused(value):
    with pytest.raises(ValueError, match="is not in its passage 'Rome, Athens"):
        read_answers(value, TWICE)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        1.5,
        float("nan"),
        True,
        {},
        {"text": None},
        {"text": [None], "answer_start": [0]},
        {"text": ["Rome"], "answer_start": []},
        {"text": ["Rome"], "answer_start": [0, 17]},
        {"text": ["Rome"], "answer_start": ["0"]},
        {"text": ["Rome"], "answer_start": [1.5]},
        {"text": ["Rome"], "answer_start": [True]},
        {"text": "Rome", "answer_start": "0"},
        {"text": {"a": 1}},
        [{"answer_start": 1}],
        [{"text": ["Rome"]}],
        [["Rome"]],
        [None],
        np.array(["Rome"])[0:1].reshape(1, 1),
        np.array(3.5),
        object(),
    ],
)
def test_what_is_no_answers_is_a_value_error(value):
    with pytest.raises(ValueError, match="answers must be"):
        read_answers(value, TWICE)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    spacy = pytest.importorskip("spacy")
    made = spacy.blank("en")
    ruler = made.add_pipe("entity_ruler")
    names = {"GPE": ("Rome", "Athens"), "PUNCT": (",",), "DATE": ("1981",)}
    ruler.add_patterns([{"label": k, "pattern": p} for k, v in names.items() for p in v])
    path = tmp_path_factory.mktemp("spacy") / "rules"
    made.to_disk(path)
    return str(path)


@pytest.mark.slow
def test_entities_are_found_once_each_in_order_and_marks_are_none(pipeline):
    passage = "In 1981, Athens and Rome; then Rome."
    found = find_entities(pipeline, passage)
    assert [str(answer) for answer in found] == ["1981", "Athens", "Rome"]
    assert [at(passage, answer) for answer in found] == [["1981"], ["Athens"], ["Rome"]]
    assert find_entities(pipeline, "nobody was anywhere") == []


@pytest.mark.slow
def test_a_pipeline_that_is_not_installed_is_a_matter_of_configuration():
    pytest.importorskip("spacy")
    with pytest.raises(ConfigError, match="no spaCy pipeline 'xx_none_sm'") as raised:
        find_entities("xx_none_sm", TWICE)
    assert "spacy download xx_none_sm" in str(raised.value.hint)


def test_spacy_that_is_not_installed_is_a_matter_of_configuration(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ConfigError, match="spacy is not installed"):
        find_entities("a pipeline that no test loads", TWICE)
