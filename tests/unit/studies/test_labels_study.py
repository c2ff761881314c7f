import pytest

from stepsynth.errors import DataError
from stepsynth.records import Answers, Dataset, Example
from stepsynth.students.linear import Linear
from stepsynth.studies import studies
from stepsynth.tasks.extractive_qa import ExtractiveQA
from tests.subjects import TOPICS, column, make_subject, texts_about

Labels = studies().get("labels")
FLIP = {"sea": "kitchen", "kitchen": "sea"}


def with_flipped(share):
    rows = texts_about(TOPICS, 200, seed=7)
    wrong = round(share * len(rows))
    return Dataset(
        Example(row.text, FLIP[row.label] if i < wrong else row.label) for i, row in enumerate(rows)
    )


def test_the_share_of_wrong_labels_is_found():
    found = Labels().run([make_subject("made", with_flipped(0.1))])
    agreement = found.tables[0]
    assert column(agreement, "label") == ["all", "sea", "kitchen"]
    assert column(agreement, "agreement") == pytest.approx([0.9] * 3)
    low, high = column(agreement, "from")[0], column(agreement, "to")[0]
    assert 0.85 < low < 0.9 < high < 0.94
    assert column(agreement, "judge on mine")[0] == 1.0
    assert column(agreement, "judge on unseen")[0] == 1.0


def test_the_filter_drops_the_wrong_labels_first():
    found = Labels().run([make_subject("made", with_flipped(0.1))])
    filtered = found.tables[1]
    assert column(filtered, "kept") == [83, 83]
    assert column(filtered, "dropped") == [17, 17]
    assert column(filtered, "agreement, kept") == [1.0, 1.0]
    assert column(filtered, "dropped rows") == pytest.approx([7 / 17] * 2)
    unlikely = found.tables[2]
    assert len(unlikely.rows) == 10
    assert all(
        own != judged
        for own, judged in zip(column(unlikely, "label"), column(unlikely, "judged"), strict=True)
    )


def test_the_judge_is_trained_on_mine_alone(monkeypatch):
    seen = []
    real = Linear.fit

    def fit(self, dataset, **options):
        seen.append(dataset)
        return real(self, dataset, **options)

    monkeypatch.setattr(Linear, "fit", fit)
    subject = make_subject("made", with_flipped(0))
    Labels().run([subject])
    assert len(seen) == 6  # five folds, and all of mine
    assert all(set(rows) <= set(subject.mine) for rows in seen)


def test_the_judge_can_be_the_tasks_own_student():
    subject = make_subject("made", with_flipped(0.2), student=Linear(C=0.001))
    weak = Labels(judge="student").run([subject]).tables[2]
    strong = Labels().run([subject]).tables[2]
    assert column(weak, "confidence") != column(strong, "confidence")


def test_a_judge_that_cannot_tell_gold_is_said_so():
    subject = make_subject("made", with_flipped(0))
    noise = Dataset(Example(row.text, "sea" if i % 2 else "kitchen")
                    for i, row in enumerate(texts_about(TOPICS[:1], 60, seed=8)))  # fmt: skip
    object.__setattr__(subject, "mine", noise)
    found = Labels().run([subject])
    assert any("can hardly tell gold labels" in w for w in found.warnings)
    assert not Labels().run([make_subject("made", with_flipped(0))]).warnings


def test_a_label_that_no_row_has_is_shown_as_missing():
    found = Labels().run([make_subject("made", texts_about(TOPICS[:1], 30, seed=9))])
    assert column(found.tables[0], "rows") == [30, 30, 0]
    assert column(found.tables[0], "agreement")[2] is None


def test_answers_and_rare_labels_are_errors():
    few = make_subject("few", with_flipped(0), gold_rows=24)
    with pytest.raises(DataError, match="fewer than 5 rows of"):
        Labels().run([few])
    rows = Dataset([Example("who?", Answers(("it",), (0,)), "it is")])
    subject = make_subject("questions", rows)
    object.__setattr__(subject.config, "task", ExtractiveQA())
    with pytest.raises(DataError, match="labels of extractive_qa rows are answers"):
        Labels().run([subject])
