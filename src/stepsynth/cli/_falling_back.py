"""Shared parts of the commands with a model that abstains: its threshold, and the LLM behind it."""

from pathlib import Path
from typing import TYPE_CHECKING

from stepsynth.cli._shared import say
from stepsynth.errors import ConfigError, StepsynthError

if TYPE_CHECKING:
    from stepsynth.deploy import FallBack
    from stepsynth.metrics import Abstention, Calibration
    from stepsynth.students import Student


def abstain_for(precision: float, calibration: "Calibration | None", folder: Path) -> "Abstention":
    """Return the threshold for a precision, and say what it leaves.

    Raises:
        ConfigError: Nothing is known of the model's precision, or it does not reach this one.
    """
    if calibration is None:
        raise ConfigError(
            f"{folder}: nothing is known of how right this model is when it is sure",
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


def open_fall_back(
    task: Path, run: Path, student: "Student", timeout_s: float | None = None
) -> "FallBack":
    """Return the LLM of a task file behind the model of a run, and say what it keeps.

    Raises:
        ConfigError: It cannot be used as it is set.
    """
    from stepsynth.deploy import TIMEOUT_S, FallBack, read_task
    from stepsynth.runfolder import RunFolder

    config = read_task(task, student.label_names)
    is_run = RunFolder(run).identity.exists()
    if not is_run and (config.llm is None or config.llm.live().store is None):
        raise ConfigError(
            f"{run}: a model alone has no place for what the LLM answers",
            hint="give the run folder, or set llm.store in the task file",
        )
    llm = FallBack(
        config,
        RunFolder(run),
        timeout_s=TIMEOUT_S if timeout_s is None else timeout_s,
        on_notice=lambda message: say(f"fall-back: {message}"),
    )
    caps = {key: cap for key, cap in config.limits.model_dump().items() if cap is not None}
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
