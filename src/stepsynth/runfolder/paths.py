"""The layout of a run folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run folder, declared once; all files are text, except the store and arrays."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration with every default filled in."""
        return self.path / "config.yaml"

    @property
    def identity(self) -> Path:
        """The settings and data digests that decide the results; others mean another run."""
        return self.path / "identity.json"

    @property
    def prompts(self) -> Path:
        """The prompt templates in use, each with an example filled in with rows of the run."""
        return self.path / "prompts.json"

    @property
    def manifest(self) -> Path:
        """Versions, digests, times and the summary; written last."""
        return self.path / "manifest.json"

    @property
    def store(self) -> Path:
        """Completions, unless `llm.store` names another file."""
        return self.path / "requests.sqlite"

    @property
    def events(self) -> Path:
        """The event log, a line for each event."""
        return self.path / "events.jsonl"

    @property
    def dataset(self) -> Path:
        """The training rows of the kept round."""
        return self.path / "dataset.jsonl"

    @property
    def model(self) -> Path:
        """The student of the kept round."""
        return self.path / "model"

    @property
    def fitted(self) -> Path:
        """Fitted students by their training data, so that a resumed run trains nothing twice."""
        return self.path / "fitted"

    @property
    def index(self) -> Path:
        """The index of the passages that are retrieved from, unless `retrieval.folder` is set."""
        return self.path / "index"

    @property
    def report(self) -> Path:
        """The report, one file."""
        return self.path / "report.html"

    @property
    def plan(self) -> Path:
        """The planned (`planned`) and actual (`used`) usage of the LLM."""
        return self.path / "plan.json"

    @property
    def lock(self) -> Path:
        """The lock, held while a process writes to the folder."""
        return self.path / "lock.sqlite"

    def round(self, index: int) -> Path:
        """Return the folder of one round."""
        return self.path / "rounds" / str(index)

    def round_folders(self) -> list[Path]:
        """Return the folders of the finished rounds, in order."""
        found = [p.parent for p in self.path.glob("rounds/*/examples.jsonl")]
        found = [p for p in found if p.name.isdigit()]
        return sorted(found, key=lambda p: int(p.name))
