"""Reports of `stepsynth store`: summary, one request, export."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepsynth._util.files import replacing, to_line
from stepsynth.errors import RunFolderError, StepsynthError, UnknownNameError
from stepsynth.llm.core.backend import llm_backends
from stepsynth.llm.core.prices import Price
from stepsynth.llm.core.types import TOKEN_COUNTS, Completion
from stepsynth.llm.core.usage import Usage, cost
from stepsynth.llm.store.claims import is_there
from stepsynth.llm.store.read import Stored, StoreReader
from stepsynth.llm.store.recording import repeats_prompt, to_recording

UNKNOWN = "unknown"
"""Stands for the settings of completions that version 1 of the store did not keep."""


def summarize(path: Path) -> dict[str, Any]:
    """Return what is in a store, and which processes use it, as JSON values.

    USD are by the dated table of prices; None where the settings, the price or the tokens of an
    answer are not known.

    Raises:
        RunFolderError: There is no store, or nothing of it can be read.
    """
    with StoreReader(path) as reader:
        known = reader.settings()
        groups: dict[tuple[str, str], _Group] = {}
        for stored in reader.completions():
            key = stored.settings, stored.kind
            if key not in groups:
                groups[key] = _Group(list_price(known.get(stored.settings)))
            groups[key].add(stored)
        failures = Counter(lost["reason"] for lost in reader.failures())
        return {
            "store": str(path),
            "version": reader.version,
            "bytes": size_of(path),
            "completions": [
                {**_told(name, known), "kind": kind, **groups[name, kind].to_dict()}
                for name, kind in sorted(groups)
            ],
            "failures": dict(sorted(failures.items())),
            "runs": _runs(reader),
            "processes": processes(reader),
            "batches": _batches(reader),
            "damaged": reader.damaged,
            **_unread(reader, sum(group.completions for group in groups.values())),
        }


def list_price(settings: Mapping[str, Any] | None) -> Price | None:
    """Return the price of completions with stored settings, if the dated table has it."""
    if not settings:
        return None
    given = {**settings, **settings.get("sampling", {})}
    try:
        known = llm_backends().get(str(settings.get("backend"))).settings_class
        taken = {key: value for key, value in given.items() if key in known.model_fields}
        return known.model_validate(taken).known_price()
    except (StepsynthError, ValidationError):  # a backend that is missing here, or has changed
        return None


def size_of(path: Path) -> int:
    """Return the bytes of a store on disk, with the files that SQLite puts beside it."""
    files = (path.with_name(path.name + end) for end in ("", "-wal", "-shm"))
    return sum(file.stat().st_size for file in files if file.exists())


def explain_request(path: Path, start: str) -> dict[str, Any]:
    """Return what a store knows of a request: its state, and its answer or failure.

    Args:
        path: The store.
        start: Its id, or a unique beginning of it.

    Raises:
        RunFolderError: No id begins with it, or several do.
    """
    with StoreReader(path) as reader:
        answered, lost = reader.find(start)
        waiting = {each for each in _waited_for(reader) if each.startswith(start)}
        ids = sorted({s.id for s in answered} | {each["id"] for each in lost} | waiting)
        if not ids:
            damaged = " (some of the store is damaged)" if not reader.is_whole else ""
            raise RunFolderError(
                f"{path}: no request has an id that begins with {start!r}{damaged}",
                hint="ids are in the rows of rounds/*/*.jsonl, as `request`; or give a task file",
            )
        if len(ids) > 1:
            raise RunFolderError(
                f"{path}: {len(ids)} requests have ids that begin with {start!r}",
                hint=", ".join([*ids[:5], *(["..."] if len(ids) > 5 else [])]),
            )
        found: dict[str, Any] = {"store": str(path), "id": ids[0]}
        if answered:
            known = reader.settings()
            found |= {"state": "answered", **_answer(answered[0], known)}
        elif lost:
            found |= {"state": "given up", **lost[0]}
        else:
            found["state"] = "waited for"
        return found | {"is_waited_for": bool(waiting)}


def export(
    path: Path,
    out: Path,
    *,
    kind: str | None = None,
    model: str | None = None,
    hide_gold: bool = False,
) -> dict[str, Any]:
    """Write completions as recordings for the backend `replay`.

    Args:
        path: The store; of a damaged one, what can be read is written.
        out: The JSON-lines file to write.
        kind: Only completions of this kind of prompt.
        model: Only completions by this LLM.
        hide_gold: Leave out prompts and the answers that repeat them, and write contexts and
            sources as their digests.

    Returns:
        `written` completions, `others` that were not chosen, `repeats` that were left out,
        `damaged` ones, and `unreadable` rows (None if their number is unknown).

    Raises:
        UnknownNameError: The store has no completions by that LLM.
        RunFolderError: There is no store, nothing of it can be read, or `out` cannot be written.
    """
    with StoreReader(path) as reader:
        ids = None if model is None else ids_of_model(reader.settings(), model)
        read = written = repeats = 0
        with replacing(out) as file:
            for stored in reader.completions():
                read += 1
                if kind not in (None, stored.kind) or not (ids is None or stored.settings in ids):
                    continue
                if hide_gold and repeats_prompt(stored):
                    repeats += 1
                    continue
                written += 1
                line = to_line(to_recording(stored, hide_gold=hide_gold))
                file.write(line.encode("utf-8", "replace") + b"\n")
        counts = {"written": written, "others": read - written - repeats, "repeats": repeats}
        counts["damaged"] = reader.damaged
        return {"store": str(path), "out": str(out), **counts, **_unread(reader, read)}


class _Group:
    """Counts of completions with the same settings and of the same kind."""

    def __init__(self, price: Price | None) -> None:
        self.completions = 0
        self._price = price
        self._usage = Usage()
        self._first = self._last = 0

    def add(self, stored: Stored) -> None:
        self.completions += 1
        self._usage.count(Completion(**stored.completion), self._price)
        if stored.created:
            self._first = min(self._first or stored.created, stored.created)
            self._last = max(self._last, stored.created)

    def to_dict(self) -> dict[str, Any]:
        used = self._usage.to_dict()
        counted = {key: used[key] for key in (*TOKEN_COUNTS, "usd")}
        dates = {"first": self._first or None, "last": self._last or None}
        return {"completions": self.completions, **counted, **dates}


def _told(name: str, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return settings as they are shown, with their digest; None where not known."""
    value = dict(known.get(name, {}))
    shown = {key: value.pop(key, None) for key in ("model", "backend", "base_url", "sampling")}
    return {"settings": name or UNKNOWN, **shown, **({"others": value} if value else {})}


