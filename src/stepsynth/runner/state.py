"""The state of a run so far, and its summary."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from stepsynth.errors import TooFewRowsError
from stepsynth.llm import Usage
from stepsynth.methods import Round
from stepsynth.run_records import Reference, RoundMetrics, Summary
from stepsynth.runner.setup import Warnings
from stepsynth.runner.shown import ShownGold
from stepsynth.runner.totals import llm_totals
from stepsynth.taskfile import Config


@dataclass
class RunState:
    """State of a run so far.

    Attributes:
        config: The configuration.
        folder: The run folder.
        warnings: Warnings to the user.
        rounds: The finished rounds.
        numbers: Their metrics, with test scores once the run has ended.
        kept: Index of the round whose model is kept; None: not chosen yet.
        search: The hyper-parameters that a search found, if there was one.
        usage: Usage of the LLM.
        shown: The gold texts in prompts.
        references: What the run is measured against.
        began: Start of the run, in seconds of a monotonic clock.
    """

    config: Config
    folder: Path
    warnings: Warnings
    rounds: list[Round] = field(default_factory=list)
    numbers: list[RoundMetrics] = field(default_factory=list)
    kept: int | None = None
    search: dict[str, Any] | None = None
    usage: Usage = field(default_factory=lambda: Usage(usd=None))
    shown: ShownGold = field(default_factory=ShownGold)
    references: tuple[Reference, ...] = ()
    began: float = field(default_factory=time.monotonic)

    @property
    def kept_round(self) -> Round:
        """The round whose model is kept, in a run that has ended."""
        assert self.kept is not None, "no round is kept yet"
        return self.rounds[self.kept]

    def summary(self, *, stopped: str | None = None) -> Summary:
        """Return the summary, as `run --json` prints it.

        Args:
            stopped: Why the run ended early, if it did.
        """
        config, usage = self.config, self.usage
        # Rounds in progress are not in `rounds`; their rejects are counted when they are done.
        rejected = sum((Counter(numbers.rejected) for numbers in self.numbers), Counter[str]())
        kept = None if self.kept is None else self.numbers[self.kept]
        llm = llm_totals(
            usage,
            rejected,
            self.shown,
            backend=config.llm.backend if config.llm else None,
            kept_rows=kept and kept.train_size,
        )
        asked = getattr(self.rounds[-1].model, "asked", 0) if self.rounds else 0
        more: dict[str, Any] = {} if stopped is None else {"stopped": stopped}
        if kept and kept.verdict:
            more["verdict"] = kept.verdict
        if self.references:
            more["references"] = self.references
        if asked and usage.usd is not None:
            more["usd_per_1000_predictions"] = 1000 * usage.usd / asked
        return Summary(
            run=str(self.folder),
            task=config.name,
            method=config.method.name,
            student=config.student.name,
            random_seed=config.random_seed,
            search=self.search,
            rounds=tuple(numbers.summary() for numbers in self.numbers),
            kept_round=self.kept,
            test=kept and kept.test and kept.test.brief("n", "by_label"),
            llm=llm,
            warnings=tuple(self.warnings.messages),
            seconds=round(time.monotonic() - self.began, 2),
            **more,
        )

    def check_labels(self) -> None:
        """Check that the kept model can predict every label.

        Raises:
            TooFewRowsError: A label has no row at the end; the model of the others is kept.
        """
        counts = self.kept_round.train.label_counts()
        missing = [name for name in self.config.task.label_names if not counts[name]]
        if counts and missing:
            raise TooFewRowsError(
                f"no training row has the label {', '.join(map(repr, missing))} at the end, so the "
                f"model cannot predict it; what there is is kept in {self.folder}",
                hint="see rounds/*/rejected.jsonl for what the LLM wrote; raise the seed size, set "
                "method.train_on: both, or look at data.contexts if they fix the labels",
            )

    def warn_of_better_round(self) -> None:
        """Warn if an earlier round scored higher on select than the kept one."""
        best, kept = max(self.rounds, key=lambda r: r.select_score), self.kept_round
        if best.select_score > kept.select_score:
            name, field = (
                self.config.task.score_name,
                type(self.config.method).model_fields.get("keep"),
            )
            can_keep = field is not None and "best" in get_args(field.annotation)
            self.warnings.warn(
                f"round {best.index} has a higher {name} on select ({best.select_score:.3f}) than "
                f"round {kept.index}, which is kept ({kept.select_score:.3f})"
                + ("; method.keep=best keeps the best" if can_keep else "")
            )
