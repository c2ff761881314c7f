"""The inputs of a run, read and divided by its configuration: gold, select, test, contexts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stepsynth._util.hashing import digest
from stepsynth.curation import Gate, row_key
from stepsynth.data import (
    Gold,
    apply_decisions,
    check_labels,
    choose_contexts,
    make_gate,
    read_contexts,
    read_corpus,
    read_decisions,
    read_file,
    read_unlabelled,
    run_columns,
    screen,
    split_gold,
)
from stepsynth.errors import DataError
from stepsynth.records import Context, Dataset, Example, Provenance, label_to_json, union
from stepsynth.retrieval import Passage, digest_corpus
from stepsynth.runfolder import RunFolder
from stepsynth.students.auto import Auto
from stepsynth.taskfile import PASSAGE_COLUMNS, Config, check_curation


@dataclass(frozen=True)
class GoldData:
    """Labelled rows before they are split, and contexts.

    Attributes:
        contexts: Contexts for seed data; None: those of gold; empty: the LLM writes them.
    """

    gold: Dataset
    select: Dataset | None = None
    test: Dataset | None = None
    contexts: Sequence[Context] | None = None


def read_gold(config: Config, warn: Callable[[str], None]) -> GoldData:
    """Read the files of a configuration's `data` section."""
    data, task, reading = config.data, config.task, config.data.reading

    def read(path: str | None) -> Dataset | None:
        return read_file(path, task, data.columns, reading=reading, warn=warn) if path else None

    gold = read(data.gold) or Dataset()
    contexts: Sequence[Context] | None = () if data.contexts == "llm" else None
    if task.has_context and data.contexts not in ("gold", "llm"):
        contexts = read_contexts(data.contexts, task, data.columns, reading=reading, warn=warn)
    return GoldData(gold, read(data.select), read(data.test), contexts)


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run besides gold.

    Attributes:
        contexts: Contexts for seed data, where rows have a context.
        passages: Passages to retrieve from, if the method retrieves.
        given: Key of the method -> the rows of the file or run that it names.
        unlabelled: Texts to label, if the method labels some.
        gate: Filter of copies of held-out rows: in these inputs, and later in synthetic rows.
    """

    contexts: tuple[Context, ...] = ()
    passages: tuple[Passage, ...] = ()
    given: Mapping[str, Dataset] = field(default_factory=dict)
    unlabelled: Dataset = field(default_factory=Dataset)
    gate: Gate = field(default_factory=lambda: Gate({}))


def split(config: Config, data: GoldData, warn: Callable[[str], None]) -> Gold:
    """Split the rows as the configuration says, and apply the decisions on mine and select.

    They come after the split: test rows stay the same, and nobody cleans them.

    Raises:
        DataError: There are too few rows, or a split has fewer than two labels, without or with
            the decisions; or the file of these cannot be used.
    """
    said: set[str] = set()

    def warn_once(message: str) -> None:
        if message not in said:
            said.add(message)
            warn(message)

    gold = split_gold(
        data.gold,
        select=data.select,
        test=data.test,
        sizes=config.data.split,
        paper_splits=config.data.paper_splits,
        label_names=config.task.label_names,
        random_seed=config.random_seed,
        warn=warn_once,
        near=config.curation.copies,
    )
    if config.data.decisions is None:
        return gold
    names, encoding = config.task.label_names, config.data.encoding
    decisions = read_decisions(config.data.decisions, names, encoding)
    # In the paper's own splits both are one object: rows that are mined from are not held out.
    parts = [gold.mine] if gold.select is gold.mine else [gold.mine, gold.select]
    decided = apply_decisions(parts, decisions, warn)
    dropped = sum(map(len, parts)) - sum(map(len, decided))
    counts = {**gold.dropped, "a decision in data.decisions": dropped} if dropped else gold.dropped
    gold = replace(gold, mine=decided[0], select=decided[-1], dropped=counts)
    if parts[0]:  # else no row of mine was given, and none is needed
        check_labels(gold, names, warn_once)
    return gold


def read_passages(config: Config, gate: Gate, warn: Callable[[str], None]) -> tuple[Passage, ...]:
    """Return the passages that a method retrieves from; empty if it does not retrieve."""
    if config.retriever is None or config.data.corpus is None:
        return ()
    named = config.data.columns
    columns = {own: named[ours] for ours, own in PASSAGE_COLUMNS.items() if ours in named}
    reading = config.data.reading
    passages = read_corpus(config.data.corpus, columns=columns, reading=reading, warn=warn)
    kept = tuple(screen(passages, lambda each: gate.stop_text(each.text), "data.corpus", warn))
    if not kept:
        raise DataError(
            "every passage of data.corpus is a copy of a test or select row", hint="give another"
        )
    return kept


def read_given(config: Config, gate: Gate, warn: Callable[[str], None]) -> dict[str, Dataset]:
    """Return the rows of the files and run folders that a method's keys name.

    Of a run folder, `seed_from` takes the rows of round 0 and `added_from` those of later rounds.
    """
    given: dict[str, Dataset] = {}
    columns, reading = config.data.columns, config.data.reading
    method = config.method.parts[-1]  # of a mix, the one that writes rows
    for key in method.data_keys:
        path = getattr(method, key)
        if path is None:
            continue
        rounds = RunFolder(Path(path)).round_folders() if Path(path).is_dir() else []
        if not rounds:
            given[key] = read_file(path, config.task, columns, reading=reading, warn=warn)
            continue
        chosen = rounds[:1] if key == "seed_from" else rounds[1:]
        files = [folder / "examples.jsonl" for folder in chosen]
        files = [file for file in files if file.stat().st_size]  # a round may add nothing
        own = run_columns(config.task)
        parts = [read_file(str(file), config.task, own, warn=warn) for file in files]
        given[key] = union(*parts)
    for key, rows in given.items():
        rows = Dataset(screen(rows, gate.stop_row, f"method.{key}", warn))
        if not rows:
            raise DataError(f"method.{key}: {getattr(method, key)} has no rows for it")
        # They were read like gold rows; their provenance has to say that they are not.
        origin = Provenance(method.name, int(key != "seed_from"), "given")
        given[key] = Dataset(replace(row, provenance=origin) for row in rows)
    return given


def read_texts(config: Config, gold: Gold, gate: Gate, warn: Callable[[str], None]) -> Dataset:
    """Return the unlabelled texts that a method labels, without gold ones; empty if it has none."""
    data = config.data
    if not config.method.needs_unlabelled or data.unlabelled is None:
        return Dataset()
    found = read_unlabelled(
        data.unlabelled, config.task, data.columns, reading=data.reading, warn=warn
    )
    known = {row_key(row) for row in gold.mine}

    def stop(row: Example) -> str | None:
        found = gate.stop_row(row) or (gate.stop_text(row.context) if row.context else None)
        return found or ("rows of mine" if row_key(row) in known else None)

    kept = Dataset(screen(found, stop, "data.unlabelled", warn))
    if not kept:
        raise DataError("every text of data.unlabelled is a gold row", hint="give another file")
    return kept


@dataclass(frozen=True)
class Prepared:
    """The inputs of a run, read and divided, before anything is paid for."""

    config: Config
    gold: Gold
    inputs: Inputs

    def prompts(self) -> dict[str, str]:
        """Return the templates of the prompts that the method sends."""
        sources = self.config.task.template_sources()
        sent = {name for part in self.config.method.parts for name in part.prompts}
        return {name: text for name, text in sources.items() if name in sent}

    def identity(self, budget: object = None) -> dict[str, Any]:
        """Return all that decides the run's results; the store counts spending by its digest.

        Args:
            budget: Budget of the method, if it is limited.
        """
        config, gold, inputs = self.config, self.gold, self.inputs
        resolved = config.to_dict()
        contexts = [[c.text, c.label and label_to_json(c.label)] for c in inputs.contexts]
        retriever = config.retriever
        return {
            "random_seed": config.random_seed,
            "method": resolved["method"],
            "student": resolved["student"],
            "task": resolved["task"],
            "curation": resolved["curation"],
            "retrieval": retriever and retriever.model_dump(mode="json", exclude={"folder"}),
            "budget": str(budget) if budget else None,
            "llm": config.llm.identity() if config.llm else None,
            "data": {
                "mine": gold.mine.digest(),
                "select": gold.select.digest(),
                "test": gold.test.digest(),
                **({"contexts": digest(contexts)} if config.task.has_context else {}),
                **({"corpus": digest_corpus(inputs.passages)} if retriever else {}),
                **{key: rows.digest() for key, rows in inputs.given.items()},
                **({"unlabelled": inputs.unlabelled.digest()} if inputs.unlabelled else {}),
            },
        }


def prepare(config: Config, warn: Callable[[str], None], data: GoldData | None = None) -> Prepared:
    """Return the inputs of a run, without copies of held-out rows.

    Args:
        config: Configuration of the run.
        warn: Called with each warning.
        data: Labelled rows; read from the configuration's files if they are not given.

    Raises:
        StepsynthError: Data or curation cannot be used.
    """
    check_curation(config.curation, config.method, config.task, warn)
    data = data or read_gold(config, warn)
    gold = split(config, data, warn)
    config = choose_student(config, gold, warn)
    gate = make_gate(gold, is_open=not config.curation.copies)
    task = config.task
    inputs = Inputs(
        choose_contexts(gold, data.contexts, task, gate, warn) if task.has_context else (),
        read_passages(config, gate, warn),
        read_given(config, gate, warn),
        read_texts(config, gold, gate, warn),
        gate,
    )
    tell_copies(config, gate, warn)
    return Prepared(config, gold, inputs)


def tell_copies(config: Config, gate: Gate, warn: Callable[[str], None]) -> None:
    """Warn of copies of held-out rows that were let pass, as scores on them are too high."""
    if gate.seen and not config.curation.copies:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(gate.seen.items()))
        warn(f"what is read holds copies of held-out rows, and curation.copies is off: {listed}")


def choose_student(config: Config, gold: Gold, warn: Callable[[str], None]) -> Config:
    """Return the configuration with the student that `auto` stands for, if it is set."""
    if not isinstance(config.student, Auto):
        return config
    names = config.task.label_names
    chosen = config.student.choose(gold.mine, names, config.random_seed, warn)
    return replace(config, student=chosen)


def check_packages(config: Config) -> None:
    """Make sure that the packages of the student and the retriever are installed.

    Raises:
        ConfigError: One is missing; the hint says what to install.
    """
    config.student.check()
    if config.retriever is not None:
        config.retriever.check()
