"""Near-duplicates are removed by parts as in memory, whatever the parts and whatever is killed."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsynth._util.text import clean, normalise
from stepsynth.curation import Curation, Curator, deduplicate, sharded
from stepsynth.curation import runs as runs_module
from stepsynth.curation.near import jaccard, shingles
from stepsynth.records import Example

pytest.importorskip("rensa")

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)


class Rows:
    """A part of (context, text) pairs; None has no text."""

    def __init__(self, rows):
        self.rows = list(rows)

    def texts(self):
        yield from self.rows

    def write(self, kept, target):
        which = iter(kept.tolist())
        lines = [repr(row) for row in self.rows if row is not None and next(which)]
        target.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")


@pytest.fixture(scope="module", autouse=True)
def many_runs_and_ranges():
    """Make runs and ranges of few rows, so that a test has many of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs_module, "RUN_ROWS", 7)
        patch.setattr(runs_module, "STEP_ROWS", 3)
        patch.setattr(sharded, "RANGE_HASHES", 100)
        patch.setattr(sharded, "COMPARED", 50)
        yield


def in_parts(rows, cuts, folder, **others):
    edges = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    parts = [Rows(rows[a:b]) for a, b in pairwise(edges)]
    done = deduplicate(parts, folder, **others)
    texts = [file.read_text(encoding="utf-8", errors="surrogatepass") for file in done.files]
    return [line for text in texts for line in text.split("\n") if line], done


def in_memory(rows, similarity=0.7):
    curator = Curator(Curation(duplicates="near", similarity=similarity))
    reasons = [
        curator.reject(Example(text, "a", context or None), parent=None, completion="")
        for context, text in rows
    ]
    return [repr(row) for row, reason in zip(rows, reasons, strict=True) if reason is None]


def edited_rows(random_seed, count, words=25, edits=3):
    rng = Random(random_seed)
    vocabulary = [f"w{i}" for i in range(40)]
    rows = []
    for _ in range(count):
        text = rng.choices(vocabulary, k=rng.randint(1, words))
        if rows and rng.random() < 0.6:
            text = rng.choice(rows)[1].split()
            for _ in range(rng.randint(0, edits)):
                text[rng.randrange(len(text))] = rng.choice(vocabulary)
        rows.append((rng.choice(["", "", "a context"]), " ".join(text)))
    return rows


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 60),
    st.lists(st.integers(0, 60), max_size=4),
    st.floats(0.5, 1.0),
)
def test_the_same_rows_are_kept_as_in_memory(tmp_path_factory, seed, count, cuts, similarity):
    rows, folder = edited_rows(seed, count), tmp_path_factory.mktemp("work")
    kept, done = in_parts(rows, cuts, folder, similarity=similarity)
    assert kept == in_memory(rows, similarity)
    assert done.rows == count
    assert done.kept == len(kept)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT.filter(str.strip)), max_size=12))
def test_any_text_is_taken(tmp_path_factory, rows):
    kept, _ = in_parts(rows, [5], tmp_path_factory.mktemp("work"))
    assert kept == in_memory(rows)


def test_rows_without_text_are_counted_and_the_others_keep_their_order(tmp_path):
    rows = [None, ("", "one text"), None, ("", "One  text!"), ("", "another text altogether")]
    kept, done = in_parts(rows, [2, 3], tmp_path)
    assert kept == [repr(rows[1]), repr(rows[4])]
    assert (done.rows, done.empty, done.duplicates, done.near_duplicates) == (5, 2, 1, 0)


def test_rows_of_a_chain_are_compared_with_those_that_are_kept_alone(tmp_path):
    """A ~ B ~ C and not A ~ C: B goes, and C stays, as it is near no row that is kept."""
    words = [f"w{i}" for i in range(60)]
    a = " ".join(words)
    b = " ".join(["x", "y", "z", "v", *words[4:]])
    c = " ".join(["x", "y", "z", "v", *words[4:-4], "p", "q", "r", "s"])
    sets = [shingles(normalise(text)) for text in (a, b, c)]
    similarity = (jaccard(sets[0], sets[1]) + jaccard(sets[0], sets[2])) / 2
    assert jaccard(sets[1], sets[2]) > similarity
    kept, _ = in_parts([("", a), ("", b), ("", c)], [1, 2], tmp_path, similarity=similarity)
    assert (
        kept == [repr(("", a)), repr(("", c))] == in_memory([("", a), ("", b), ("", c)], similarity)
    )


def test_a_bucket_of_boilerplate_makes_few_pairs_and_only_near_rows_are_removed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sharded, "RANGE_HASHES", 10**6)
    rng = Random(0)
    head = " ".join(f"h{i}" for i in range(40))
    rows = [
        ("", f"{head} {' '.join(f'n{rng.randrange(999)}' for _ in range(9))}") for _ in range(400)
    ]
    kept, _ = in_parts(rows, [], tmp_path)
    pairs = sum(np.load(file).shape[1] for file in (tmp_path / "pairs").glob("*.npy"))
    assert pairs < 400 * 16 * sharded.NEIGHBOURS
    texts = {repr(row): shingles(normalise(clean(row[1]))) for row in rows}
    assert 1 < len(kept) < len(rows)
    for row in texts.keys() - set(kept):
        assert max(jaccard(texts[row], texts[other]) for other in kept) >= 0.7


class Killed(Exception):
    """What stands for a worker that is killed."""


@pytest.mark.parametrize("stage", ["signatures", "copies", "buckets", "comparisons", "filter"])
def test_what_a_killed_stage_has_left_is_gone_on_with(tmp_path, stage):
    rows = edited_rows(1, 50)
    expected, _ = in_parts(rows, [20, 40], tmp_path / "whole")
    done = []

    def killed(name, task, given):
        for number, arguments in enumerate(given):
            if name == stage and number == len(given) // 2:
                raise Killed
            task(*arguments)

    def watched(name, task, given):
        before = {path for path in (tmp_path / "cut").rglob("*") if path.is_file()}
        sharded.in_this_process(name, task, given)
        done.append((name, before))

    with pytest.raises(Killed):
        in_parts(rows, [20, 40], tmp_path / "cut", do=killed)
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").rglob("*.npy")}
    kept, _ = in_parts(rows, [20, 40], tmp_path / "cut", do=watched)
    assert kept == expected
    again = {p for p, at in whole.items() if p.stat().st_mtime_ns != at}
    assert {p.name for p in again} <= {"copies.npy", "kept.npy"}


def test_signatures_of_a_killed_task_are_written_anew(tmp_path):
    rows = edited_rows(2, 30)
    expected, _ = in_parts(rows, [], tmp_path / "whole")
    left = tmp_path / "cut" / "signatures" / "00000" / "0"
    left.mkdir(parents=True)
    (left / "whole.npy").write_bytes(b"half of it")
    assert in_parts(rows, [], tmp_path / "cut")[0] == expected
