"""The static model that measurements train `static` with."""

from pathlib import Path

import pytest
from model2vec import StaticModel

from benchmarks.encoder import distilled, write_tiny_bert


def test_a_static_model_is_distilled_from_the_encoder_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPSYNTH_ENCODER", write_tiny_bert(tmp_path / "bert"))
    monkeypatch.chdir(tmp_path)
    folder = Path(distilled())
    assert StaticModel.from_pretrained(str(folder)).encode(["a text"]).shape == (1, 32)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert distilled() == str(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
