"""Read a run folder into what the report shows; nothing else of the report reads files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsynth._util.files import read_jsonl
from stepsynth.errors import RunFolderError
from stepsynth.runfolder import RunFolder, read_events
from stepsynth.studies import Findings

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class RoundView:
    """A round as the report shows it.

    Attributes:
        numbers: `metrics.json`.
        pairs: Each misclassified gold row with what was written for it in the next round, or why
            nothing was (a `reason`).
    """

    index: int
    numbers: dict[str, Any]
    rationales: dict[str, Any]
    examples: Rows
    rejected: Rows
    failed: Rows
    pairs: list[tuple[dict[str, Any], Rows]]


@dataclass(frozen=True)
class RunView:
    """A run as the report shows it; `manifest` is empty where the run is not done.

    Attributes:
        studies: What `stepsynth study` found, by name.
        events: What happened when.
        plan: `plan.json`, or an empty one.
    """

    folder: RunFolder
    rounds: list[RoundView]
    config: str
    manifest: dict[str, Any]
    prompts: dict[str, dict[str, str | None]]
    studies: list[Findings]
    events: Rows
    plan: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """The run's summary, or an empty one."""
        return self.manifest.get("summary", {})


def collect(folder: RunFolder) -> RunView:
    """Read a run folder.

    Raises:
        RunFolderError: It holds no round of a run.
    """
    places = [p for p in folder.round_folders() if (p / "metrics.json").exists()]
    if not places and folder.identity.exists():
        raise RunFolderError(
            f"{folder.path}: no round of this run is done yet, so there is nothing to report",
            hint="the command that started it goes on with it",
        )
    if not places or not folder.config.exists():
        raise RunFolderError(
            f"{folder.path}: there is nothing to report here", hint="give the folder of a run"
        )
    try:
        added = {
            int(p.name): [
                *read_jsonl(p / "examples.jsonl"),
                *read_jsonl(p / "rejected.jsonl"),
                *read_jsonl(p / "failed.jsonl"),
            ]
            for p in places
        }
        return RunView(
            folder=folder,
            rounds=[_read_round(place, added) for place in places],
            config=folder.config.read_text(encoding="utf-8"),
            manifest=_read_json(folder.manifest),
            prompts=_read_json(folder.prompts),
            studies=read_studies(folder.path),
            events=list(read_events(folder.events)),
            plan=_read_json(folder.plan),
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunFolderError(f"{folder.path}: a file of the run is damaged: {error}") from error


def read_studies(folder: Path) -> list[Findings]:
    """Return what studies have written into a folder.

    Raises:
        RunFolderError: A file of them is damaged.
    """
    found: list[Findings] = []
    for path in sorted(folder.glob("studies/*.json")):
        try:
            found.append(Findings.from_dict(_read_json(path)))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise RunFolderError(f"{path}: this file is damaged: {error}") from error
    return found


def _read_round(place: Path, added: dict[int, Rows]) -> RoundView:
    index = int(place.name)
    children: dict[str, Rows] = {}
    for row in added.get(index + 1, []):
        for parent in row["provenance"]["parents"]:
            children.setdefault(parent, []).append(row)
    return RoundView(
        index=index,
        numbers=_read_json(place / "metrics.json"),
        rationales=_read_json(place / "rationales.json"),
        examples=list(read_jsonl(place / "examples.jsonl")),
        rejected=list(read_jsonl(place / "rejected.jsonl")),
        failed=list(read_jsonl(place / "failed.jsonl")),
        pairs=[
            (row, children.get(row["id"], [])) for row in read_jsonl(place / "misclassified.jsonl")
        ],
    )


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
