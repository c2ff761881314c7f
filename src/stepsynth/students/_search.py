"""Hyper-parameter search on `select` with optuna: pruned, limited in time, resumable."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stepsynth._util.pretrained import need
from stepsynth._util.rng import make_rng
from stepsynth.errors import ConfigError, suggest

OnEpoch = Callable[[int, float], None]


class Range(BaseModel):
    """Values between two bounds; whole numbers if both bounds are.

    Attributes:
        log: Sample on a logarithmic scale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = False


class Search(BaseModel):
    """Settings of a search; `space` extends the student's own space, or replaces its entries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(default=20, gt=0, description="Most settings to try.")
    minutes: float | None = Field(default=None, gt=0, description="Most time to spend.")
    space: dict[str, Range | tuple[int | float | str | bool, ...]] = Field(
        default_factory=dict, description="Field -> a list of values, or {low, high, log}."
    )

    @field_validator("space")
    @classmethod
    def _check_space(cls, space: dict[str, Any]) -> dict[str, Any]:
        for name, values in space.items():
            if not isinstance(values, Range) and not values:
                raise ValueError(f"no value to try is given for {name!r}")
            if isinstance(values, Range) and not values.low < values.high:
                raise ValueError(f"the low end of {name!r} must be below the high end")
            if isinstance(values, Range) and values.log and values.low <= 0:
                raise ValueError(f"{name!r}: a log range must begin above 0")
        return space

    def check(
        self, student: type[BaseModel], fields: Mapping[str, Any], space: Mapping[str, Any]
    ) -> None:
        """Check that the search can run.

        Args:
            student: The class whose fields are searched.
            fields: The student's fields, except `search`.
            space: The student's own space.

        Raises:
            ConfigError: optuna is not installed, or the student has no such field or value.
        """
        for name, values in self.space.items():
            if name not in fields:
                raise ConfigError(
                    f"student.search.space: the student has no field {name!r}. "
                    f"Fields: {', '.join(fields)}.",
                    hint=suggest(name, fields),
                )
            for value in (values.low, values.high) if isinstance(values, Range) else values:
                try:
                    # Strictly, since a range of 1.0 to 2.0 would give an integer field fractions.
                    student.model_validate({**fields, name: value}, strict=True)
                except ValidationError as error:
                    reason = error.errors()[0]["msg"]
                    raise ConfigError(
                        f"student.search.space.{name}: {value!r} cannot be tried: {reason}"
                    ) from error
        if not {**space, **self.space}:
            raise ConfigError(
                "student.search: there is nothing to search", hint="name fields in search.space"
            )
        need("optuna", "hpo", "student.search")


def run_search(
    search: Search,
    score: Callable[[Mapping[str, Any], OnEpoch], float],
    *,
    space: Mapping[str, Any],
    random_seed: int,
    journal: Path | None,
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Return the best values and how they were found.

    Args:
        search: Trials, time, and fields to try.
        score: Trains with some values and returns the score on `select`; passes each epoch's score
            to its second argument, which ends a trial that lags behind.
        space: The student's own fields to try.
        random_seed: Determines what is tried.
        journal: A file of past trials, from which a search resumes; None: nothing is kept.
        on_progress: Called with the trials done and the total.

    Returns:
        `values` (field -> value), `score`, `trials`, `pruned`.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name="search",
        storage=_open_journal(journal),
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    wanted = {**space, **search.space}

    complete, pruned = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED

    def ended() -> list[optuna.trial.FrozenTrial]:
        return study.get_trials(deepcopy=False, states=(complete, pruned))

    def objective(trial: optuna.Trial) -> float:
        def on_epoch(epoch: int, value: float) -> None:
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        values = {name: _suggest(trial, name, v) for name, v in wanted.items()}
        for earlier in ended():
            if earlier.state == complete and earlier.params == values:
                return earlier.values[0]
        return score(values, on_epoch)

    trials = ended()
    on_progress(len(trials), search.trials)
    for number in range(len(trials), search.trials):
        if _minutes(trials) >= (search.minutes or math.inf):
            break
        # Each trial has its own seed, so that a resumed search tries what it would have tried.
        seed = make_rng(random_seed, "trial", number).getrandbits(32)
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        study.optimize(objective, n_trials=1)
        trials = ended()
        on_progress(len(trials), search.trials)
    best = study.best_trial
    return {
        "values": dict(best.params),
        "score": best.value,
        "trials": len(trials),
        "pruned": sum(trial.state == pruned for trial in trials),
    }


def _minutes(trials: Sequence[Any]) -> float:
    """Return the duration of trials, including those of an invocation that was cut off."""
    return sum(trial.duration.total_seconds() for trial in trials) / 60


def _open_journal(path: Path | None) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():  # a kill or a full disk may have torn the last line
        whole, end, torn = path.read_bytes().rpartition(b"\n")
        if torn:
            path.write_bytes(whole + end)
    return JournalStorage(JournalFileBackend(str(path)))


def _suggest(trial: Any, name: str, values: Any) -> Any:
    if not isinstance(values, Range):
        values = tuple(values)
        return trial.suggest_categorical(name, values)
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(name, values.low, values.high, log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)
