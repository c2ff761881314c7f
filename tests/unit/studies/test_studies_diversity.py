import pytest

from stepsynth.errors import ConfigError, DataError
from stepsynth.records import Dataset, Example
from stepsynth.studies import studies
from tests.subjects import THREE, TOPICS, make_subject, texts_about

Diversity = studies().get("diversity")


def cells(findings, table, column):
    found = next(t for t in findings.tables if t.title.startswith(table))
    return {row[0]: row[found.columns.index(column)] for row in found.rows}


@pytest.fixture(scope="module")
def findings():
    like_gold = make_subject("like gold", texts_about(TOPICS, 160, seed=1))
    copies = Dataset(list(texts_about(TOPICS, 40, seed=2)) * 4)
    other = Dataset(Example(f"{row.text} indeed dear friend", row.label) for row in like_gold.rows)
    subjects = [like_gold, make_subject("copies", copies), make_subject("other", other)]
    return Diversity(buckets=10).run(subjects)


def test_copies_are_less_diverse_by_every_measure(findings):
    for table, column in (("Words", "distinct-2"), ("Meaning", "Vendi")):
        scores = cells(findings, table, column)
        assert scores["copies"] < scores["like gold"], column
    assert cells(findings, "Words", "copies")["copies"] == pytest.approx(0.75)
    bleu = cells(findings, "Self-BLEU", "self-BLEU-4")
    assert bleu["copies"] == pytest.approx(1.0)
    assert bleu["like gold"] < 0.5
    assert abs(bleu["like gold"] - bleu["gold"]) < 0.05


def test_gradients_are_compared_for_three_labels_or_more(findings):
    assert set(cells(findings, "Meaning", "G-Vendi").values()) == {None}
    copies = Dataset(list(texts_about(THREE, 30, seed=2)) * 4)
    subjects = [
        make_subject("like gold", texts_about(THREE, 120, seed=1), topics=THREE),
        make_subject("copies", copies, topics=THREE),
    ]
    scores = cells(Diversity(buckets=5).run(subjects), "Meaning", "G-Vendi")
    assert 1 < scores["copies"] < scores["like gold"]


def test_rows_drawn_like_gold_are_near_it_and_others_are_not(findings):
    mauve = cells(findings, "Against gold", "MAUVE")
    assert mauve["other"] < mauve["like gold"]
    low, high = (cells(findings, "Against gold", c) for c in ("from", "to"))
    assert low["like gold"] < 0.5 < high["like gold"]
    assert low["other"] > 0.8  # all are told apart, but they are few


def test_without_a_pipeline_entities_are_left_out_and_it_is_said(findings):
    assert not any(t.title.startswith("Entities") for t in findings.tables)
    assert any("entity entropy was left out" in w for w in findings.warnings)


@pytest.mark.slow
def test_entities_are_counted_by_type(tmp_path):
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "CRAFT", "pattern": w} for w in ("ship", "sail")])
    pipeline.to_disk(tmp_path / "made")
    rows = Dataset(Example(t, "sea") for t in ("the ship", "a ship and a sail", "no such thing"))
    subject = make_subject("made", rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepsynth.studies.diversity.gold_sets", lambda _: [])
        found = Diversity(pipeline=str(tmp_path / "made")).run([subject])
    entropies = cells(found, "Entities", "made")
    assert entropies["CRAFT"] == pytest.approx(0.6365, abs=1e-4)  # 2 ships, 1 sail
    assert entropies["entities a text"] == 1.0


def test_the_same_seed_gives_the_same_findings():
    subject = make_subject("a", texts_about(TOPICS, 90, seed=3))
    first, second = (Diversity(rows=50, sample=60).run([subject]) for _ in range(2))
    assert first.to_dict() == second.to_dict()


def test_rows_of_no_word_and_single_rows_are_errors():
    with pytest.raises(DataError, match="nothing can be said"):
        Diversity().run([make_subject("one", texts_about(TOPICS, 1, seed=0))])


@pytest.mark.slow
def test_an_encoder_that_is_not_there_is_an_error():
    pytest.importorskip("sentence_transformers")
    subject = make_subject("a", texts_about(TOPICS, 30, seed=3))
    with pytest.raises(ConfigError, match="encoder: '/no/such/encoder' cannot be loaded"):
        Diversity(encoder="/no/such/encoder").run([subject])
