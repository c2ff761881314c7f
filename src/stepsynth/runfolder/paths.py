"""The layout of a run folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Place:
    """A path in a run folder, by its name."""

    name: str

    def __get__(self, folder: "RunFolder", _: object = None) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run folder, declared once; all files are text, except the store and arrays."""

    path: Path

    config = _Place("config.yaml")
    """The configuration with every default filled in."""

    identity = _Place("identity.json")
    """The settings and data digests that decide the results; others mean another run."""

    prompts = _Place("prompts.json")
    """The prompt templates in use, each with an example filled in with rows of the run."""

    manifest = _Place("manifest.json")
    """Versions, digests, times and the summary; written last."""

    store = _Place("requests.sqlite")
    """Completions, unless `llm.store` names another file."""

    fall_back = _Place("fall-back.sqlite")
    """Answers of the LLM to texts on which the deployed model abstains."""

    llm_speed = _Place("llm-speed.json")
    """How long the LLM took for these answers, when they were last asked for."""

    shard_stores = _Place("shards")
    """Stores of shards, until their answers are in the run's store."""

    events = _Place("events.jsonl")
    """The event log, a line for each event."""

    dataset_shards = _Place("dataset")
    """The training rows of the kept round where they are `data.shard_rows` or more."""

    @property
    def dataset(self) -> Path:
        """The training rows of the kept round: a file, or of many rows a folder of Parquet."""
        shards = self.dataset_shards
        return shards if shards.is_dir() else self.path / "dataset.jsonl"

    croissant = _Place("croissant.json")
    """The data card for machines, beside the data set."""

    model = _Place("model")
    """The student of the kept round."""

    fitted = _Place("fitted")
    """Fitted students by their training data, so that a resumed run trains nothing twice."""

    index = _Place("index")
    """The index of the passages that are retrieved from, unless `retrieval.folder` is set."""

    report = _Place("report.html")
    """The report, one file."""

    plan = _Place("plan.json")
    """The planned (`planned`) and actual (`used`) usage of the LLM."""

    review = _Place("review.jsonl")
    """A reviewer's decisions, a line for each."""

    gold_decisions = _Place("gold-decisions.jsonl")
    """A reviewer's decisions on gold rows, as `data.decisions` takes them."""

    lock = _Place("lock.sqlite")
    """The lock, held while a process writes to the folder."""

    def round(self, index: int) -> Path:
        """Return the folder of one round."""
        return self.path / "rounds" / str(index)

    def round_folders(self) -> list[Path]:
        """Return the folders of the finished rounds, in order."""
        found = [p.parent for p in self.path.glob("rounds/*/examples.jsonl")]
        found = [p for p in found if p.name.isdigit()]
        return sorted(found, key=lambda p: int(p.name))
