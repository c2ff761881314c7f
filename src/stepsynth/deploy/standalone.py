"""A classifier as a folder that needs no stepsynth: `predict.py`, weights, and an encoder as ONNX.

`predict.py` cuts texts as scikit-learn does, but needs NumPy alone. skops would need scikit-learn
of the same version, and skl2onnx cuts words by another rule. An export is kept only if every label
is the student's own, on rows of the run and on odd texts.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stepsynth._util.files import write_json, write_text
from stepsynth._util.text import clean
from stepsynth.deploy import standalone_predict
from stepsynth.deploy.cards import code
from stepsynth.deploy.onnx import (
    MODEL_FILE,
    SENTENCES,
    check_target,
    export_module,
    exporting,
    input_names,
    move_export,
    rows_to_check,
    save_tokenizer,
    write_onnx,
)
from stepsynth.errors import ConfigError, StepsynthError
from stepsynth.metrics import Calibration, Predictions
from stepsynth.records import Example
from stepsynth.students import HeadStudent, Student, load_student, need

if TYPE_CHECKING:
    from stepsynth.students.embedding import Embedding
    from stepsynth.students.static import Static

TOLERANCE = 1e-3
"""Largest difference of a probability that is taken."""

ODD_TEXTS = (
    *SENTENCES,
    "",
    " \t\n",
    "!?",
    "a",
    "I",
    "İstanbul'da ılık, ŞİMDİ",
    "cafe\u0301 und Straße – naïve coöperation",
    "👩‍👩‍👧 ok 🙂🙂🙂 ok",
    "这个包裹昨天还没有到。",
    "ｆｕｌｌ　ｗｉｄｔｈ ﬁ ligature",
    "no\u00a0break\u2028line\u200bzero",
    "under_score 3.14 1,000 x²",
    "half \ud83d",
    f"piled e{40 * chr(0x301)}e",
)
"""Texts that tokenizers are likely to cut differently."""

OWN_FILES = ("model.json", "vocabulary.json", "weights.npz", "tokenizer.json", MODEL_FILE)
"""Files of an earlier export, perhaps of another student, that must not be left."""

NO_VECTORS: dict[str, Any] = {"vectors": "", "unknown_token": None, "normalise": False}


def write_standalone(run_or_model_folder: Path, folder: Path) -> dict[str, Any]:
    """Write a classifier as a folder that needs no stepsynth, and check it against the student.

    Args:
        run_or_model_folder: A run folder, or a student's own folder.
        folder: The target folder, created if missing; an earlier export in it is replaced.

    Returns:
        The number of checked `rows`, the largest difference of a probability (`max_difference`),
        the packages it `needs`, and its `path`.

    Raises:
        ConfigError: A library is missing, or the student cannot be exported.
        RunFolderError: There is no student, or the folder holds something else.
        StepsynthError: The folder does not say what the student says; it is removed.
    """
    check_target(folder)
    place = run_or_model_folder
    own = place / "model" if (place / "model").is_dir() else place
    student, calibration = load_student(own), Calibration.read(own)
    if not student.label_names:
        raise ConfigError(
            f"{place}: this student finds answers, which predict.py does not",
            hint="--onnx exports it, with the tokenizer that cuts passages",
        )
    if student.gives_sets:
        raise ConfigError(
            f"{place}: this student gives a text several labels, which predict.py does not",
            hint="--onnx exports a transformer, with the threshold of each label",
        )
    rows = rows_to_check(place, has_labels=True)
    with exporting(folder) as temporary:
        more, needs = _write_student(student, own, temporary)
        about = {
            "labels": list(student.label_names),
            "temperature": calibration.temperature if calibration else 1.0,
            "needs_context": "context" in student.columns,
            "is_pair": _is_pair(student),
            "needs": needs,
            **NO_VECTORS,
            **more,
        }
        write_json(temporary / "model.json", about)
        shutil.copy(str(standalone_predict.__file__), temporary / "predict.py")
        found = _check(student, calibration, rows, temporary)
        write_text(temporary / "README.md", _readme(student, needs, found))
        for name in OWN_FILES:
            (folder / name).unlink(missing_ok=True)
        move_export(temporary, folder, {"format": 1, **found})
    return {**found, "needs": needs, "path": str(folder)}


def _write_student(
    student: Student, own: Path, folder: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Write what a student has learnt; return what `predict.py` has to know, and what it needs."""
    from stepsynth.students.embedding import Embedding
    from stepsynth.students.linear import Linear
    from stepsynth.students.static import Static
    from stepsynth.students.transformer import Transformer

    if isinstance(student, Transformer):
        write_onnx(own, folder)
        return {"vectors": "logits"}, ("numpy", "tokenizers", "onnxruntime")
    if isinstance(student, Embedding):
        HeadStudent.save_arrays(student, folder)  # the encoder is written as ONNX alone
        _write_encoder(student, folder)
        return {"vectors": "encoder"}, ("numpy", "tokenizers", "onnxruntime")
    if isinstance(student, Static):
        return _write_vectors(student, folder), ("numpy", "tokenizers")
    if isinstance(student, Linear):
        student.save_arrays(folder)
        return {}, ("numpy",)
    raise ConfigError(
        f"{own}: a student {student.name!r} is not exported",
        hint="retrain with --set student.name=linear, static, embedding, setfit or transformer",
    )


