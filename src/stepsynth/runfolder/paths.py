"""What lies where in a run folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run folder, declared once; everything in it is text but the store and arrays."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration with every default filled in."""
        return self.path / "config.yaml"

    @property
    def identity(self) -> Path:
        """What decides the run's results; another value is another run."""
        return self.path / "identity.json"

    @property
    def prompts(self) -> Path:
        """The prompt templates in force, and each filled in with rows of the run."""
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
        """What happened when, a line each."""
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
        """Fitted students by what they were fitted on, so that resuming trains nothing twice."""
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
        """What the run was planned to ask of its LLM (`planned`), and what it used (`used`)."""
        return self.path / "plan.json"

    @property
    def lock(self) -> Path:
        """Held while a process writes into the folder."""
        return self.path / "lock.sqlite"

    def round(self, index: int) -> Path:
        """The folder of one round."""
        return self.path / "rounds" / str(index)

    def round_folders(self) -> list[Path]:
        """Return the folders of the rounds, in order, but for one that a run has ended in."""
        found = [p.parent for p in self.path.glob("rounds/*/examples.jsonl")]
        found = [p for p in found if p.name.isdigit()]
        return sorted(found, key=lambda p: int(p.name))
