"""Make a recording of a run: what `replay` needs to give the same answers again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepsynth._util.files import read_jsonl, write_jsonl
from stepsynth.errors import RunFolderError
from stepsynth.experiment.rundir import RunFolder


def write_recording(folder: RunFolder, path: Path) -> int:
    """Write every completion of a run, verbatim, also those that were rejected.

    Args:
        folder: A run folder, of a run that used any backend.
        path: The JSON-lines file to write.

    Returns:
        How many completions were written.

    Raises:
        RunFolderError: The folder holds no round.
    """
    if not folder.round_folders():
        raise RunFolderError(f"{folder.path}: no round of a run is here", hint="give a run folder")
    rows = list(_completions(folder))
    write_jsonl(path, rows)
    return len(rows)


def _completions(folder: RunFolder) -> Iterator[dict[str, Any]]:
    sources: dict[str, str] = {}
    for place in folder.round_folders():
        rationales = place / "rationales.json"
        if rationales.exists():
            for label, given in json.loads(rationales.read_text(encoding="utf-8")).items():
                for text in given["completions"]:
                    yield {"kind": "rationale", "label": label, "completion": text}
        for name in ("examples.jsonl", "rejected.jsonl"):
            for row in read_jsonl(place / name):
                if row["provenance"]["kind"] != "gold":
                    yield _recording(row, sources)
        sources |= {row["id"]: row["text"] for row in read_jsonl(place / "misclassified.jsonl")}


def _recording(row: dict[str, Any], sources: dict[str, str]) -> dict[str, Any]:
    provenance = row["provenance"]
    recording = {"kind": provenance["kind"], "label": row["label"]}
    if row.get("context") is not None:
        recording["context"] = row["context"]
    if provenance["parents"]:
        recording["source"] = sources[provenance["parents"][0]]
    return recording | {"completion": row.get("completion", row.get("text"))}
