"""Static word vectors, joined with TF-IDF, under a logistic head: seconds on a CPU, no PyTorch.

Model2Vec (Tulkens and van Dongen, 2024) gives each token of a sentence encoder's vocabulary a fixed
vector; a text is their mean. Vectors know words that no training row has, TF-IDF knows exactly
those that decide.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stepsynth._util.pretrained import UnusableModelError, digest_folder, need
from stepsynth.records import Dataset, Example
from stepsynth.students import _tfidf
from stepsynth.students._head import HeadStudent, pair_features
from stepsynth.students._search import Range
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks

VECTORS_FOLDER = "vectors"


class Static(HeadStudent):
    """The `static` student."""

    name: ClassVar[str] = "static"
    library: ClassVar[tuple[str, str] | None] = ("model2vec", "static")

    model: str = Field(
        default="minishlab/potion-base-8M",
        description="A Model2Vec model: a name on the Hugging Face hub, or a folder.",
    )
    tfidf: bool = Field(default=True, description="Join the vectors with the n-grams of `linear`.")
    C: float = Field(default=1.0, gt=0, description="Inverse strength of the L2 penalty.")
    max_features: int = Field(
        default=30_000, gt=0, description="With tfidf: n-grams kept of words and of characters."
    )

    search_space: ClassVar[Mapping[str, Any]] = {"C": Range(low=0.1, high=100.0, log=True)}

    _vectorizers: Any = None
    _is_pair: bool = False
    _vectors_folder: str = ""
    _files: str | None = None
    """Digest of the files of a local model, as they were when the student was made."""

    def start(self, label_names: Sequence[str], random_seed: int) -> Self:
        """Return a fresh, unfitted copy."""
        fresh = super().start(label_names, random_seed)
        fresh._files = self.files
        return fresh

    def check(self) -> None:
        """Check that model2vec and the model are available."""
        super().check()
        _vectors(self.model, self.files)

    def learn_features(self, dataset: Dataset, callbacks: FitCallbacks = NO_CALLBACKS) -> Any:
        """Build the vocabularies from a data set and return its features: (n, n_features).

        Raises:
            TooFewRowsError: No text holds a word.
        """
        self._is_pair = any(row.context is not None for row in dataset)
        if not self.tfidf:
            return self._embed(dataset)
        self._vectorizers, counts = _tfidf.learn(dataset, self.max_features)
        return _join(counts, self._embed(dataset))

    def features(self, examples: Sequence[Example]) -> Any:
        """Return vectors, with `tfidf` after the n-grams: (n_examples, n_features)."""
        vectors = self._embed(examples)
        if not self.tfidf:
            return vectors
        return _join(_tfidf.featurize(self._vectorizers, examples), vectors)

    def _embed(self, examples: Sequence[Example]) -> npt.NDArray[np.float32]:
        """Return the vectors of texts, or of pairs: (n_examples, n_dimensions)."""
        model = self.vectors()

        def encode(texts: list[str]) -> npt.NDArray[np.float32]:
            found = model.encode(texts, max_length=None, use_multiprocessing=False)
            return np.asarray(found, dtype=np.float32)

        own = encode([row.text for row in examples])
        if not self._is_pair:
            return own
        return pair_features(own, encode([row.context or "" for row in examples]))

    def vectors(self) -> Any:
        """Return the Model2Vec model."""
        return _vectors(self._vectors_folder or self.model, self._files)

    def save(self, folder: str | Path, *, columns: Mapping[str, str] | None = None) -> None:
        """Write the head and the vectors, so that the folder is self-contained."""
        super().save(folder, columns=columns)
        self.vectors().save_pretrained(Path(folder) / VECTORS_FOLDER)

    def own_arrays(self, folder: Path) -> Mapping[str, Any]:
        """Return whether it is for pairs, and with `tfidf` write the vocabularies as JSON."""
        idf = _tfidf.save(self._vectorizers, folder) if self.tfidf else {}
        return {"is_pair": self._is_pair, **idf}

    def take_arrays(self, folder: Path, arrays: Mapping[str, Any]) -> None:
        """Read the vocabularies, and use the vectors in the folder if there are any."""
        self._is_pair = bool(arrays["is_pair"])
        self._vectorizers = _tfidf.load(folder, arrays) if self.tfidf else None
        if (folder / VECTORS_FOLDER).is_dir():
            self._vectors_folder = str(folder / VECTORS_FOLDER)
            self._files = digest_folder(self._vectors_folder)


def _join(counts: Any, vectors: npt.NDArray[np.float32]) -> Any:
    from scipy.sparse import csr_matrix, hstack

    return hstack([counts, csr_matrix(vectors)], format="csr")


@lru_cache(maxsize=2)
def _vectors(name: str, _files: str | None) -> Any:
    """Return a Model2Vec model.

    Raises:
        ConfigError: The library or the model is missing.
    """
    need("model2vec", "static")
    from model2vec import StaticModel
    from safetensors import SafetensorError

    try:
        return StaticModel.from_pretrained(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UnusableModelError(
            f"student.model: {name!r} cannot be loaded: {reason[:300]}",
            hint="give the name of a Model2Vec model on the Hugging Face hub (is the network "
            "there?) or a folder with config.json, tokenizer.json and safetensors",
        ) from error
