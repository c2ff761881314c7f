"""Shared parts of the commands with a model that abstains: its threshold, and the LLM behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stepsynth.cli._shared import say
from stepsynth.errors import ConfigError, StepsynthError

if TYPE_CHECKING:
    from stepsynth.deploy import FallBack
    from stepsynth.metrics import Abstention, Calibration
    from stepsynth.records import Example
    from stepsynth.students import Student

PRECISION = typer.Option(
    None,
    min=0,
    max=1,
    help="Abstain (a label of null) where the model is less sure than it has to be for this "
    "share of right labels; default: never.",
    show_default=False,
)
FALL_BACK = typer.Option(
    None,
    metavar="TASK",
    help="With --precision: where the model abstains, ask the LLM of this task file (or of this "
    "run folder), within its limits.",
    show_default=False,
)


def _abstain_for(precision: float, calibration: "Calibration | None", run: Path) -> "Abstention":
    """Return the threshold for a precision, and say what it leaves.

    Raises:
        ConfigError: Nothing is known of the model's precision, or it does not reach this one.
    """
    if calibration is None:
        raise ConfigError(
            f"{run}: nothing is known of how right this model is when it is sure",
            hint="runs of this version keep that with classification models, from 20 select "
            "rows on; leave --precision out",
        )
    abstention = calibration.abstain_for(precision)
    if abstention is None:
        raise ConfigError(
            f"--precision {precision:g}: on the select rows the model reaches it at no threshold",
            hint="a lower precision, or a better model",
        )
    say(
        f"labels are given from a probability of {abstention.threshold:.3f} on: to "
        f"{abstention.coverage:.0%} of the select rows, {abstention.precision:.1%} of them "
        f"right [{abstention.low:.1%}, {abstention.high:.1%}]"
    )
    return abstention


def _open_fall_back(
    task: Path, run: Path, student: "Student", timeout_s: float | None
) -> "FallBack":
    """Return the LLM of a task file behind the model of a run, and say what it keeps.

    Raises:
        ConfigError: It cannot be used as it is set.
    """
    from stepsynth.deploy import TIMEOUT_S, FallBack, read_task
    from stepsynth.runfolder import RunFolder

    config = read_task(task, student)
    is_run = RunFolder(run).identity.exists()
    if not is_run and (config.llm is None or config.llm.live().store is None):
        raise ConfigError(
            f"{run}: a model alone has no place for what the LLM answers",
            hint="give the run folder, or set llm.store in the task file",
        )
    llm = FallBack(
        config,
        RunFolder(run),
        # Who waits less gets no label in time, but the answer that is paid for is remembered.
        timeout_s=max(timeout_s or 0.0, TIMEOUT_S),
        on_notice=lambda message: say(f"fall-back: {message}"),
    )
    caps = {key: cap for key, cap in config.limits.model_dump(exclude={"minutes"}).items() if cap}
    within = ", ".join(f"{key} {cap:g}" for key, cap in caps.items()) or "none are set"
    say(
        f"texts without a label go to {llm.settings.model} (limits: {within}); they and its "
        f"answers are kept in {llm.store}"
    )
    try:
        llm.ping()
    except StepsynthError as error:
        say(f"warning: {error.message}; until it answers, these texts get no label")
    return llm


@dataclass(frozen=True)
class Unsure:
    """What becomes of texts of which a model is not sure enough.

    Attributes:
        abstention: Under its threshold the model gives no label.
        llm: Answers then; None: the label is null.
    """

    abstention: "Abstention"
    llm: "FallBack | None"

    def fill(self, examples: "Sequence[Example]", answers: list[dict[str, Any]]) -> None:
        """Replace labels that are not sure enough, and say in `more` whose each label is."""
        unsure, least = list[int](), self.abstention.threshold
        for i, answer in enumerate(answers):
            has_label, is_sure = answer["label"] is not None, answer["sure"] >= least
            answer["more"]["by"] = "model" if has_label and is_sure else None
            if has_label and not is_sure:
                unsure.append(i)
                answer["label"] = None
        if self.llm is None or not unsure:
            return
        replies = self.llm.ask([examples[i] for i in unsure])
        for i, reply in zip(unsure, replies, strict=True):
            answers[i]["label"] = reply.label
            answers[i]["more"] |= {"by": "llm"} if reply.label is not None else {"why": reply.why}

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        if self.llm is not None:
            self.llm.close()


def open_unsure(
    run: Path,
    student: "Student",
    calibration: "Calibration | None",
    precision: float | None,
    fall_back: Path | None,
    timeout_s: float | None = None,
) -> Unsure | None:
    """Return when a run's model abstains and what follows; None: it never does.

    Raises:
        ConfigError: The options do not fit the model, or the LLM cannot be used.
    """
    if precision is None:
        if fall_back is not None:
            raise ConfigError("--fall-back goes with --precision", hint="--precision 0.95")
        return None
    abstention = _abstain_for(precision, calibration, run)
    return Unsure(abstention, fall_back and _open_fall_back(fall_back, run, student, timeout_s))
