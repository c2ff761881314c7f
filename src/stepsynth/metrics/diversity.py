"""Diversity metrics of texts: self-BLEU, distinct n-grams, entropy, Vendi score.

Each is exact and needs no loop over pairs of texts. N-grams become integers once, so 100,000 texts
take seconds. All metrics depend on the number of texts: compare equal numbers.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepsynth.metrics.scoring import Floats, Ints

_TOKEN = re.compile(r"\w+|[^\w\s]")
_SMOOTHING = 0.1


def tokenise(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, in its own case."""
    return _TOKEN.findall(text)


@dataclass(frozen=True)
class NGrams:
    """The n-grams of texts as integers; equal n-grams have equal integers.

    Attributes:
        ids: For each order 1..k: (total,), one integer for each n-gram, text by text.
        owners: For each order: (total,), the index of the text that contains the n-gram.
        lengths: (n_texts,), in tokens.
    """

    ids: tuple[Ints, ...]
    owners: tuple[Ints, ...]
    lengths: Ints


def count_ngrams(texts: Sequence[Sequence[str]], orders: int = 5) -> NGrams:
    """Return the n-grams of tokenised texts, n = 1..orders.

    An n-gram is the pair of its first n - 1 tokens and its last one. Renumbering the pairs at each
    order keeps the numbers small and exact, where a hash could collide.
    """
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(token, len(numbers)) for text in texts for token in text]
    tokens = np.array(flat, dtype=np.int64)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), lengths)
    ids, owners, starts = [tokens], [owner], np.arange(len(tokens))
    for order in range(2, orders + 1):
        # The last n-gram of a text has no following token in that text.
        ends = starts + order - 1
        is_inside = ends < len(tokens)
        is_inside[is_inside] = owner[ends[is_inside]] == owner[starts[is_inside]]
        starts, before = starts[is_inside], ids[-1][is_inside]
        pairs = before * len(numbers) + tokens[starts + order - 1]
        ids.append(np.unique(pairs, return_inverse=True)[1].astype(np.int64))
        owners.append(owner[starts])
    return NGrams(tuple(ids), tuple(owners), lengths)


def distinct_n(ngrams: NGrams) -> Floats:
    """Return the share of distinct n-grams, 0-1, for each order: (orders,).

    Source: Li, Galley, Brockett, Gao, Dolan: "A Diversity-Promoting Objective Function for Neural
    Conversation Models", NAACL 2016. NaN where no text is long enough.
    """
    return np.array([len(np.unique(i)) / len(i) if len(i) else np.nan for i in ngrams.ids])


@dataclass(frozen=True)
class SelfBleu:
    """Self-BLEU of texts for n = 1..k; lower is more diverse.

    Attributes:
        each: (n_texts, k), the BLEU-n of each text against all others, 0-1.
    """

    each: Floats

    @property
    def mean(self) -> Floats:
        """The mean over texts: (k,)."""
        return self.each.mean(axis=0)

    @property
    def error(self) -> Floats:
        """The standard error of the mean, for texts as a random sample: (k,)."""
        return self.each.std(axis=0, ddof=1) / np.sqrt(len(self.each))


def self_bleu(ngrams: NGrams) -> SelfBleu:
    """Return the BLEU of each text with all others as its references.

    Sentence BLEU with equal weights for n-grams up to n and smoothing method 1 of Chen and Cherry
    (WMT 2014), as `nltk.translate.bleu_score.sentence_bleu` computes it.

    Args:
        ngrams: N-grams of n texts, n >= 2.

    Source: Zhu et al.: "Texygen", SIGIR 2018; n = 1..5 as in SynthesizRR.
    """
    n_texts = len(ngrams.lengths)
    if n_texts < 2:
        raise ValueError("self-BLEU needs two texts or more")
    matches = [
        _clipped_matches(ids, owners, n_texts)
        for ids, owners in zip(ngrams.ids, ngrams.owners, strict=True)
    ]
    logs: list[Floats] = []
    for order, hits in enumerate(matches):
        total = np.maximum(1, ngrams.lengths - order)
        logs.append(np.log(np.where(hits == 0, _SMOOTHING, hits) / total))
    mean_logs = np.cumsum(logs, axis=0) / np.arange(1, len(logs) + 1)[:, None]
    scores = np.exp(mean_logs.T) * _brevity_penalty(ngrams.lengths)[:, None]
    return SelfBleu(np.where(matches[0][:, None] == 0, 0.0, scores))


