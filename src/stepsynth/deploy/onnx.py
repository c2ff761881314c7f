"""The ONNX export of a transformer student, kept only if it agrees with the student.

The folder needs neither torch nor stepsynth. onnxruntime runs `model.onnx`, `tokenizer.json`
truncates and pads rows as the student does, and `config.json` names the labels. For sets of labels
a sigmoid of a logit is the label's probability, and `thresholds.json` says from which one on it is
given.
"""

import inspect
import logging
import os
import tempfile
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from itertools import chain, cycle
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stepsynth._util.files import write_json
from stepsynth._util.text import shorten
from stepsynth.errors import ConfigError, RunFolderError, StepsynthError
from stepsynth.records import Example
from stepsynth.runfolder import RunFolder, read_rows
from stepsynth.students import load_student, need, quiet, to_predictions

if TYPE_CHECKING:
    from stepsynth.students.transformer import Transformer

T = TypeVar("T")

MODEL_FILE = "model.onnx"
ABOUT_FILE = "export.json"
"""Result of the check; the file also marks a folder as an export that may be replaced."""

MOST_ROWS = 500
TOLERANCE = 1e-3
BATCH_SIZES = (1, 7, 32, 2, 16)
ONE_FILE_BYTES = 1.9e9
"""Bytes; an ONNX file is a protobuf message of at most 2 GB, so larger weights go beside it."""

SENTENCES = (
    "Good.",
    "The parcel came two days late, and nobody answered the phone.",
    "¿Dónde está la estación? 駅はどこですか 🚉",
    "A museum in the harbour shows ships, charts and the tools of those who built them. " * 4,
    "After a slow first hour the story finds its feet, and by the end nobody in the room moved. "
    * 30,
)
"""Rows to check a model without data: short and long ones, with and without accents or emoji."""


def write_onnx(run_or_model_folder: Path, folder: Path) -> dict[str, Any]:
    """Write a student as ONNX, with its tokenizer, and check it against the student.

    Args:
        run_or_model_folder: A run folder, or a student's own folder.
        folder: The target folder, created if missing; an earlier export in it is replaced.

    Returns:
        The number of checked `rows`, the `same_labels` among them, the largest difference of a
        logit (`max_difference`), and the `path` of the ONNX file.

    Raises:
        ConfigError: A library is missing, or the student is no transformer.
        RunFolderError: There is no student, or the folder holds something else.
        StepsynthError: The ONNX file does not agree with the student; it is removed.
    """
    check_target(folder)
    student = _load(run_or_model_folder)
    for module in ("onnx", "onnxscript", "onnxruntime"):
        need(module, "onnx")
    rows = rows_to_check(run_or_model_folder, has_labels=bool(student.label_names))
    with exporting(folder) as temporary:
        _write_tokenizer(student, temporary)
        _write_model(student, temporary)
        student.save_thresholds(temporary)
        found = _check(student, rows, temporary)
        move_export(temporary, folder, {"format": 1, "max_length": student._limit, **found})
    return {**found, "path": str(folder / MODEL_FILE)}


