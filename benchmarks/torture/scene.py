"""The scenes: small tasks, each with the results and counts of an undisturbed run."""

import hashlib
import json
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.encoder import minilm, write_tiny_bert
from benchmarks.torture.server import describe

GOLD_ROWS = 60
LIMIT_S = 150.0
"""Most seconds of a command on a busy machine; with PyTorch, twice as many."""

_TASK = """\
task:
  instruction: Say whether the fruit is an apple or a pear (Äpfel, 梨).
  text_name: fruit note
  labels: {{a: apple, p: pear}}
data:
  gold: gold.jsonl
  split: {{mine: 24, select: 12, test: 24}}
llm:
  {{backend: openai_compatible, model: mock, base_url: '{url}',
    concurrency: 6, max_tokens: 64, price: {{prompt: 100, completion: 100}}}}
student: {student}
method: {{name: s3, seed_size: 20, rounds: 2, num_rationales: 6}}
"""


@dataclass
class Undisturbed:
    """Results of a scene without a fault.

    Attributes:
        outputs: File -> digest of its bytes.
        requests: Kind of request -> number of requests.
        tokens: Tokens of all answers.
        size: Bytes of its folder.
    """

    outputs: dict[str, str]
    requests: Counter[str]
    tokens: int
    size: int


@dataclass
class Scene:
    """Task, with the command that runs it.

    Attributes:
        name: Its name, after its special feature.
        folder: The folder of its task file.
        args: The arguments of the command, without --out.
        limit_s: Most seconds of the command.
        undisturbed: Its results without a fault; None: not known yet.
    """

    name: str
    folder: Path
    args: Sequence[str]
    limit_s: float = LIMIT_S
    undisturbed: Undisturbed | None = field(default=None)

    @property
    def known(self) -> Undisturbed:
        """The results without a fault."""
        assert self.undisturbed is not None
        return self.undisturbed


def make_scene(name: str, folder: Path, url: str) -> Scene:
    """Write a scene's task file and gold rows."""
    model = ""
    if name == "transformer":
        model = write_tiny_bert(Path(tempfile.mkdtemp(dir=folder.parent)))
    students = {
        "search": "{name: linear, search: {trials: 4, space: {C: {low: 0.1, high: 9.0}}}}",
        "embedding": f"{{name: embedding, model: '{minilm()}'}}" if name == "embedding" else "",
        "transformer": f"{{name: transformer, model: '{model}', epochs: 1}}",
    }
    folder.mkdir(parents=True)
    rng = random.Random("gold")
    rows = [
        {"text": describe(("apple", "pear")[i % 2], rng), "label": "ap"[i % 2]}
        for i in range(GOLD_ROWS)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "gold.jsonl").write_text(lines, encoding="utf-8")
    task = folder / "fruit.yaml"
    student = students.get(name, "linear")
    task.write_text(_TASK.format(url=url, student=student), encoding="utf-8")
    if name == "compare":
        args = ["compare", str(task), "--methods", "s3,zerogen", "--seeds", "2", "--jobs", "2"]
        return Scene(name, folder, args, 2 * LIMIT_S)
    is_slow = name in ("embedding", "transformer")
    return Scene(name, folder, ["run", str(task)], 2 * LIMIT_S if is_slow else LIMIT_S)


def read_outputs(out: Path) -> dict[str, str]:
    """Return file -> digest for the rows of a run, or of the runs of a comparison."""
    found = [*out.rglob("dataset.jsonl"), *out.rglob("rounds/*/examples.jsonl")]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(found)
    }


def size_of(folder: Path) -> int:
    """Return the total bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