def _is_pair(student: Student) -> bool:
    """Return whether the vectors of text and context are joined."""
    return isinstance(student, HeadStudent) and bool(getattr(student, "_is_pair", False))


def _write_vectors(student: "Static", folder: Path) -> dict[str, Any]:
    """Write a vector for each token beside the weights, and the tokenizer."""
    model = student.vectors()
    table = model.embedding
    if model.token_mapping is not None:
        table = table[model.token_mapping]
    if model.weights is not None:
        table = table * model.weights[:, None]
    student.save_arrays(folder)
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        known = dict(arrays)
    np.savez_compressed(folder / "weights.npz", **known, token_vectors=table)
    tokenizer = type(model.tokenizer).from_str(model.tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    return {
        "vectors": "tokens",
        "unknown_token": model.unk_token_id,
        "normalise": bool(model.normalize),
    }


def _write_encoder(student: "Embedding", folder: Path) -> None:
    """Write a sentence encoder as ONNX, from tokens to vectors of length 1, and its tokenizer."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        need(module, "onnx")
    import torch

    encoder = student.encoder()

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(encoder)

        def forward(
            self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None
        ) -> torch.Tensor:
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                given["token_type_ids"] = token_type_ids
            for part in self.parts:
                given = part(given)
            return torch.nn.functional.normalize(given["sentence_embedding"], dim=1)

    own = encoder.tokenizer
    sample = own(list(SENTENCES[:3]), padding=True, return_tensors="pt")
    module = Encoder()
    inputs = {name: sample[name] for name in input_names(own, module)}
    export_module(module, inputs, ["vectors"], folder / MODEL_FILE, name=student.model)
    with tempfile.TemporaryDirectory() as saved:
        tokenizer = save_tokenizer(own, Path(saved))
    tokenizer.enable_truncation(encoder.max_seq_length, direction=own.truncation_side)
    tokenizer.save(str(folder / "tokenizer.json"))


def _check(
    student: Student, calibration: Calibration | None, rows: Sequence[Example], folder: Path
) -> dict[str, Any]:
    """Return the result of the comparison of the written folder with the student.

    Raises:
        StepsynthError: They do not agree.
    """
    needs_context = "context" in student.columns
    odd = [Example(text, "", SENTENCES[1] if needs_context else None) for text in ODD_TEXTS]
    given = [(row.text, row.context or ("" if needs_context else None)) for row in (*rows, *odd)]
    model = standalone_predict.Model(folder)
    same, most = 0, 0.0
    for group in (
        [(text, context) for text, context in given if context is None],
        [(text, context) for text, context in given if context is not None],
    ):
        if not group:
            continue
        said = student.predict_examples(
            [Example(clean(text), "", context and clean(context)) for text, context in group]
        )
        assert isinstance(said, Predictions)
        expected = (calibration.apply(said) if calibration else said).probabilities
        contexts = None if group[0][1] is None else [context or "" for _, context in group]
        got = model.probabilities([text for text, _ in group], contexts)
        same += int((expected.argmax(axis=1) == got.argmax(axis=1)).sum())
        # Unlike max(), this keeps a NaN.
        most = float(np.max([most, np.abs(expected - got).max()]))
    if same < len(given) or not most <= TOLERANCE:
        raise StepsynthError(
            f"the exported model does not say what the student says, so it was not kept: {same} "
            f"of {len(given)} rows have the same label, probabilities differ by up to {most:.2g} "
            f"(at most {TOLERANCE} is taken)",
            hint="please report it with the student's settings (model/student.json)",
        )
    return {"rows": len(given), "max_difference": most}


def _readme(student: Student, needs: Sequence[str], found: dict[str, Any]) -> str:
    has_context = "context" in student.columns
    call = '["some text"], ["its context"]' if has_context else '["some text"]'
    shell = "" if has_context else '\n```bash\npython predict.py "some text"\n```\n'
    labels = ", ".join(code(label) for label in student.label_names)
    return f"""# A text classifier

Labels: {labels}.

```bash
pip install {" ".join(needs)}
```

```python
from predict import Model

model = Model(".")  # this folder
print(model.predict({call}))
print(model.probabilities({call}).round(3))  # a column for each of model.labels
```
{shell}
It runs on Python 3.10 or newer; `predict.py` holds all the code.
It was checked on {found["rows"]} rows: the labels are those of the trained model, probabilities \
differ by at most {found["max_difference"]:.0e}.
Probabilities are calibrated (the temperature in `model.json`).
Files are JSON, NumPy arrays and ONNX; nothing is unpickled.
"""
