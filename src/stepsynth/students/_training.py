"""Fine-tuning with transformers' Trainer, and inference of what was fine-tuned with it."""

import random
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from stepsynth.metrics import AnyPredictions, Floats
from stepsynth.records import Example
from stepsynth.students._encoder import quiet
from stepsynth.students._student import FitCallbacks
from stepsynth.students._tokens import Row, TokenRows

PREDICT_BATCH = 32
POOL = 50
"""Batches whose rows are sorted by length together: enough for like lengths, few enough to vary."""


@contextmanager
def seeded(random_seed: int) -> Generator[None]:
    """Seed all random generators within a block, and restore the caller's afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        set_seed(random_seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


class FineTuning(Protocol):
    """The hyper-parameters of a fine-tuned student, and its predictions."""

    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    keep_epoch: Literal["best", "last"]
    patience: int | None
    _random_seed: int

    def passes(self, rows: int) -> int:
        """Return the number of passes over the rows."""
        ...

    def predict_examples(self, examples: Sequence[Example]) -> AnyPredictions:
        """Return predictions for examples, in their order."""
        ...


def train(
    spec: FineTuning, model: Any, tokenizer: Any, rows: TokenRows, callbacks: FitCallbacks
) -> None:
    """Fine-tune a model on rows in place; it ends with the weights of the chosen epoch.

    Args:
        spec: Hyper-parameters.
        model: Pretrained, with a new head.
        tokenizer: Pads batches.
        rows: Token ids, label ids or 0.0 and 1.0 for each label (or `start_positions`,
            `end_positions`), and `weight`.
        callbacks: Score each epoch on `select` if an epoch is to be chosen.
    """
    has_select = bool(callbacks.select) and (spec.keep_epoch == "best" or spec.patience is not None)
    keeps_best = has_select and spec.keep_epoch == "best"
    with tempfile.TemporaryDirectory(prefix="stepsynth-") as folder, quiet():
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=spec.batch_size,
            learning_rate=spec.learning_rate,
            weight_decay=spec.weight_decay,
            num_train_epochs=spec.passes(len(rows)),
            warmup_steps=spec.warmup,
            lr_scheduler_type="linear",
            eval_strategy="epoch" if has_select else "no",
            save_strategy="best" if keeps_best else "no",
            load_best_model_at_end=keeps_best,
            metric_for_best_model="score",
            greater_is_better=True,
            save_total_limit=1,
            save_only_model=True,
            bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
            dataloader_pin_memory=torch.cuda.is_available(),
            remove_unused_columns=False,
            disable_tqdm=True,
            report_to="none",
            logging_strategy="no",
            seed=spec._random_seed,
        )
        # On several GPUs Trainer would train with as many times the batch size.
        arguments._n_gpu = min(arguments.n_gpu, 1)
        hooks: list[TrainerCallback] = [_Progress(callbacks)]
        if spec.patience is not None and has_select:
            hooks.append(EarlyStoppingCallback(early_stopping_patience=spec.patience))
        trainer = _Trainer(
            model=model,
            args=arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=_Rows(rows),
            eval_dataset=_Rows(rows[:1]) if has_select else None,
            callbacks=hooks,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.score_select = lambda: callbacks.score(spec.predict_examples(callbacks.select))
        trainer.train()
    model.eval()
    model.to("cpu")


class _Rows(torch.utils.data.Dataset[Row]):
    """Rows as a PyTorch data set."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)


class _SimilarLengths(torch.utils.data.Sampler[int]):
    """A sampler of batches with rows of like length, in random order.

    Trainer's own sampler orders such batches from long to short, pool after pool. An epoch would
    end on the shortest rows, which after a round of S3 may all be seed data.
    """

    def __init__(self, lengths: npt.NDArray[np.int64], batch_size: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[int]:
        size, lengths = self._batch_size, self._lengths
        order = torch.randperm(len(lengths)).numpy()
        for start in range(0, len(order), POOL * size):
            pool = order[start : start + POOL * size]
            pool[:] = pool[np.argsort(-lengths[pool], kind="stable")]
        # As Trainer's own sampler: the longest row of all comes into the first batch.
        longest = POOL * size * int(lengths[order[:: POOL * size]].argmax())
        order[0], order[longest] = order[longest], order[0]
        # A short batch stays last, or later batches would be divided elsewhere.
        whole = len(order) // size
        for i in torch.randperm(whole).numpy():
            yield from order[i * size : (i + 1) * size].tolist()
        yield from order[whole * size :].tolist()

    def __len__(self) -> int:
        return len(self._lengths)


class _Trainer(Trainer):
    """A Trainer with weighted rows, and with the task's main score for each epoch."""

    score_select: Any = None

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return the sampler of like lengths."""
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        return _SimilarLengths(rows.rows.lengths, self.args.train_batch_size)

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the mean of the rows' losses, each multiplied by its weight.

        If a row has a set of labels, it has a loss and a weight for each of them.
        """
        weight = inputs.pop("weight")
        heads = (
            {"logits": inputs.pop("labels")}
            if "labels" in inputs
            else {
                "start_logits": inputs.pop("start_positions"),
                "end_logits": inputs.pop("end_positions"),
            }
        )
        outputs = model(**inputs)
        losses = [
            (binary_cross_entropy_with_logits if gold.is_floating_point() else cross_entropy)(
                outputs[name].float(), gold, reduction="none"
            )
            for name, gold in heads.items()
        ]
        loss = (weight * sum(losses) / len(losses)).mean()
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the epoch on `select` the way the deployed model predicts."""
        metrics = {"eval_score": float(self.score_select())}
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


class _Progress(TrainerCallback):
    """A Trainer callback that reports steps and epochs."""

    def __init__(self, callbacks: FitCallbacks) -> None:
        self._fit_callbacks = callbacks

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._fit_callbacks.on_progress("train", state.global_step, state.max_steps)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        self._fit_callbacks.on_epoch(round(state.epoch), metrics["eval_score"])


def compute_logits(
    model: Any, tokenizer: Any, rows: Sequence[Row], names: Sequence[str]
) -> list[list[Any]]:
    """Return a model's outputs for rows, in their order.

    Args:
        model: Is moved to the accelerator, if there is one.
        tokenizer: Pads batches.
        rows: Token ids; rows of like length share a batch.
        names: The outputs to return.

    Returns:
        For each name, one array per row. If an output has a value per token, padding is cut off.
    """
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    model = model.to(device or "cpu").eval()
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    results: list[list[Any]] = [[None] * len(rows) for _ in names]
    keys = tokenizer.model_input_names
    for at in range(0, len(order), PREDICT_BATCH):
        batch = order[at : at + PREDICT_BATCH]
        inputs = [{k: v for k, v in rows[i].items() if k in keys} for i in batch]
        with quiet():
            padded = tokenizer.pad(inputs, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**padded.to(model.device))
        for values, name in zip(results, names, strict=True):
            arrays = outputs[name].float().cpu().numpy()
            for i, row, array in zip(batch, inputs, arrays, strict=True):
                is_per_token = name != "logits"
                values[i] = array[: len(row["input_ids"])] if is_per_token else array
    return results


def add_to_bias(model: Any, offsets: Floats) -> None:
    """Add to the bias of the last layer in place, where it has one: (n_labels,)."""
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    biases: list[Any] = [each.bias for each in layers if each.out_features == len(offsets)]
    if biases and biases[-1] is not None:
        with torch.no_grad():
            biases[-1] += torch.as_tensor(offsets).to(biases[-1])