def _runs(reader: StoreReader) -> list[dict[str, Any]]:
    columns = "run, requests, usd, " + ("tokens" if reader.version >= 2 else "0")
    query = f"SELECT {columns} FROM spent ORDER BY requests DESC"
    return reader.table(query, run="t", requests="n", usd="n", tokens="n")


def processes(reader: StoreReader) -> list[dict[str, Any]]:
    """Return the processes that hold claims and may still be alive."""
    query = (
        "SELECT host, pid, (SELECT count(*) FROM claims WHERE claims.owner = owners.owner "
        "AND NOT EXISTS (SELECT 1 FROM completions WHERE completions.id = claims.id)), beat "
        "FROM owners ORDER BY owner"
    )
    rows = reader.table(query, host="t", pid="n", claims="n", heard_of="n")
    return [
        row for row in rows if row["claims"] and is_there(row["host"], row["pid"], row["heard_of"])
    ]


def _batches(reader: StoreReader) -> list[dict[str, Any]]:
    query = (
        "SELECT provider, provider_id, state, created, requests FROM batches "
        "WHERE state != 'closed' ORDER BY id"
    )
    rows = reader.table(query, provider="t", id="t", state="t", created="n", requests="t")
    return [{**row, "requests": len(_ids_in(row["requests"]))} for row in rows]


def _waited_for(reader: StoreReader) -> Iterator[str]:
    """Yield the ids of requests that are claimed, or in a batch."""
    for row in reader.table("SELECT id FROM claims", id="t"):
        yield row["id"]
    query = "SELECT requests FROM batches WHERE state != 'closed'"
    for row in reader.table(query, requests="t"):
        yield from _ids_in(row["requests"])


def _ids_in(text: str) -> list[str]:
    try:
        return [str(each) for each in json.loads(text)]
    except (ValueError, TypeError):
        return []


def _unread(reader: StoreReader, read: int) -> dict[str, Any]:
    """Return how many rows could not be read; None if unknown."""
    count = reader.count()
    return {"unreadable": None if count is None else max(0, count - read - reader.damaged)}


def _answer(stored: Stored, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    price = list_price(known.get(stored.settings))
    usd = None if price is None else cost(price, Completion(**stored.completion))
    told = {"settings": _told(stored.settings, known), "request": dict(stored.request)}
    return {**told, "completion": dict(stored.completion), "created": stored.created, "usd": usd}


def ids_of_model(known: Mapping[str, Mapping[str, Any]], model: str) -> set[str]:
    """Return the digests of the settings with a model.

    Raises:
        UnknownNameError: There are none.
    """
    found = {name for name, value in known.items() if value.get("model") == model}
    if not found:
        models = {str(value.get("model")) for value in known.values()}
        raise UnknownNameError("model in this store", model, models)
    return found
