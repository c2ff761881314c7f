"""Pretrained models are known by their files, which may be others later."""

import os

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
