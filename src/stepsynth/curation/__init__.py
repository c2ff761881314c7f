"""Curation of synthetic rows: filters for copies, repetitions and wrong labels."""

from stepsynth.curation.curator import Curator
from stepsynth.curation.gate import Gate, Key, row_digest, row_key
from stepsynth.curation.label_check import (
    Verdict,
    disagree,
    flag_confident,
    knows_something,
    out_of_fold,
    split_by_texts,
)
from stepsynth.curation.near import jaccard, shingles
from stepsynth.curation.settings import Curation
from stepsynth.curation.sharded import Deduplicated, Part, deduplicate

__all__ = [
    "Curation",
    "Curator",
    "Deduplicated",
    "Gate",
    "Key",
    "Part",
    "Verdict",
    "deduplicate",
    "disagree",
    "flag_confident",
    "jaccard",
    "knows_something",
    "out_of_fold",
    "row_digest",
    "row_key",
    "shingles",
    "split_by_texts",
]
