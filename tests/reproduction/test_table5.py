"""Table 5 on published rows: equal sizes, and nothing of test in training."""

import json

import pytest

from reproduction import table5
from reproduction.table5 import Cell, Data, training_sets
from stepsynth.records import Example


def test_sets_are_of_equal_size_and_share_their_zero_shot_rows():
    zero_shot = [Example(f"zero-shot {i}", "positive") for i in range(50)]
    added = [Example(f"extrapolation {i}", "negative") for i in range(50)]
    pure, mixed = (rows for _, rows in training_sets(Cell("linear", "x", 20, 0), zero_shot, added))
    kept = [row for row in mixed if row in zero_shot]
    assert (len(pure), len(mixed), len(kept)) == (20, 20, 14)
    assert kept == pure[:14]
    part, whole = (rows for _, rows in training_sets(Cell("linear", "", 20, 0), [], added))
    assert part == mixed[14:] == whole[:6]
    assert len(whole) == 20
    other = dict(training_sets(Cell("linear", "x", 20, 1), zero_shot, added))
    assert other["zero-shot"] != pure


def test_a_pool_holds_no_refusal_no_repetition_and_no_test_review(tmp_path, monkeypatch):
    monkeypatch.setattr(table5, "TEST", 1)
    folder = tmp_path / "published-synthetic" / "fusegen-imdb"
    (tmp_path / "imdb").mkdir()
    folder.mkdir(parents=True)
    review = {"text": "A <b>tested</b> review.", "label": "positive"}
    (tmp_path / "imdb" / "test.jsonl").write_text(json.dumps(review) + "\n")
    texts = [
        "A dull film.",
        "a dull film",
        '"A fine film."',
        "I'm sorry, but as an AI language model I cannot write a movie review.",
        "a <b>tested</b> review",
    ]
    rows = [json.dumps({"text": text, "label": "negative"}) for text in texts]
    (folder / "train_llm.jsonl").write_text("\n".join(rows) + "\n")
    data = Data(tmp_path)
    assert [row.text for row in data.pool("llm")] == ["A dull film.", "A fine film."]
    assert data.counts == {"llm": (5, 2)}
    assert data.label_names == ("negative", "positive")


@pytest.mark.parametrize("student", ["linear", "embedding"])
def test_every_llm_and_the_controls_are_measured(student):
    cells = list(table5.cells(student, 2))
    assert {cell.llm for cell in cells} == {"", *table5.LLMS}
    sizes = {cell.size for cell in cells if cell.llm}
    assert sizes == {cell.size for cell in cells if not cell.llm}
    assert len({cell.file for cell in cells}) == len(cells)
