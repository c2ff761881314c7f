"""A pretrained encoder, fine-tuned: DistilBERT in the paper, any encoder of the hub here.

A row is one text, a pair (the text first, as in the official scripts), or a question and its
passage. The model is saved in transformers' own format, so plain transformers can load it.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from stepsynth.metrics import AnyPredictions, Floats, Spans, membership
from stepsynth.records import Dataset, Example
from stepsynth.students._encoder import (
    check_encoder,
    load_model,
    load_tokenizer,
    most_tokens,
    need,
    quiet,
)
from stepsynth.students._head import to_predictions
from stepsynth.students._presets import PRESETS
from stepsynth.students._search import Range
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks, Student
from stepsynth.students._tokens import BLOCK, Row, TokenRows, blocks

EPOCHS, LEAST_STEPS = 4, 150
"""Few rows take more passes: Mosbach, Andriushchenko, Klakow: "On the Stability of Fine-tuning
BERT", ICLR 2021, and Zhang et al.: "Revisiting Few-sample BERT Fine-tuning", ICLR 2021."""


class Transformer(Student):
    """The `transformer` student."""

    name: ClassVar[str] = "transformer"
    kinds: ClassVar[tuple[str, ...]] = (*Student.kinds, "multi_label", "extractive_qa")

    model: str = Field(
        default="distilbert-base-uncased",
        description="An encoder: a name on the Hugging Face hub, a folder, or one of "
        f"{', '.join(PRESETS)}, with its authors' learning rate and the like.",
    )
    batch_size: int = Field(default=16, gt=0, description="Rows in a step.")
    learning_rate: float = Field(default=5e-5, gt=0, description="At its highest.")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's weight decay.")
    epochs: int | None = Field(
        default=None,
        gt=0,
        description=f"Passes over the rows. Without it: {EPOCHS}, and where rows are few as many "
        f"as make {LEAST_STEPS} steps.",
    )
    warmup: float = Field(
        default=0.06,
        ge=0,
        description="Steps until the learning rate is at its highest; below 1: a share of all.",
    )
    max_length: int = Field(
        default=512, gt=8, description="Most tokens of a row; the model's own limit holds too."
    )
    keep_epoch: Literal["best", "last"] = Field(
        default="best", description="The epoch that is kept: the best one on select, or the last."
    )
    patience: int | None = Field(
        default=None, gt=0, description="Stop after so many epochs without a better score."
    )
    class_weights: bool = Field(
        default=True, description="Rare labels weigh as much as frequent ones."
    )
    stride: int = Field(
        default=128, ge=0, description="Tokens that two windows of one passage share (QA)."
    )
    max_answer_tokens: int = Field(default=30, gt=0, description="Longest answer to look for (QA).")

    search_space: ClassVar[Mapping[str, Any]] = {
        "batch_size": (8, 16, 32),
        "learning_rate": Range(low=5e-6, high=2e-4, log=True),
        "weight_decay": Range(low=1e-8, high=0.1, log=True),
        "epochs": Range(low=2, high=10),
    }

    _model: Any = None
    _tokenizer: Any = None
    _limit: int = 0

    @model_validator(mode="before")
    @classmethod
    def _read_preset(cls, given: Any) -> Any:
        """Put the keys that a preset stands for below those that are given."""
        preset = PRESETS.get(str(given.get("model"))) if isinstance(given, dict) else None
        return {**preset, **given, "model": preset["model"]} if preset else given

    def check(self) -> None:
        """Check that the libraries, the encoder and its tokenizer are available."""
        super().check()
        need("accelerate", "transformers")
        check_encoder(self.model)
        load_tokenizer(self.model)

    def passes(self, rows: int) -> int:
        """Return the number of passes of a fit over its rows."""
        steps = ceil(max(rows, 1) / self.batch_size)
        return self.epochs or max(EPOCHS, ceil(LEAST_STEPS / steps))

    def fit(
        self,
        dataset: Dataset,
        *,
        weights: Sequence[float] | None = None,
        callbacks: FitCallbacks = NO_CALLBACKS,
    ) -> None:
        """Fine-tune from the pretrained weights."""
        from stepsynth.students._training import seeded, train

        with seeded(self._random_seed):
            self.expect(dataset)
            self._load(self.model)
            each = self._weigh(dataset, weights)
            rows = self._training_rows(dataset, each, callbacks)
            train(self, self._model, self._tokenizer, rows, callbacks)
            self.choose_thresholds(callbacks.select)

    def _weigh(self, dataset: Dataset, weights: Sequence[float] | None) -> Floats:
        """Return the weight of each row in the loss, for sets one for each label; mean 1."""
        each = np.ones(len(dataset)) if weights is None else np.asarray(weights, dtype=float)
        if self._thresholds is not None:
            has = membership(dataset.labels, self.label_names)
            each = np.repeat(each[:, None], len(self.label_names), axis=1)
            if self.class_weights:  # rows with a label weigh as much as those without
                each = each / np.where(has, has.sum(axis=0), (~has).sum(axis=0))
        elif self.class_weights and self.label_names:
            counts = dataset.label_counts()
            each = each / [counts[label] for label in dataset.labels]
        return each / each.mean()

    def _training_rows(
        self, dataset: Dataset, weights: Floats, callbacks: FitCallbacks
    ) -> TokenRows:
        """Return token ids with label ids (0 or 1 for each label, answer positions) and weights."""
        names = self._tokenizer.model_input_names
        if not self.label_names:
            return TokenRows(self._question_rows(dataset, weights), names)
        rows = self._encode(dataset, callbacks)
        if cut := (rows.lengths >= self._limit).sum():
            callbacks.warn(
                f"{cut} of {len(rows)} training rows have {self._limit} tokens or more, all that "
                f"{self.model} reads of a row: the rest of them is cut"
            )
        if self._thresholds is None:
            column = {label: i for i, label in enumerate(self.label_names)}
            own: Any = np.array([column[label] for label in dataset.labels])
        else:
            own = membership(dataset.labels, self.label_names).astype(float)
        return rows.extended(labels=own, weight=weights)

    def _question_rows(self, dataset: Dataset, weights: Floats) -> Iterator[Row]:
        from stepsynth.students._windows import make_windows, training_row

        each = iter(weights.tolist())
        for block in blocks(dataset):
            own = list(islice(each, len(block)))
            windows = make_windows(self._tokenizer, block, limit=self._limit, stride=self.stride)
            for window in windows:
                yield training_row(window, block[window.row]) | {"weight": own[window.row]}

    def _encode(
        self, examples: Sequence[Example], callbacks: FitCallbacks = NO_CALLBACKS
    ) -> TokenRows:
        """Return token ids of texts or pairs, not padded."""
        is_pair = any(row.context is not None for row in examples)

        def encode() -> Iterator[Row]:
            for done, block in enumerate(blocks(examples)):
                if done:
                    callbacks.on_progress("tokens of rows", done * BLOCK, len(examples))
                encoded = self._tokenizer(
                    [row.text for row in block],
                    [row.context or "" for row in block] if is_pair else None,
                    padding=False,
                    truncation=True,
                    max_length=self._limit,
                )
                yield from ({key: encoded[key][i] for key in encoded} for i in range(len(block)))

        return TokenRows(encode(), self._tokenizer.model_input_names)

    def compute_logits(self, rows: Sequence[Row], names: Sequence[str]) -> list[list[Any]]:
        """Return the model's outputs of these names for rows of token ids, one array per row."""
        from stepsynth.students._training import compute_logits

        return compute_logits(self._model, self._tokenizer, rows, names)

    def predict_examples(self, examples: Sequence[Example]) -> AnyPredictions:
        """Return probabilities (n_examples, n_labels), or the answers of n questions."""
        from stepsynth.students._windows import find_spans, make_windows

        names = self.label_names
        if names:
            scores = np.zeros((0, len(names)))
            if examples:
                (logits,) = self.compute_logits(self._encode(examples), ("logits",))
                scores = np.stack(logits).astype(np.float64)
            return to_predictions(scores, names, self._thresholds)
        if not examples:
            return Spans([], [], [])
        windows = make_windows(self._tokenizer, examples, limit=self._limit, stride=self.stride)
        inputs = [window.inputs for window in windows]
        heads = ("start_logits", "end_logits")
        starts, ends = self.compute_logits(inputs, heads)
        return find_spans(windows, starts, ends, examples, longest=self.max_answer_tokens)

    def add_offsets(self, offsets: Floats) -> None:
        """Add to the log-probability of each label: (n_labels,), in the bias of the last layer."""
        from stepsynth.students._training import add_to_bias

        add_to_bias(self._model, offsets)

    def save_arrays(self, folder: Path) -> None:
        """Write safetensors, configuration and tokenizer, as transformers does."""
        with quiet():
            self._model.save_pretrained(folder)
            self._tokenizer.save_pretrained(folder)
        self.save_thresholds(folder)

    def load_arrays(self, folder: Path) -> None:
        """Read what `save_arrays` wrote."""
        name = str(folder)
        if not (folder / "config.json").exists():
            raise FileNotFoundError(2, "no such file", str(folder / "config.json"))
        self.load_thresholds(folder)
        self._load(name)

    def _load(self, name: str) -> None:
        check_encoder(name)
        self._tokenizer = load_tokenizer(name)
        self._model = load_model(name, self.label_names, has_sets=self._thresholds is not None)
        self._limit = min(self.max_length, most_tokens(self._model))
