"""Pretrained models are known by their files, which may be others later."""

import os

import pytest

from stepsynth._util import pretrained
from stepsynth._util.pretrained import digest_folder


def test_a_model_whose_files_have_changed_is_another_one(tmp_path):
    weights = tmp_path / "encoder" / "part" / "model.safetensors"
    weights.parent.mkdir(parents=True)

    def digest(content, changed):
        weights.write_bytes(content)
        os.utime(weights, ns=(changed, changed))  # clocks of files are coarse
        return digest_folder(str(tmp_path / "encoder"))

    first = digest(b"one", 1)
    assert digest(b"two", 2) != first
    assert digest(b"one", 3) == first
    assert digest_folder("sentence-transformers/all-MiniLM-L6-v2") is None
    assert digest_folder("") is None
    assert digest_folder(None) is None


@pytest.mark.parametrize("at", [0, 21_000, 49_999])
def test_a_large_file_is_known_by_samples_from_end_to_end(tmp_path, monkeypatch, at):
    for name, value in {"MOST_DIGESTED": 40_000, "SAMPLES": 10, "SAMPLE": 4_000}.items():
        monkeypatch.setattr(pretrained, name, value)
    content = bytearray(50_000)
    digests = []
    for changed in range(2):
        (tmp_path / "weights").write_bytes(content)
        os.utime(tmp_path / "weights", ns=(changed, changed))
        digests.append(digest_folder(str(tmp_path)))
        content[at] = 1
    assert digests[0] != digests[1]
