"""stepsynth: turn an LLM and a few labelled rows into a good small model.

    import stepsynth

    result = stepsynth.run("task.yaml")
    result.model.predict(["my parcel is late"])

Names are resolved when they are first used, so that importing the package loads no heavy library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepsynth.api import RunResult, run, synthesize
    from stepsynth.errors import StepsynthError
    from stepsynth.experiment.config import Split
    from stepsynth.llm.backends.openai_compatible import OpenAICompatible
    from stepsynth.llm.backends.replay import Replay
    from stepsynth.llm.backends.scripted import Scripted
    from stepsynth.llm.limits import Limits
    from stepsynth.methods.gold import Gold
    from stepsynth.methods.goldgen import GoldGen
    from stepsynth.methods.s3 import S3
    from stepsynth.methods.zerogen import ZeroGen
    from stepsynth.records import Dataset, Example, Provenance, Rejected
    from stepsynth.students import load_student
    from stepsynth.students.linear import Linear
    from stepsynth.tasks.classification import Classification

__version__ = "0.1.0"

_HOMES = {
    "Classification": "stepsynth.tasks.classification",
    "Dataset": "stepsynth.records",
    "Example": "stepsynth.records",
    "Gold": "stepsynth.methods.gold",
    "GoldGen": "stepsynth.methods.goldgen",
    "Limits": "stepsynth.llm.limits",
    "Linear": "stepsynth.students.linear",
    "OpenAICompatible": "stepsynth.llm.backends.openai_compatible",
    "Provenance": "stepsynth.records",
    "Rejected": "stepsynth.records",
    "Replay": "stepsynth.llm.backends.replay",
    "RunResult": "stepsynth.api",
    "S3": "stepsynth.methods.s3",
    "Scripted": "stepsynth.llm.backends.scripted",
    "Split": "stepsynth.experiment.config",
    "StepsynthError": "stepsynth.errors",
    "ZeroGen": "stepsynth.methods.zerogen",
    "load_student": "stepsynth.students",
    "run": "stepsynth.api",
    "synthesize": "stepsynth.api",
}

__all__ = [
    "S3",
    "Classification",
    "Dataset",
    "Example",
    "Gold",
    "GoldGen",
    "Limits",
    "Linear",
    "OpenAICompatible",
    "Provenance",
    "Rejected",
    "Replay",
    "RunResult",
    "Scripted",
    "Split",
    "StepsynthError",
    "ZeroGen",
    "load_student",
    "run",
    "synthesize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