def _clipped_matches(ids: Ints, owners: Ints, n_texts: int) -> Floats:
    """Return how many n-grams of each text are matched in the others: (n_texts,).

    An n-gram counts at most as often as it occurs in the other text that has it most often. For all
    texts at once, two numbers per n-gram are enough: the highest count and, for the text that holds
    it, the second highest.
    """
    if not len(ids):
        return np.zeros(n_texts)
    # Sorted by n-gram, then by text: (pairs of n-gram and text,).
    pairs, counts = np.unique(ids * n_texts + owners, return_counts=True)
    grams, texts = np.divmod(pairs, n_texts)
    first = np.flatnonzero(np.diff(grams, prepend=-1))
    group = np.repeat(np.arange(len(first)), np.diff(first, append=len(grams)))
    highest = np.maximum.reduceat(counts, first)[group]
    places = np.where(counts == highest, np.arange(len(counts)), len(counts))
    is_holder = np.arange(len(counts)) == np.minimum.reduceat(places, first)[group]
    second = np.maximum.reduceat(np.where(is_holder, 0, counts), first)[group]
    clipped = np.minimum(counts, np.where(is_holder, second, highest))
    return np.bincount(texts, weights=clipped, minlength=n_texts).astype(np.float64)


def _brevity_penalty(lengths: Ints) -> Floats:
    """Return BLEU's brevity penalty of each text: (n_texts,).

    The reference length is the nearest among the other texts; of two equally near, the shorter.
    """
    known, index, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    padded = np.concatenate([[-np.inf], known, [np.inf]])
    below, above = padded[index], padded[index + 2]
    nearest = np.where(lengths - below <= above - lengths, below, above)
    nearest = np.where(counts[index] > 1, lengths, nearest)
    with np.errstate(divide="ignore", invalid="ignore"):
        penalty = np.exp(1 - nearest / lengths)
    return np.where(lengths == 0, 0.0, np.where(lengths > nearest, 1.0, penalty))


def entropy(counts: Iterable[float]) -> float:
    """Return the entropy of counts in nats; 0 if a single item has all of them."""
    given = np.array([count for count in counts if count > 0], dtype=np.float64)
    shares = given / given.sum()
    return float(max(0.0, -(shares * np.log(shares)).sum())) if len(given) else 0.0


def vendi_score(kernel: Any) -> float:
    """Return the effective number of different texts, 1 to n.

    It is exp of the entropy of the eigenvalues of the kernel divided by n. Identical texts give 1;
    texts with nothing in common give n.

    Args:
        kernel: (n, n), positive semi-definite with ones on the diagonal.

    Source: Friedman and Dieng: "The Vendi Score", TMLR 2023.
    """
    values = np.linalg.eigvalsh(np.asarray(kernel, dtype=np.float64) / len(kernel))
    return float(np.exp(entropy(np.clip(values, 0.0, None))))


def cosine_kernel(features: Any) -> Floats:
    """Return the cosine of each pair of rows: (n, n) of (n, d); a row of zeros equals itself."""
    rows = np.asarray(features, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows / np.where(norms == 0, 1.0, norms)
    kernel = units @ units.T
    np.fill_diagonal(kernel, 1.0)
    return kernel


def gradient_kernel(probabilities: Any, labels: Ints, features: Any) -> Floats:
    """Return the cosine of each pair of rows' gradients of a softmax head: (n, n).

    The gradient of the cross entropy of a row x, y in the head's weights is (p - y) x'. Two rows'
    gradients thus have the inner product <p_i - y_i, p_j - y_j> <x_i, x_j>; none is ever stored.
    With two labels p - y is (a, -a). Scaled to length 1, only its sign is left, and signs change no
    eigenvalue: the Vendi score is that of the features alone.

    Args:
        probabilities: (n, n_labels), output of the head.
        labels: (n,), columns of the rows' own labels.
        features: (n, d), input of the head.
    """
    errors = np.array(probabilities, dtype=np.float64)
    errors[np.arange(len(errors)), labels] -= 1.0
    return cosine_kernel(errors) * cosine_kernel(features)
