"""stepsynth: turn an LLM and a few labelled rows into a good small model.

    import stepsynth

    result = stepsynth.run("task.yaml")
    result.model.predict(["my parcel is late"])

Names are resolved when they are first used, so that importing the package loads no heavy library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepsynth.api import acompare, arun, asynthesize, compare, run, synthesize
    from stepsynth.data import Split
    from stepsynth.errors import StepsynthError, StepsynthWarning
    from stepsynth.llm import Limits
    from stepsynth.llm.backends.anthropic import Anthropic
    from stepsynth.llm.backends.openai_compatible import OpenAICompatible
    from stepsynth.llm.backends.replay import Replay
    from stepsynth.llm.backends.scripted import Scripted
    from stepsynth.methods.gold import Gold
    from stepsynth.methods.goldgen import GoldGen
    from stepsynth.methods.s3 import S3
    from stepsynth.methods.zerogen import ZeroGen
    from stepsynth.observer import Observer
    from stepsynth.records import (
        Answers,
        Context,
        Dataset,
        Example,
        LabelSet,
        Provenance,
        Rejected,
    )
    from stepsynth.results import ComparisonResult, RunResult
    from stepsynth.runfolder import Run, open_run
    from stepsynth.students import load_student
    from stepsynth.students.embedding import Embedding
    from stepsynth.students.linear import Linear
    from stepsynth.students.transformer import Transformer
    from stepsynth.tasks.classification import Classification
    from stepsynth.tasks.extractive_qa import ExtractiveQA
    from stepsynth.tasks.multi_label import MultiLabel
    from stepsynth.tasks.sentence_pair import SentencePair

__version__ = "0.1.0"

_HOMES = {
    "Answers": "stepsynth.records",
    "Anthropic": "stepsynth.llm.backends.anthropic",
    "Classification": "stepsynth.tasks.classification",
    "ComparisonResult": "stepsynth.results",
    "Context": "stepsynth.records",
    "Dataset": "stepsynth.records",
    "Embedding": "stepsynth.students.embedding",
    "Example": "stepsynth.records",
    "ExtractiveQA": "stepsynth.tasks.extractive_qa",
    "Gold": "stepsynth.methods.gold",
    "GoldGen": "stepsynth.methods.goldgen",
    "LabelSet": "stepsynth.records",
    "Limits": "stepsynth.llm",
    "Linear": "stepsynth.students.linear",
    "MultiLabel": "stepsynth.tasks.multi_label",
    "Observer": "stepsynth.observer",
    "OpenAICompatible": "stepsynth.llm.backends.openai_compatible",
    "Provenance": "stepsynth.records",
    "Rejected": "stepsynth.records",
    "Replay": "stepsynth.llm.backends.replay",
    "Run": "stepsynth.runfolder",
    "RunResult": "stepsynth.results",
    "S3": "stepsynth.methods.s3",
    "Scripted": "stepsynth.llm.backends.scripted",
    "SentencePair": "stepsynth.tasks.sentence_pair",
    "Split": "stepsynth.data",
    "StepsynthError": "stepsynth.errors",
    "StepsynthWarning": "stepsynth.errors",
    "Transformer": "stepsynth.students.transformer",
    "ZeroGen": "stepsynth.methods.zerogen",
    "acompare": "stepsynth.api",
    "arun": "stepsynth.api",
    "asynthesize": "stepsynth.api",
    "compare": "stepsynth.api",
    "load_student": "stepsynth.students",
    "open_run": "stepsynth.runfolder",
    "run": "stepsynth.api",
    "synthesize": "stepsynth.api",
}

__all__ = [
    "S3",
    "Answers",
    "Anthropic",
    "Classification",
    "ComparisonResult",
    "Context",
    "Dataset",
    "Embedding",
    "Example",
    "ExtractiveQA",
    "Gold",
    "GoldGen",
    "LabelSet",
    "Limits",
    "Linear",
    "MultiLabel",
    "Observer",
    "OpenAICompatible",
    "Provenance",
    "Rejected",
    "Replay",
    "Run",
    "RunResult",
    "Scripted",
    "SentencePair",
    "Split",
    "StepsynthError",
    "StepsynthWarning",
    "Transformer",
    "ZeroGen",
    "acompare",
    "arun",
    "asynthesize",
    "compare",
    "load_student",
    "open_run",
    "run",
    "synthesize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