def check_target(folder: Path) -> None:
    """Make sure that a folder is empty, or an earlier export that may be replaced.

    Raises:
        RunFolderError: It is something else.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder}: this is a file, not a folder", hint="give another folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ABOUT_FILE).exists():
        raise RunFolderError(
            f"{folder}: this folder is not empty and is no earlier export",
            hint="give another folder",
        )


@contextmanager
def exporting(folder: Path) -> Generator[Path]:
    """Give a temporary folder beside the one of an export, so that the move copies nothing.

    Raises:
        RunFolderError: It cannot be written.
    """
    beside, prefix = folder.parent, f".{folder.name}."
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory("", prefix, beside, ignore_cleanup_errors=True) as place:
            yield Path(place)
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be written: {error}") from error


def _load(place: Path) -> "Transformer":
    from stepsynth.students.transformer import Transformer

    student = load_student(place / "model" if (place / "model").is_dir() else place)
    if not isinstance(student, Transformer):
        raise ConfigError(
            f"{place}: its student is {student.name!r}; only a 'transformer' is one ONNX file",
            hint="--standalone exports any classifier",
        )
    return student


def rows_to_check(place: Path, *, has_labels: bool) -> list[Example]:
    """Return rows of the run, evenly spread over its data set and the misclassified gold rows."""
    run = RunFolder(place if (place / "model").is_dir() else place.parent)
    files = [run.dataset, *(r / "misclassified.jsonl" for r in run.round_folders())]
    found = {
        (row.text, row.context): row
        for file in files
        if file.exists()
        for row in read_rows(file, lambda r: Example(r["text"], "", r.get("context")))
        if has_labels or row.context
    }
    rows = list(found.values())
    number = min(len(rows), MOST_ROWS)
    spread = [rows[i * len(rows) // number] for i in range(number)]
    return spread or _built_in_rows(has_labels=has_labels)


def _built_in_rows(*, has_labels: bool) -> list[Example]:
    pairs = [Example(text, "", context) for text in SENTENCES[:3] for context in SENTENCES]
    return [*(Example(text, "") for text in SENTENCES if has_labels), *pairs]


def _write_tokenizer(student: "Transformer", folder: Path) -> None:
    """Write the tokenizer with the student's truncation and padding."""
    own = student._tokenizer
    tokenizer = save_tokenizer(own, folder)
    with quiet():
        student._model.config.save_pretrained(folder)
    if student.label_names:
        tokenizer.enable_truncation(student._limit, direction=own.truncation_side)
    else:
        # At most a quarter: questions may take half of a window, and windows must advance.
        stride = min(student.stride, student._limit // 4)
        tokenizer.enable_truncation(student._limit, stride=stride, strategy="only_second")
    tokenizer.save(str(folder / "tokenizer.json"))


def save_tokenizer(own: Any, folder: Path) -> Any:
    """Save the tokenizer of transformers, and return what is in it, which pads as it does."""
    from tokenizers import Tokenizer

    with quiet():
        own.save_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(
        direction=own.padding_side,
        pad_id=own.pad_token_id,
        pad_type_id=own.pad_token_type_id,
        pad_token=own.pad_token,
    )
    return tokenizer


def _write_model(student: "Transformer", folder: Path) -> None:
    names = input_names(student._tokenizer, student._model)
    sample = student._tokenizer(list(SENTENCES[:3]), padding=True, return_tensors="pt")
    export_module(
        student._model,
        {name: sample[name] for name in names},
        _output_names(student),
        folder / MODEL_FILE,
        name=student.model,
    )


def export_module(
    module: Any, inputs: dict[str, Any], outputs: list[str], file: Path, *, name: str
) -> None:
    """Write a torch module as ONNX, for batches of any size and length.

    Args:
        module: Takes the inputs by name.
        inputs: Name -> a sample of it: (n_rows, n_tokens).
        outputs: Names of its outputs.
        file: The file to write.
        name: Of the encoder, for messages.

    Raises:
        StepsynthError: torch cannot export it.
    """
    import torch

    module = module.to("cpu").eval()
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    try:
        with _silence():
            program = torch.onnx.export(
                module,
                kwargs=inputs,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes={each: {0: "batch", 1: "sequence"} for each in inputs},
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            # The exporter's notes on each step contain paths on this machine.
            for part in (program.model, program.model.graph, *program.model.graph.all_nodes()):
                part.metadata_props.clear()
                part.doc_string = None
            program.save(file, external_data=size > ONE_FILE_BYTES)
    except (RuntimeError, ValueError, TypeError) as error:
        raise StepsynthError(
            f"torch cannot export {name!r} to ONNX: {_last_line(error)}",
            hint="a newer torch and onnxscript may; or take another encoder",
        ) from error


def input_names(tokenizer: Any, model: Any) -> list[str]:
    """Return what a model takes of what its tokenizer gives."""
    takes = inspect.signature(model.forward).parameters
    return [name for name in tokenizer.model_input_names if name in takes]


def _output_names(student: "Transformer") -> list[str]:
    return ["logits"] if student.label_names else ["start_logits", "end_logits"]


@contextmanager
def _silence() -> Generator[None]:
    """Keep the exporter's progress, notices and warnings off stdout and stderr."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        silent = warnings.catch_warnings(action="ignore")
        with silent, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(disabled)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("<class ")]
    return shorten((named or lines or [type(error).__name__])[-1], 200)


def _check(student: "Transformer", rows: Sequence[Example], folder: Path) -> dict[str, Any]:
    """Return the result of the comparison.

    Raises:
        StepsynthError: The ONNX file cannot be run, or does not agree with the student.
    """
    import numpy as np

    compare = _compare_labels if student.label_names else _compare_answers
    # A tokenizer takes texts or pairs in a batch, not both.
    texts = [row for row in rows if row.context is None]
    pairs = [row for row in rows if row.context is not None]
    found = [compare(student, group, folder) for group in (texts, pairs) if group]
    same = sum(equal for equal, _ in found)
    # Unlike max(), this keeps a NaN.
    difference = float(np.max([most for _, most in found]))
    if same < len(rows) or not difference <= TOLERANCE:
        raise StepsynthError(
            f"the ONNX file does not say what the student says, so it was not kept: {same} of "
            f"{len(rows)} rows have the same label, logits differ by up to {difference:.2g} (at "
            f"most {TOLERANCE} is taken)",
            hint=f"please report it with the encoder's name ({student.model}); newer versions of "
            "torch, onnxscript and onnxruntime may help",
        )
    return {"rows": len(rows), "same_labels": same, "max_difference": difference}


def _compare_labels(
    student: "Transformer", rows: Sequence[Example], folder: Path
) -> tuple[int, float]:
    """Return the number of rows with the same label, and the largest difference of a logit."""
    import numpy as np
    from tokenizers import Tokenizer

    encoded = student._encode(rows)
    (expected,) = student.compute_logits(encoded, ("logits",))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    run, got = _open(student, folder), []
    for batch in _batches(rows):
        lines = [r.text if r.context is None else (r.text, r.context) for r in batch]
        found = tokenizer.encode_batch(lines)
        inputs = {
            "input_ids": [e.ids for e in found],
            "attention_mask": [e.attention_mask for e in found],
            "token_type_ids": [e.type_ids for e in found],
        }
        got += list(run(inputs)[0])
    said, ours = (
        to_predictions(np.stack(scores).astype(float), student.label_names, student._thresholds)
        for scores in (expected, got)
    )
    same = sum(map(eq, said.labels, ours.labels))
    return same, float(np.abs(np.subtract(expected, got)).max())


def _compare_answers(
    student: "Transformer", rows: Sequence[Example], folder: Path
) -> tuple[int, float]:
    """Return the number of questions with the same answer, and the largest logit difference."""
    import numpy as np

    from stepsynth.students import find_spans, make_windows

    tokenizer, names = student._tokenizer, _output_names(student)
    windows = make_windows(tokenizer, rows, limit=student._limit, stride=student.stride)
    expected = student.compute_logits([w.inputs for w in windows], names)
    run, got = _open(student, folder), ([], [])
    for batch in _batches(windows):
        with quiet():
            padded = tokenizer.pad([w.inputs for w in batch], return_tensors="np")
        for values, arrays in zip(got, run(padded), strict=True):
            # Logits at padding are never used, and may be anything.
            values += [a[: len(w.inputs["input_ids"])] for a, w in zip(arrays, batch, strict=True)]
    theirs, ours = (
        find_spans(windows, starts, ends, rows, longest=student.max_answer_tokens)
        for starts, ends in (expected, got)
    )
    answers = zip(theirs.labels, ours.labels, theirs.starts, ours.starts, strict=True)
    same = sum(a == b and i == j for a, b, i, j in answers)
    pairs = zip(chain(*expected), chain(*got), strict=True)
    return same, float(np.max([np.abs(a - b).max() for a, b in pairs]))


def _open(student: "Transformer", folder: Path) -> Any:
    """Return a function from token ids to the outputs of the ONNX file."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    names = input_names(student._tokenizer, student._model)
    outputs = _output_names(student)

    with _explaining(student):
        session = onnxruntime.InferenceSession(
            str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"]
        )

    def run(inputs: Any) -> Any:
        feed = {name: np.asarray(inputs[name], dtype=np.int64) for name in names}
        with _explaining(student):
            return session.run(outputs, feed)

    return run


@contextmanager
def _explaining(student: "Transformer") -> Generator[None]:
    try:
        yield
    except Exception as error:  # onnxruntime's errors share no other class
        raise StepsynthError(
            f"onnxruntime cannot run the ONNX file of {student.model!r}, so it was not kept: "
            f"{_last_line(error)}",
            hint="a newer onnxruntime may; or take another encoder",
        ) from error


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in order, in batches of changing size."""
    start = 0
    for size in cycle(BATCH_SIZES):
        if start >= len(items):
            return
        yield items[start : start + size]
        start += size


def move_export(temporary: Path, folder: Path, about: dict[str, Any]) -> None:
    """Move a checked export into its folder; other files in it stay."""
    folder.mkdir(exist_ok=True)
    (folder / ABOUT_FILE).unlink(missing_ok=True)
    (folder / f"{MODEL_FILE}.data").unlink(missing_ok=True)
    for file in sorted(temporary.iterdir()):
        os.replace(file, folder / file.name)
    write_json(folder / ABOUT_FILE, about)
