"""Search hyper-parameters with optuna: on `select`, with pruning, a time budget, resumable."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stepsynth.errors import ConfigError, suggest

OnEpoch = Callable[[int, float], None]


class Range(BaseModel):
    """Values between two bounds; whole numbers where both are.

    Attributes:
        log: Try orders of magnitude evenly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = False


class Search(BaseModel):
    """How to search; `space` adds fields to the student's own space or replaces theirs."""

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

    def check(self, fields: Iterable[str], space: Mapping[str, Any]) -> None:
        """Make sure that the search can run.

        Raises:
            ConfigError: optuna is not installed, or a field is none of the student's.
        """
        known = [name for name in fields if name != "search"]
        for name in self.space:
            if name not in known:
                raise ConfigError(
                    f"student.search.space: the student has no field {name!r}. "
                    f"Fields: {', '.join(known)}.",
                    hint=suggest(name, known),
                )
        if not {**space, **self.space}:
            raise ConfigError(
                "student.search: there is nothing to search", hint="name fields in search.space"
            )
        try:
            importlib.import_module("optuna")
        except ImportError as error:
            raise ConfigError(
                "student.search: optuna is not installed", hint="pip install 'stepsynth[hpo]'"
            ) from error


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
        score: Trains with some values and returns the score on `select`; tells each epoch's score
            to its second argument, which ends a trial that lags behind.
        space: The student's own fields to try.
        random_seed: Decides what is tried.
        journal: A file that keeps what was tried, so that a search goes on; None keeps nothing.
        on_progress: Told the trials that are done, and all of them.

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

    def objective(trial: optuna.Trial) -> float:
        def on_epoch(epoch: int, value: float) -> None:
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        return score({name: _suggest(trial, name, v) for name, v in wanted.items()}, on_epoch)

    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    done = len(study.get_trials(deepcopy=False, states=ended))
    # A search that goes on must not try again what it began with.
    study.sampler = optuna.samplers.TPESampler(seed=random_seed + done)
    on_progress(done, search.trials)
    study.optimize(
        objective,
        n_trials=max(0, search.trials - done),
        timeout=None if search.minutes is None else 60 * search.minutes,
        callbacks=[
            lambda s, _: on_progress(len(s.get_trials(deepcopy=False, states=ended)), search.trials)
        ],
    )
    trials = study.get_trials(deepcopy=False, states=ended)
    best = study.best_trial
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in trials)
    return {
        "values": dict(best.params),
        "score": best.value,
        "trials": len(trials),
        "pruned": pruned,
    }


def _open_journal(path: Path | None) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))


def _suggest(trial: Any, name: str, values: Any) -> Any:
    if not isinstance(values, Range):
        values = tuple(values)
        return trial.suggest_categorical(name, values)
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(name, values.low, values.high, log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)
