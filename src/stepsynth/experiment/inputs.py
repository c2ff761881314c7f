"""What a run is given, read and divided as its configuration says: gold, select, test, contexts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stepsynth.errors import ConfigError
from stepsynth.experiment.config import Config
from stepsynth.experiment.data import read_contexts, read_file
from stepsynth.experiment.split import Gold, choose_contexts, split_gold
from stepsynth.records import Context, Dataset


@dataclass(frozen=True)
class GoldData:
    """Labelled rows before they are split, and contexts.

    Attributes:
        contexts: What seed data is written for; None: the contexts of gold; none: the LLM's own.
    """

    gold: Dataset
    select: Dataset | None = None
    test: Dataset | None = None
    contexts: Sequence[Context] | None = None


def read_gold(config: Config, warn: Callable[[str], None]) -> GoldData:
    """Read the files of a configuration's `data` section."""
    data, task = config.data, config.task
    if data is None:
        raise ConfigError("there is no `data` section", hint="data: {gold: gold.jsonl}")

    def read(path: str | None) -> Dataset | None:
        return read_file(path, task, data.columns, warn=warn) if path else None

    gold = read(data.gold)
    assert gold is not None
    contexts: Sequence[Context] | None = () if data.contexts == "llm" else None
    if task.has_context and data.contexts not in ("gold", "llm"):
        contexts = read_contexts(data.contexts, task, data.columns, warn=warn)
    return GoldData(gold, read(data.select), read(data.test), contexts)


def split(config: Config, data: GoldData, warn: Callable[[str], None]) -> Gold:
    """Split the rows as the configuration says."""
    return split_gold(
        data.gold,
        select=data.select,
        test=data.test,
        sizes=config.data.split if config.data else None,
        paper_splits=config.data.paper_splits if config.data else False,
        label_names=config.task.label_names,
        random_seed=config.random_seed,
        warn=warn,
    )


def find_contexts(
    config: Config, data: GoldData, gold: Gold, warn: Callable[[str], None]
) -> tuple[Context, ...]:
    """Return what seed data is written for; nothing where rows have no context."""
    if not config.task.has_context:
        return ()
    return choose_contexts(gold, data.contexts, config.task, warn)
