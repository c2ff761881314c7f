import random

import numpy as np
import pytest

from stepsynth.metrics.diversity import (
    cosine_kernel,
    count_ngrams,
    distinct_n,
    entropy,
    gradient_kernel,
    self_bleu,
    tokenise,
    vendi_score,
)


def made_texts(seed: int, n: int, words: int, longest: int) -> list[list[str]]:
    rng = random.Random(seed)
    return [[f"w{rng.randrange(words)}" for _ in range(rng.randrange(longest))] for _ in range(n)]


# Few words: many repeated n-grams and ties; many words: texts that share nothing with any other.
@pytest.mark.parametrize(
    ("words", "longest"), [(2, 9), (5, 25), (60, 12), (5000, 8)], ids=lambda v: str(v)
)
def test_self_bleu_equals_nltk_with_all_others_as_references(words, longest):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    texts = made_texts(words, 40, words, longest)
    texts += [[], ["w1"], texts[3], texts[3], ["only"] * 7]
    ours = self_bleu(count_ngrams(texts))
    smoothing = SmoothingFunction().method1
    for i, text in enumerate(texts):
        others = texts[:i] + texts[i + 1 :]
        for n in range(1, 6):
            theirs = (
                sentence_bleu(others, text, weights=(1 / n,) * n, smoothing_function=smoothing)
                if text
                else 0.0
            )
            assert ours.each[i, n - 1] == pytest.approx(theirs, abs=1e-12), (text, n)
    assert ours.mean == pytest.approx(ours.each.mean(axis=0))
    assert ours.error[0] == pytest.approx(np.std(ours.each[:, 0], ddof=1) / len(texts) ** 0.5)


def test_copies_have_self_bleu_one_and_strangers_have_none():
    copies = self_bleu(count_ngrams([["a", "b", "c", "d", "e", "f"]] * 3))
    assert copies.mean == pytest.approx([1.0] * 5)
    strangers = self_bleu(count_ngrams([["a", "b"], ["c", "d"], ["e", "f"]]))
    assert strangers.mean == pytest.approx([0.0] * 5)


def test_self_bleu_of_one_text_is_refused():
    with pytest.raises(ValueError, match="two texts"):
        self_bleu(count_ngrams([["a"]]))


def test_ngrams_do_not_run_over_the_end_of_a_text():
    ngrams = count_ngrams([["a", "b"], ["c"], ["a", "b"]], orders=2)
    assert len(ngrams.ids[1]) == 2
    assert ngrams.ids[1][0] == ngrams.ids[1][1]
    assert ngrams.owners[1].tolist() == [0, 2]


def test_distinct_n_by_hand():
    # Words: a b a b c = 3 of 5; pairs: ab ba ab | (c stands alone) = 2 of 3; triples: aba bab.
    ngrams = count_ngrams([["a", "b", "a", "b"], ["c"]], orders=5)
    assert distinct_n(ngrams)[:4] == pytest.approx([3 / 5, 2 / 3, 1.0, 1.0])
    assert np.isnan(distinct_n(ngrams)[4])


def test_tokens_are_words_and_marks():
    assert tokenise("It's 5.5, naïve—no?") == [
        "It", "'", "s", "5", ".", "5", ",", "naïve", "—", "no", "?",
    ]  # fmt: skip


def test_entropy_by_hand():
    assert entropy([3, 3, 3]) == pytest.approx(np.log(3))
    assert entropy([1, 3]) == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))
    assert entropy([7, 0]) == 0.0
    assert entropy([]) == 0.0


def test_vendi_counts_kinds_of_texts():
    assert vendi_score(cosine_kernel([[1, 0], [2, 0], [5, 0]])) == pytest.approx(1.0)
    assert vendi_score(cosine_kernel(np.eye(4))) == pytest.approx(4.0)
    two_kinds = vendi_score(cosine_kernel([[1, 0]] * 5 + [[0, 3]] * 5))
    assert two_kinds == pytest.approx(2.0)


def test_vendi_equals_its_definition_by_singular_values():
    features = np.random.default_rng(0).normal(size=(30, 8))
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    shares = np.linalg.svd(units, compute_uv=False) ** 2 / 30
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert vendi_score(cosine_kernel(features)) == pytest.approx(expected)


def test_gradient_kernel_equals_the_cosines_of_written_out_gradients():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(12, 5))
    scores = rng.normal(size=(12, 3))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = rng.integers(0, 3, 12)

    def loss(weights, i):
        logits = weights @ features[i]
        # The head that says `probabilities` of row i has these scores at weights = 0.
        logits = logits + np.log(probabilities[i])
        return np.log(np.exp(logits).sum()) - logits[labels[i]]

    step = 1e-6
    gradients = np.zeros((12, 15))
    for i in range(12):
        for k in range(15):
            moved = np.zeros(15)
            moved[k] = step
            up, down = loss(moved.reshape(3, 5), i), loss(-moved.reshape(3, 5), i)
            gradients[i, k] = (up - down) / (2 * step)
    expected = cosine_kernel(gradients)
    assert gradient_kernel(probabilities, labels, features) == pytest.approx(expected, abs=1e-6)


def test_with_two_labels_gradients_say_no_more_than_features():
    rng = np.random.default_rng(2)
    features, p = rng.normal(size=(20, 6)), rng.uniform(size=20)
    gradients = gradient_kernel(np.stack([p, 1 - p], axis=1), rng.integers(0, 2, 20), features)
    assert vendi_score(gradients) == pytest.approx(vendi_score(cosine_kernel(features)))
