"""Encoders by short names, with the hyper-parameters that their authors fine-tune them with.

Sources:
    DeBERTa-v3: the commands of the model cards at huggingface.co/microsoft (MNLI; 64 rows a step
    there); He, Gao, Chen: "DeBERTaV3", 2021.
    ModernBERT: examples/finetune_modernbert_on_glue.ipynb of github.com/AnswerDotAI/ModernBERT;
    Warner et al.: "Smarter, Better, Faster, Longer", 2024.
    Ettin: Weller et al.: "Seq vs Seq", 2025. Their repository names none; they have the
    architecture and the recipe of ModernBERT, and get its values.
"""

from collections.abc import Mapping
from typing import Any

_MODERNBERT = {"learning_rate": 8e-5, "weight_decay": 8e-6, "batch_size": 32}
_ETTIN_SIZES = ("17m", "32m", "68m", "150m", "400m", "1b")

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "deberta-v3-xsmall": {"model": "microsoft/deberta-v3-xsmall", "learning_rate": 4.5e-5},
    "deberta-v3-small": {"model": "microsoft/deberta-v3-small", "learning_rate": 4.5e-5},
    "deberta-v3-base": {"model": "microsoft/deberta-v3-base", "learning_rate": 2e-5},
    "deberta-v3-large": {"model": "microsoft/deberta-v3-large", "learning_rate": 6e-6},
    "modernbert-base": {"model": "answerdotai/ModernBERT-base", **_MODERNBERT},
    "modernbert-large": {"model": "answerdotai/ModernBERT-large", **_MODERNBERT},
    **{
        f"ettin-{size}": {"model": f"jhu-clsp/ettin-encoder-{size}", **_MODERNBERT}
        for size in _ETTIN_SIZES
    },
}
"""Name -> the keys of `transformer` that it stands for."""
