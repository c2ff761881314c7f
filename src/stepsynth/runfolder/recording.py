"""Make a recording of a run: what `replay` needs to give the same answers again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepsynth._util.files import read_jsonl, write_jsonl
from stepsynth.errors import RunFolderError
from stepsynth.runfolder.folder import RunFolder


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
        if folder.identity.exists():
            raise RunFolderError(
                f"{folder.path}: no round of this run is done yet",
                hint="the command that started it goes on with it",
            )
        raise RunFolderError(f"{folder.path}: no round of a run is here", hint="give a run folder")
    rows = list(_completions(folder))
    write_jsonl(path, rows)
    return len(rows)


def _completions(folder: RunFolder) -> Iterator[dict[str, Any]]:
    for place in folder.round_folders():
        if (place / "asked.jsonl").exists():
            yield from read_jsonl(place / "asked.jsonl")
        # Several rows may be of one answer, which is recorded once.
        found: dict[str, dict[str, Any]] = {}
        for name in ("examples.jsonl", "rejected.jsonl"):
            for row in read_jsonl(place / name):
                if request := row["provenance"]["request"]:  # else no LLM wrote it
                    found[request] = found.get(request, {}) | _recording(row)
        yield from found.values()


def _recording(row: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {"kind": row["provenance"]["kind"]}
    label = row["label"]
    if isinstance(label, dict):
        # A new answer is not the one that was asked for: context and source say which row it is.
        label = None if row["provenance"]["parents"] else label["text"][0]
    if label:
        kept["label"] = label
    kept |= {key: row[key] for key in ("context", "source") if row.get(key) is not None}
    kept["draw"] = row["provenance"]["draw"]
    if row.get("reason") == "truncated":
        kept["truncated"] = True
    return kept | {"completion": row.get("completion", row.get("text"))}
