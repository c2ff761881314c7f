"""A frozen sentence encoder with a logistic head: seconds per round on a CPU.

Embeddings are cached by text, in memory and on disk: a round embeds only rows added since the round
before, and methods and runs embed rows that they share only once.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stepsynth._util.pretrained import digest_folder, load_sentence_encoder, quiet
from stepsynth.records import Dataset, Example
from stepsynth.students._head import HeadStudent, pair_features
from stepsynth.students._kept_vectors import KeptVectors
from stepsynth.students._search import Range
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks

Floats = npt.NDArray[np.float32]
ENCODER_FOLDER = "encoder"
MOST_KNOWN = 500_000
"""Most embeddings that a process caches per encoder: about 0.8 GB at 384 dimensions."""

STEP = 512
"""Texts that are embedded between two reports of progress."""

_KNOWN: dict[tuple[str, str | None], dict[str, Floats]] = {}
"""Encoder and its files -> text -> embedding, shared by all students that this process trains."""


class Embedding(HeadStudent):
    """The `embedding` student.

    Attributes:
        model: A sentence-transformers model: a name on the Hugging Face hub, or a folder.
        C: Inverse strength of the L2 penalty, a mild one, since embeddings have length 1.
    """

    name: ClassVar[str] = "embedding"
    library: ClassVar[tuple[str, str] | None] = ("sentence_transformers", "transformers")
    knows_meaning: ClassVar[bool] = True

    model: str = Field(
        default="sentence-transformers/all-MiniLM-L6-v2",
        description="A sentence encoder: a name on the Hugging Face hub, or a folder.",
    )
    C: float = Field(default=10.0, gt=0, description="Inverse strength of the L2 penalty.")

    search_space: ClassVar[Mapping[str, Any]] = {"C": Range(low=0.1, high=1000.0, log=True)}

    _is_pair: bool = False
    _known: dict[str, Floats] | None = None
    """Text -> embedding; None: nothing is cached."""

    _encoder_folder: str = ""
    _files: str | None = None
    """Digest of the files of a local encoder, as they were when the student was made."""

    def start(self, label_names: Sequence[str], random_seed: int) -> Self:
        """Return a fresh copy, which shares the cached embeddings."""
        fresh = super().start(label_names, random_seed)
        fresh._files = self.files
        fresh._known = _KNOWN.setdefault((self.model, fresh._files), {})
        if len(fresh._known) > MOST_KNOWN:
            fresh._known.clear()
        return fresh

    def check(self) -> None:
        """Check that sentence-transformers and the encoder are available."""
        super().check()
        _encoder(self.model)

    def learn_features(self, dataset: Dataset, callbacks: FitCallbacks = NO_CALLBACKS) -> Floats:
        """Embed a data set, as texts or as pairs, and return its features: (n, n_features)."""
        self._is_pair = any(row.context is not None for row in dataset)
        self._warn_of_cuts(dataset, callbacks)
        return self.features(dataset, callbacks)

    def _warn_of_cuts(self, dataset: Dataset, callbacks: FitCallbacks) -> None:
        """Warn if texts are longer than the encoder reads."""
        encoder = self.encoder()
        most = encoder.max_seq_length
        # Few tokens have fewer than two characters, and tokenizing all rows again takes seconds.
        texts = (text for row in dataset for text in (row.text, row.context or ""))
        long = [text for text in texts if most and len(text) > most]
        if any(len(encoder.tokenizer(text)["input_ids"]) > most for text in long):
            callbacks.warn(
                f"student {self.name}: some texts have more than the {most} tokens that "
                f"{self.model} reads; the rest of them is not seen"
            )

    def features(
        self, examples: Sequence[Example], callbacks: FitCallbacks = NO_CALLBACKS
    ) -> Floats:
        """Return embeddings, or the features of pairs of them: (n_examples, n_features)."""
        texts = [row.text for row in examples]
        contexts = [row.context or "" for row in examples]
        known = self._embed([*texts, *contexts] if self._is_pair else texts, callbacks)
        u = np.stack([known[text] for text in texts])
        if not self._is_pair:
            return u
        v = np.stack([known[context] for context in contexts])
        return pair_features(u, v)

    def _embed(self, texts: Sequence[str], callbacks: FitCallbacks) -> dict[str, Floats]:
        """Return the embeddings of texts; each is computed once."""
        known = {} if self._known is None else self._known
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if not new:
            return known
        encoder = self.encoder()
        kept = None
        if self._known is not None:
            kept = _kept_vectors(self.model, self._files)
            known |= kept.read(new)
            new = [text for text in new if text not in known]
        for i in range(0, len(new), STEP):
            batch = new[i : i + STEP]
            vectors = encoder.encode(
                batch, batch_size=32, normalize_embeddings=True, show_progress_bar=False
            )
            # An encoder whose weights have 16 bits gives vectors of 16 bits.
            found = dict(zip(batch, np.asarray(vectors, np.float32), strict=True))
            if kept is not None:
                kept.write(found)
            known |= found
            callbacks.on_progress("embed", min(i + STEP, len(new)), len(new))
        return known

    def encoder(self) -> Any:
        """Return the sentence-transformers model."""
        return _encoder(self._encoder_folder or self.model, self._files)

    def save(self, folder: str | Path, *, columns: Mapping[str, str] | None = None) -> None:
        """Write the head and the encoder, so that the folder is self-contained."""
        super().save(folder, columns=columns)
        self.save_encoder(Path(folder))

    def save_encoder(self, folder: Path) -> None:
        """Write the encoder into a folder of its own."""
        with quiet():
            self.encoder().save(str(folder / ENCODER_FOLDER), create_model_card=False)

    def own_arrays(self, folder: Path) -> Mapping[str, Any]:
        """Return whether it is for pairs."""
        return {"is_pair": self._is_pair}

    def take_arrays(self, folder: Path, arrays: Mapping[str, Any]) -> None:
        """Use the encoder in the folder if there is one."""
        self._is_pair = bool(arrays["is_pair"])
        if (folder / ENCODER_FOLDER).is_dir():
            # A deployed student may run for years: it keeps no text that it was given.
            self._encoder_folder, self._known = str(folder / ENCODER_FOLDER), None
            self._files = digest_folder(self._encoder_folder)


@lru_cache(maxsize=2)
def _kept_vectors(name: str, files: str | None) -> KeptVectors:
    return KeptVectors(_encoder(name, files))


def _encoder(name: str, files: str | None = None) -> Any:
    where, extra = "student.model", "transformers"
    return load_sentence_encoder(name, where=where, extra=extra, files=files)
