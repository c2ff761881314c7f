"""A sentence encoder that is fine-tuned on pairs of labelled texts, under a logistic head.

Tunstall et al.: "Efficient Few-Shot Learning Without Prompts" (SetFit), 2022. The cosine of two
texts is drawn to 1 where they have the same label, else to 0; then the head is fitted on the new
embeddings.

Departures:
    - Steps have a cap. The paper makes 20 pairs of either kind for each row, however many rows
      there are.
    - Rows have weights: they are drawn for pairs, and count in the head, by them. Labels are drawn
      equally often, so that a rare one is in as many pairs as a frequent one.
    - The learning rate is that of the authors' library, setfit.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from stepsynth._util.pretrained import load_sentence_encoder
from stepsynth._util.rng import make_rng
from stepsynth.records import Dataset, names_of
from stepsynth.students._head import HeadStudent
from stepsynth.students._search import Range
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks
from stepsynth.students.embedding import ENCODER_FOLDER, Embedding

PAIRS = 40
"""Pairs for each row: the paper's R = 20 with the same label, and as many with another."""

WARMUP = 0.1
"""Share of the steps until the learning rate is at its highest, as in setfit."""

Pair = tuple[int, int, bool]
"""Two rows, and whether they are alike: the same label, or one in common."""


class SetFit(Embedding):
    """The `setfit` student."""

    name: ClassVar[str] = "setfit"
    kinds: ClassVar[tuple[str, ...]] = ("classification", "multi_label")
    has_fixed_features: ClassVar[bool] = False

    steps: int = Field(
        default=250,
        gt=0,
        description="Most steps of fine-tuning; fewer are taken where 40 pairs for each row are "
        "fewer.",
    )
    batch_size: int = Field(default=16, gt=0, description="Pairs in a step.")
    learning_rate: float = Field(default=2e-5, gt=0, description="At its highest.")

    search_space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": Range(low=5e-6, high=1e-4, log=True),
        "C": Range(low=0.1, high=1000.0, log=True),
    }

    _tuned: Any = None

    def start(self, label_names: Sequence[str], random_seed: int) -> Self:
        """Return a fresh copy, which caches no embedding: its encoder will be its own."""
        fresh = super().start(label_names, random_seed)
        fresh._known = None
        return fresh

    def fit(
        self,
        dataset: Dataset,
        *,
        weights: Sequence[float] | None = None,
        callbacks: FitCallbacks = NO_CALLBACKS,
    ) -> None:
        """Fine-tune the encoder on pairs of rows, and fit the head."""
        from stepsynth.students._training import seeded

        self._tuned = _fresh_encoder(self.model)
        most = min(self.steps * self.batch_size, PAIRS * len(dataset))
        pairs = draw_pairs(dataset, self.label_names, weights, most, self._random_seed)
        batches = [pairs[i : i + self.batch_size] for i in range(0, len(pairs), self.batch_size)]
        with seeded(self._random_seed):
            contrast(self._tuned, dataset.texts, batches, self.learning_rate, callbacks.on_progress)
        super().fit(dataset, weights=weights, callbacks=callbacks)

    def encoder(self) -> Any:
        """Return the encoder, which only this student has."""
        return self._tuned

    def save(self, folder: str | Path, *, columns: Mapping[str, str] | None = None) -> None:
        """Write a folder that is self-contained by what `save_arrays` writes."""
        HeadStudent.save(self, folder, columns=columns)

    def save_arrays(self, folder: Path) -> None:
        """Write the head and the encoder."""
        super().save_arrays(folder)
        self.save_encoder(folder)

    def take_arrays(self, folder: Path, arrays: Mapping[str, Any]) -> None:
        """Read the encoder."""
        super().take_arrays(folder, arrays)
        self._tuned = _fresh_encoder(str(folder / ENCODER_FOLDER))


def _fresh_encoder(name: str) -> Any:
    """Return an encoder that nothing else has, as it will be changed."""
    return load_sentence_encoder(name, where="student.model", extra="transformers", is_shared=False)


def draw_pairs(
    dataset: Dataset,
    label_names: Sequence[str],
    weights: Sequence[float] | None,
    number: int,
    random_seed: int,
) -> list[Pair]:
    """Return pairs of rows, by turns alike and not, where there are both.

    Args:
        dataset: n rows.
        label_names: The labels of the task.
        weights: Weight of each of the n rows; default: all equal. A row without weight is in no
            pair.
        number: How many pairs; none are returned where fewer than two rows have weight.
        random_seed: Determines the pairs.
    """
    has = np.array([np.isin(label_names, names_of(row.label)) for row in dataset])
    each = np.ones(len(dataset)) if weights is None else np.asarray(weights, dtype=float)
    # Rows without any label are a group of their own, so that they are drawn, too.
    groups = np.column_stack([has, ~has.any(axis=1)]) * each[:, None]
    sums = groups.sum(axis=0)
    chances = (groups[:, sums > 0] / sums[sums > 0]).sum(axis=1)
    rng = make_rng(random_seed, "setfit")
    if (chances > 0).sum() < 2:
        return []
    rows, pairs = range(len(dataset)), list[Pair]()
    for i, first in enumerate(rng.choices(rows, chances.tolist(), k=number)):
        is_alike = (has & has[first]).any(axis=1)
        others = np.where(np.arange(len(rows)) == first, 0, chances)
        wanted = others * (is_alike if i % 2 == 0 else ~is_alike)
        odds = wanted if wanted.any() else others
        (second,) = rng.choices(rows, odds.tolist())
        pairs.append((first, second, bool(is_alike[second])))
    return pairs


def contrast(
    encoder: Any,
    texts: Sequence[str],
    batches: Sequence[Sequence[Pair]],
    learning_rate: float,
    on_progress: Callable[[str, int, int], None],
) -> None:
    """Fine-tune a sentence encoder in place on the cosines of pairs of texts.

    Args:
        encoder: A sentence-transformers model.
        texts: The rows that pairs name by their place.
        batches: The pairs of each step.
        learning_rate: At its highest.
        on_progress: Called with "train", the steps done, and all of them.
    """
    import torch
    from torch.nn.functional import cosine_similarity, mse_loss
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.AdamW(encoder.parameters(), lr=learning_rate)
    warmup = round(WARMUP * len(batches))
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, len(batches))
    encoder.train()
    for step, batch in enumerate(batches, 1):
        u = _embed(encoder, [texts[i] for i, _, _ in batch])
        v = _embed(encoder, [texts[j] for _, j, _ in batch])
        wanted = torch.tensor([alike for _, _, alike in batch], dtype=u.dtype, device=u.device)
        mse_loss(cosine_similarity(u, v), wanted).backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        on_progress("train", step, len(batches))
    encoder.eval()


def _embed(encoder: Any, texts: list[str]) -> Any:
    """Return embeddings that gradients flow through: (n_texts, n_dimensions)."""
    tokens = encoder.tokenizer(
        texts,
        padding=True,
        truncation=True,
        max_length=encoder.max_seq_length,
        return_tensors="pt",
    )
    return encoder(dict(tokens.to(encoder.device)))["sentence_embedding"]
