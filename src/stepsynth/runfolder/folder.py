"""The one writer of a run folder: a single process, while its run goes on."""

import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stepsynth._util.files import sweep, write_json, write_jsonl, write_text
from stepsynth._util.locks import acquire
from stepsynth._util.words import set_path
from stepsynth.data import SHARD_ROWS, write_shards
from stepsynth.errors import RunFolderError
from stepsynth.llm.store import Store
from stepsynth.methods import Journal, Model, Round, count_by_reason
from stepsynth.metrics import CALIBRATION_FILE, Calibration
from stepsynth.records import Answers, Dataset
from stepsynth.run_records import FORMAT, Record, RoundMetrics, Scores
from stepsynth.runfolder.events import EventLog, read_events
from stepsynth.runfolder.identity import check_identity
from stepsynth.runfolder.paths import RunFolder
from stepsynth.runfolder.rows import AddedRow, MissedRow, Origin, UnusedRow, unused_rows
from stepsynth.taskfile import Config, parse_yaml


class OpenRun:
    """Run folder that only this process writes to.

    Args:
        path: The folder; created if missing.
        identity: The settings and data digests that decide the results.
        config: The configuration, written to `config.yaml`.

    Attributes:
        identity: The identity as first written; the store records the spending under its digest.

    Raises:
        RunFolderError: The folder is in use, holds something else, or belongs to another run.
        ConfigError: No file can hold the configuration.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], config: Config) -> None:
        self.folder = RunFolder(path)
        self.events = EventLog(self.folder.events)
        self._planned: Mapping[str, Any] | None = None
        self._shard_rows = config.data.shard_rows if config.data else SHARD_ROWS
        _check_kind(self.folder)
        text = dump_yaml(config.to_dict())
        # Whoever opens the run reads this again: what cannot be read is told before anything is
        # paid for.
        parse_yaml(text, f"the settings, as {self.folder.config.name} would hold them")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from error
        self._lock = acquire(self.folder.lock, "run folder")
        try:
            self.identity = _check_run(self.folder, identity, config)
            # Every round is written again; an earlier invocation may have had more of them.
            shutil.rmtree(path / "rounds", ignore_errors=True)
            sweep(path)
            for left in self.folder.fitted.glob(".*"):
                shutil.rmtree(left, ignore_errors=True)  # a desktop puts files there
            self.folder.manifest.unlink(missing_ok=True)
            write_json(self.folder.identity, self.identity)
            write_text(self.folder.config, text)
        except BaseException:
            self.close()
            raise

    def write_round(self, done: Round, metrics: RoundMetrics, sources: Mapping[str, str]) -> None:
        """Write the added, unused and misclassified rows of a round.

        Args:
            done: The round.
            metrics: Its numbers.
            sources: Id of a gold row that rows are written from -> its text.
        """
        folder = self.folder.round(done.index)
        origins = (Origin.of(done, row.provenance, sources) for row in done.added)
        added = map(AddedRow, done.added, origins)
        write_jsonl(folder / "examples.jsonl", map(AddedRow.to_dict, added))
        self._write_unused(folder, done, sources)
        missed = map(MissedRow, done.misclassified, done.predicted)
        write_jsonl(folder / "misclassified.jsonl", map(MissedRow.to_dict, missed))
        if done.asked:
            write_jsonl(folder / "asked.jsonl", done.asked)
        for name, lines in done.notes.items():
            write_jsonl(folder / f"{name}.jsonl", lines)
        if done.rationales:
            listed = {label: {"rationales": items} for label, items in done.rationales.items()}
            write_json(folder / "rationales.json", listed)
        self.write_metrics(metrics)

    def write_unfinished(
        self, index: int, journal: Journal, sources: Mapping[str, str], cause: str
    ) -> None:
        """Write the unused answers of an unfinished round, and why the run ended in it."""
        folder = self.folder.round(index)
        ended = UnusedRow("stopped", "", detail=cause)
        self._write_unused(folder, journal, sources, ended)

    def _write_unused(
        self,
        folder: Path,
        done: Round | Journal,
        sources: Mapping[str, str],
        *ends: UnusedRow,
    ) -> None:
        rejected = unused_rows(done, sources, failed=False)
        failed = chain(unused_rows(done, sources, failed=True), ends)
        write_jsonl(folder / "rejected.jsonl", map(UnusedRow.to_dict, rejected))
        write_jsonl(folder / "failed.jsonl", map(UnusedRow.to_dict, failed))

    def write_prompts(self, templates: Mapping[str, str], filled: Mapping[str, str]) -> None:
        """Write each prompt template with a filled-in example."""
        prompts = {
            name: {"template": source, "filled": filled.get(name)}
            for name, source in templates.items()
        }
        write_json(self.folder.prompts, prompts)

    def write_metrics(self, metrics: RoundMetrics) -> None:
        """Write a round's numbers."""
        self.write_record(self.folder.round(metrics.round) / "metrics.json", metrics)

    def write_record(self, path: Path, record: Record) -> None:
        """Write a record, with the version of the file format."""
        write_json(path, {"format": FORMAT, **record.to_dict()})

    def write_config(self, config: Config) -> None:
        """Write the configuration again, with the hyper-parameters that a search found."""
        write_text(self.folder.config, dump_yaml(config.to_dict()))

    def write_plan(self, plan: Mapping[str, Any] | None) -> None:
        """Write the plan of the run; None: there is none, and nothing is written."""
        self._planned = plan
        self.folder.plan.unlink(missing_ok=True)
        self.write_used(None)

    def write_used(self, used: Mapping[str, Any] | None) -> None:
        """Write the usage of the run beside its plan, if it has one."""
        if self._planned is not None:
            write_json(self.folder.plan, {"planned": self._planned, "used": used})

    def write_result(
        self,
        dataset: Dataset,
        model: Model,
        columns: Mapping[str, str],
        calibration: Calibration | None,
    ) -> None:
        """Write the data set and the student of the kept round, if it has one."""
        self._write_dataset(dataset)
        shutil.rmtree(self.folder.model, ignore_errors=True)
        if model.student is not None:
            model.student.save(self.folder.model, columns=columns)
            if calibration is not None:
                write_json(self.folder.model / CALIBRATION_FILE, calibration.to_dict())

    def _write_dataset(self, dataset: Dataset) -> None:
        shutil.rmtree(self.folder.dataset_shards, ignore_errors=True)
        if len(dataset) < self._shard_rows or find_spec("pyarrow") is None:
            dataset.to_jsonl(self.folder.dataset)
        else:
            self.folder.dataset.unlink(missing_ok=True)
            write_shards(self.folder.dataset_shards, dataset.to_tables(self._shard_rows))

    def close(self) -> None:
        """Release the folder for other processes."""
        self.events.close()
        self._lock.close()


