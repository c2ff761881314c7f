"""The recording of a run, from which the backend `replay` gives the same answers again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepsynth._util.files import write_jsonl
from stepsynth.errors import RunFolderError
from stepsynth.records import Answers
from stepsynth.runfolder.rows import AddedRow, UnusedRow
from stepsynth.runfolder.run import Run, RunRound, read_rows


def write_recording(run: Run, path: Path) -> int:
    """Write every completion of a run verbatim, including rejected ones.

    Args:
        run: A run with any backend.
        path: The JSON-lines file to write.

    Returns:
        The number of completions written.

    Raises:
        RunFolderError: The run has none; nothing is written.
    """
    rows = [line for done in run.rounds for line in _completions(done)]
    if not rows:
        raise RunFolderError(
            f"{run.folder.path} has no answer of an LLM to record", hint="its method asks none"
        )
    write_jsonl(path, rows)
    return len(rows)


def _completions(done: RunRound) -> Iterator[dict[str, Any]]:
    if (asked := done.folder / "asked.jsonl").exists():  # a method may ask for rows alone
        yield from read_rows(asked, dict)
    # Several rows may be of one answer, which is recorded once.
    found: dict[str, dict[str, Any]] = {}
    for row in (*done.rows, *done.rejected):
        if row.provenance and row.provenance.request:  # else no LLM wrote it
            request = row.provenance.request
            found[request] = found.get(request, {}) | _recording(row)
    yield from found.values()


def _recording(row: AddedRow | UnusedRow) -> dict[str, Any]:
    assert row.provenance is not None
    kept: dict[str, Any] = {"kind": row.provenance.kind}
    # A new answer was not in the request: context and source identify the row.
    is_new = isinstance(row.label, Answers) and row.provenance.parents
    if str(row.label) and not is_new:
        kept["label"] = str(row.label)
    if row.context is not None:
        kept["context"] = row.context
    if row.origin.source:
        kept["source"] = row.origin.source
    kept["draw"] = row.provenance.draw
    if isinstance(row, UnusedRow) and row.reason == "truncated":
        kept["truncated"] = True
    return kept | {"completion": row.completion}
