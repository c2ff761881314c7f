"""A model in a folder, asked without the library that trained it.

`python predict.py "some text"`, or in Python: `Model(folder).predict(["some text"])`. It needs
numpy, and what `needs` in `model.json` names beside it: tokenizers, onnxruntime.
"""

import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32
"""Texts that an encoder reads at once."""
NGRAMS = range(2, 5)
"""Lengths of n-grams of characters."""

MARKS = 30
"""Most combining marks in a row: to sort a hundred thousand takes seconds."""

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
"""A word; in scripts that put no spaces between words, a character."""


class Model:
    """A classifier of texts, or of pairs of a text and its context.

    Args:
        folder: The folder with `model.json`.

    Attributes:
        labels: The labels, in the order of the probabilities.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        about = self._read("model.json")
        self.labels: list[str] = about["labels"]
        self._temperature: float = about["temperature"]
        self._vectors: str = about["vectors"]
        self._needs_context: bool = about["needs_context"]
        self._is_pair: bool = about["is_pair"]
        self._unknown: int | None = about["unknown_token"]
        self._normalise: bool = about["normalise"]
        self._arrays: dict[str, Any] = {}
        if (self._folder / "weights.npz").exists():
            with np.load(self._folder / "weights.npz", allow_pickle=False) as arrays:
                self._arrays = dict(arrays)
        self._vocabularies: dict[str, dict[str, int]] = {}
        if (self._folder / "vocabulary.json").exists():
            self._vocabularies = {
                kind: {ngram: i for i, ngram in enumerate(ngrams)}
                for kind, ngrams in self._read("vocabulary.json").items()
            }
        self._tokenizer: Any = None
        self._session: Any = None
        if self._vectors:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        if self._vectors in ("encoder", "logits"):
            import onnxruntime

            self._session = onnxruntime.InferenceSession(
                str(self._folder / "model.onnx"), providers=["CPUExecutionProvider"]
            )

    def predict(self, texts: Sequence[str], contexts: Sequence[str] | None = None) -> list[str]:
        """Return the most probable label of each text, given its context if it has one."""
        return [self.labels[i] for i in self.probabilities(texts, contexts).argmax(axis=1)]

    def probabilities(self, texts: Sequence[str], contexts: Sequence[str] | None = None) -> Any:
        """Return calibrated probabilities: (n_texts, n_labels).

        Raises:
            TypeError: One text is given, and no list.
            ValueError: The model was trained on pairs, and there are no contexts.
        """
        if isinstance(texts, str) or isinstance(contexts, str):
            raise TypeError("give lists of texts, not one text")
        if self._needs_context and contexts is None:
            raise ValueError("this model needs a context for each text")
        texts = [_clean(text) for text in texts]
        contexts = contexts and [_clean(context) for context in contexts]
        if not texts:
            return np.zeros((0, len(self.labels)))
        if self._vectors == "logits":
            scores = np.asarray(self._run(texts, contexts), dtype=np.float64)
        else:
            scores = self._score(texts, contexts or [""] * len(texts))
        logs = np.log(np.clip(_softmax(scores), 1e-12, None))
        return _softmax(logs / self._temperature)

    def _score(self, texts: Sequence[str], contexts: Sequence[str]) -> Any:
        """Return the scores of a linear head on n-grams, vectors or both."""
        weights = self._arrays["weights"].astype(np.float64)
        scores = np.tile(self._arrays["intercept"].astype(np.float64), (len(texts), 1))
        for i, (text, context) in enumerate(zip(texts, contexts, strict=True)):
            for place, value in self._ngram_features(text, context):
                scores[i] += value * weights[:, place]
        if self._vectors:
            vectors = self._embed(texts)
            if self._is_pair:
                others = self._embed(contexts)
                apart, product = np.abs(vectors - others), vectors * others
                vectors = np.hstack([vectors, others, apart, product])
            scores += vectors @ weights[:, -vectors.shape[1] :].T
        return scores

    def _ngram_features(self, text: str, context: str) -> Iterator[tuple[int, float]]:
        """Yield place and value of each feature that is not 0: TF-IDF of each vocabulary."""
        start = 0
        for kind, vocabulary in self._vocabularies.items():
            idf = self._arrays[f"idf_{kind}"]
            counts = Counter(filter(vocabulary.__contains__, _ngrams(kind, text, context)))
            found = [(vocabulary[ngram], count) for ngram, count in counts.items()]
            values = [(1 + np.log(count)) * float(idf[place]) for place, count in found]
            length = float(np.linalg.norm(values)) or 1.0
            yield from (
                (start + place, value / length)
                for (place, _), value in zip(found, values, strict=True)
            )
            start += len(vocabulary)
        if "new" in self._vocabularies:
            yield from ((start + i, value) for i, value in enumerate(_overlap(text, context)))

    def _embed(self, texts: Sequence[str]) -> Any:
        """Return the vectors of texts: (n_texts, n_dimensions)."""
        if self._vectors == "encoder":
            return np.asarray(self._run(texts, None))
        rows = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        known = [[i for i in row.ids if i != self._unknown] for row in rows]
        table = self._arrays["token_vectors"]
        nothing = np.zeros(table.shape[1], dtype=table.dtype)
        found = np.stack([table[ids].mean(axis=0) if ids else nothing for ids in known])
        if self._normalise:
            found = found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-32)
        return found.astype(np.float32)

    def _run(self, texts: Sequence[str], contexts: Sequence[str] | None) -> list[Any]:
        """Return what `model.onnx` gives for each text."""
        rows = list(texts) if contexts is None else list(zip(texts, contexts, strict=True))
        names = [each.name for each in self._session.get_inputs()]
        found: list[Any] = []
        for i in range(0, len(rows), BATCH):
            encoded = self._tokenizer.encode_batch(rows[i : i + BATCH])
            values = {
                "input_ids": [row.ids for row in encoded],
                "attention_mask": [row.attention_mask for row in encoded],
                "token_type_ids": [row.type_ids for row in encoded],
            }
            feed = {name: np.array(values[name], dtype=np.int64) for name in names}
            found += list(self._session.run(None, feed)[0])
        return found

    def _read(self, name: str) -> Any:
        return json.loads((self._folder / name).read_text(encoding="utf-8"))


def _clean(text: str) -> str:
    """Return valid Unicode in form NFC, with at most `MARKS` combining marks in a row."""
    valid = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if unicodedata.is_normalized("NFC", valid):
        return valid
    kept: list[str] = []
    run = 0
    for character in valid:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= MARKS:
            kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def _softmax(scores: Any) -> Any:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _ngrams(kind: str, text: str, context: str) -> Iterator[str]:
    """Yield the n-grams of a vocabulary, as scikit-learn's TfidfVectorizer cuts them."""
    if kind == "char":
        yield from _character_ngrams(text.lower())
        return
    words = _words(text)
    if kind == "word":
        yield from words
        yield from (f"{a} {b}" for a, b in pairwise(words))
        return
    known = set(_words(context))
    chosen = [word for word in words if (word in known) == (kind == "shared")]
    yield from _words(" ".join(chosen) or f"no{kind}words")


def _character_ngrams(text: str) -> Iterator[str]:
    """Yield n-grams within words, which a space pads on both sides."""
    for word in text.split():
        padded = f" {word} "
        for n in NGRAMS:
            yield from (padded[i : i + n] for i in range(max(1, len(padded) - n + 1)))
            if n >= len(padded):
                break  # a short word counts once


def _overlap(text: str, context: str) -> tuple[float, ...]:
    """Return measures of a text's overlap with its context and of its new content, each 0-1."""
    own, others = _words(text), _words(context)
    ours, theirs = set(own), set(others)
    shared = len(ours & theirs) / max(1, len(ours))
    pairs, known = set(pairwise(own)), set(pairwise(others))
    numbers = {word for word in ours if word.isdigit()}
    return (
        shared,
        float(shared == 1.0),
        len(pairs & known) / max(1, len(pairs)),
        len(numbers - theirs) / max(1, len(numbers)),
        len(own) / (len(own) + len(others) or 1),
    )


if __name__ == "__main__":
    print("\n".join(Model(Path(__file__).parent).predict(sys.argv[1:])))  # noqa: T201