def check_folder(path: Path, identity: Mapping[str, Any], config: Config) -> None:
    """Make sure that a run could use a folder, which is not touched.

    Raises:
        RunFolderError: The folder holds something else, or belongs to another run.
    """
    _check_kind(RunFolder(path))
    _check_run(RunFolder(path), identity, config)


def _check_kind(folder: RunFolder) -> None:
    """Refuse what is neither empty nor a run folder."""
    path = folder.path
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path}: this is a file, not a folder", hint="give another --out")
    # `preview` leaves its completions (and an index) for the run that follows.
    ours = (".", "lock.sqlite", folder.store.name, folder.index.name, "shards")
    others = [p for p in path.glob("*") if not p.name.startswith(ours)]
    if others and not folder.identity.exists():
        if folder.store.exists() and folder.config.exists():
            option = set_path("llm.store", folder.store)
            raise RunFolderError(
                f"{path}: its {folder.identity.name} is gone: damaged, or not whole",
                hint=f"give another --out; {option} keeps what was answered",
            )
        raise RunFolderError(
            f"{path}: this folder is not empty and is no run folder", hint="give another --out"
        )


def _check_run(folder: RunFolder, identity: Mapping[str, Any], config: Config) -> Mapping[str, Any]:
    """Return the identity of the run in a folder, after a check that this run may go on there."""
    if not folder.identity.exists() or _is_unpaid(folder):
        return identity
    known = check_identity(folder, identity, config)
    _check_store(folder, config)
    return known


def _is_unpaid(folder: RunFolder) -> bool:
    """Return whether a folder holds no round and no completion, so any run may take it.

    This lets a user correct a wrong URL or model, up to the first answer.
    """
    return not folder.round_folders() and _is_empty(folder.store)


def _check_store(folder: RunFolder, config: Config) -> None:
    """Refuse to resume a run whose completions are gone: it would pay for them again."""
    if config.llm is None or not config.llm.stores_completions or not folder.round_folders():
        return
    place = config.llm.store_path(folder.store)
    used = (row for row in read_events(folder.events) if row["event"] == "usage")
    if _is_empty(place) and any(row.get("requests") for row in used):
        raise RunFolderError(
            f"{folder.path} holds a run, but {place} with its completions is empty or "
            "gone: all of them would be asked and paid for again",
            hint="put the file back; to begin anew, give another --out or remove the folder",
        )


def round_numbers(
    done: Round, select: Mapping[str, Any], copies_seen: Mapping[str, int]
) -> RoundMetrics:
    """Return the metrics of a round that need no test data.

    Args:
        done: The round.
        select: Its model's scores on the select rows.
        copies_seen: Part of gold -> number of rows that repeat a text of it.
    """
    seen: dict[str, Any] = {"copies_seen": dict(sorted(copies_seen.items()))} if copies_seen else {}
    repaired = sum(isinstance(r.label, Answers) and r.label.is_repaired for r in done.added)
    return RoundMetrics(
        round=done.index,
        added=len(done.added),
        train_size=len(done.train),
        misclassified=len(done.misclassified),
        select=Scores(**select),
        duplicates=len(done.train) - len(done.train.without_duplicates()),
        labels=dict(sorted(done.train.label_counts().items())),
        added_labels=dict(sorted(done.added.label_counts().items())),
        repaired=repaired,
        rejected=count_by_reason(done.unused, failed=False),
        failed=count_by_reason(done.unused, failed=True),
        **({"verdict": done.verdict} if done.verdict else {}),
        **seen,
    )


def dump_yaml(value: Any) -> str:
    """Return a value as YAML."""
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 100
    yaml.dump(value, stream)
    return stream.getvalue()


def _is_empty(path: Path) -> bool:
    """Return whether a store is missing or empty."""
    if not path.exists():
        return True
    store = Store(path)
    try:
        return store.is_empty()
    finally:
        store.close()
