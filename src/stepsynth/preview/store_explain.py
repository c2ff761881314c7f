"""The reasons why a store has the completions of a run, or not: `stepsynth store explain`.

The run's first requests are made as in `preview`, and looked up. A missing one is compared with
the stored ones: the settings key by key, the seed, and the prompts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsynth._util.nested import flatten
from stepsynth.dryrun import NoBackend, StubLLM
from stepsynth.errors import ConfigError, RunFolderError
from stepsynth.llm import LLM, Completion, Failed, LLMSettings, Request
from stepsynth.llm.store import UNKNOWN, Stored, StoreReader, bounded
from stepsynth.preview.preview import LISTS_ASKED, Previewer, PreviewLLM
from stepsynth.runfolder import RunFolder
from stepsynth.taskfile import Config, read_yaml

ROWS = 5
"""Requests of each kind that are looked up."""
AROUND = 30
"""Characters of a prompt that are shown before and after the first difference."""


def find_store(path: Path) -> Path:
    """Return the store at a path: the file itself, or the store of a run folder.

    Raises:
        RunFolderError: The folder has no store.
    """
    if not path.is_dir():
        return path
    folder = RunFolder(path)
    if folder.store.exists():
        return folder.store
    if folder.config.exists():
        named = (read_yaml(folder.config).values.get("llm") or {}).get("store")
        if named:
            return Path(named)
    raise RunFolderError(f"{path}: no store is in this folder", hint="give its .sqlite file")


def explain_task(path: Path, config: Config) -> dict[str, Any]:
    """Return why a store has the completions of a run, or not, as JSON values.

    Args:
        path: The store.
        config: The run; nothing is sent.

    Returns:
        `settings`: how those in the store differ from the run's; `kinds`: how many of the first
        requests of each kind are in the store; `requests`: the missing ones, and how each differs
        from the most similar stored one; `note`: what was not looked up.

    Raises:
        ConfigError: The run asks no LLM whose completions are kept.
        StepsynthError: The data or the store cannot be used.
    """
    settings = config.llm
    if settings is None or not any(each.stores_completions for each in settings.endpoints()):
        raise ConfigError(
            "this run asks no LLM whose completions are kept",
            hint="see `method` and `llm.backend` of the task file",
        )
    note = ""
    with StoreReader(path) as reader:
        asked: list[_Asked] = []
        if config.retriever is None:
            asked = _Lookup(config, rows=ROWS).look_up(reader)
        else:
            note = "prompts hold passages that the run retrieves: only settings were compared"
        known = reader.settings()
        counts, kinds = _find_similar(reader, asked)
        return {
            "store": str(path),
            "task": config.name,
            "settings": list(_compare_settings(counts, known, settings)),
            "kinds": _count_kinds(asked, kinds),
            "requests": [
                _compare(each, known, config.random_seed) for each in asked if each.found is None
            ],
            "note": note,
            "damaged": reader.damaged,
        }


@dataclass
class _Asked:
    """Request of the run, with its stored completion, or else the most similar one."""

    request: Request
    id: str
    settings: Mapping[str, Any]
    found: Stored | None
    similar: Stored | None = None


class _StoreLLM(LLM):
    """LLM that answers from a store, makes up the rest, and keeps the requests."""

    def __init__(self, config: Config, reader: StoreReader, stub: StubLLM) -> None:
        assert config.llm is not None
        super().__init__(
            NoBackend(config.llm, 0),
            random_seed=config.random_seed,
            phases={k: [NoBackend(each, 0) for each in v] for k, v in config.llm.phases.items()},
        )
        self.asked: list[_Asked] = []
        self._reader = reader
        self._stub = stub

    def stream(
        self, requests: Iterable[Request], *, phase: str, total: int | None = None
    ) -> Iterator[Completion | Failed]:
        """Yield an answer to each request."""
        yield from map(self._answer, requests)

    def _answer(self, request: Request) -> Completion:
        request, place, _ = self._numbering.next(request)
        endpoint = self._endpoints.all[place]
        name = endpoint.request_id(request)
        found = next(iter(self._reader.find(name)[0]), None)
        settings = bounded(endpoint.settings.request_identity(), endpoint.live.longest(request))
        self.asked.append(_Asked(request, name, settings, found))
        if found is None:
            return Completion(self._stub.say(request), name, request.draw)
        return Completion(request_id=name, draw=request.draw, **found.completion)


class _Lookup(Previewer):
    """Look-up of the first requests of a run, up to its first round."""

    def look_up(self, reader: StoreReader) -> list[_Asked]:
        assert self.config.llm is not None
        prepared = self.prepared
        stub = self._stub(prepared.gold)
        found = _StoreLLM(self.config, reader, self._stub(prepared.gold))
        lists = max(self.rows, LISTS_ASKED)
        llm = PreviewLLM(self.config.llm, stub, self.rows, lists, found)
        # The requests of later rounds depend on the student, and none is trained here.
        next(iter(self._run(self._setup(prepared, llm, is_real=False))), None)
        return found.asked


def _find_similar(
    reader: StoreReader, asked: Sequence[_Asked]
) -> tuple[Counter[str], Counter[str]]:
    """Set the most similar stored request of each missing one; count the completions.

    Returns:
        Numbers of completions by the digest of their settings, and by their kind.
    """
    settings: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    wanted: dict[str, list[_Asked]] = {}
    for each in asked:
        if each.found is None:
            wanted.setdefault(each.request.tags.get("kind", ""), []).append(each)
    best: dict[str, tuple[bool, ...]] = {}
    for stored in reader.completions():
        settings[stored.settings] += 1
        kinds[stored.kind] += 1
        for each in wanted.get(stored.kind, ()):
            score = _likeness(each.request, stored)
            if each.id not in best or score > best[each.id]:
                best[each.id], each.similar = score, stored
    return settings, kinds


def _likeness(request: Request, stored: Stored) -> tuple[bool, ...]:
    asked = stored.request
    return (
        asked.get("prompt") == request.prompt,
        asked.get("stream") == request.stream,
        asked.get("draw") == request.draw,
        list(asked.get("turns", ())) == list(request.turns),
    )


def _count_kinds(asked: Sequence[_Asked], kinds: Counter[str]) -> list[dict[str, Any]]:
    looked: Counter[str] = Counter(each.request.tags.get("kind", "") for each in asked)
    found = Counter(each.request.tags.get("kind", "") for each in asked if each.found)
    return [
        {"kind": kind, "asked": looked[kind], "found": found[kind], "stored": kinds[kind]}
        for kind in dict.fromkeys([*looked, *sorted(kinds)])
    ]


def _compare_settings(
    counts: Counter[str], known: Mapping[str, Mapping[str, Any]], settings: LLMSettings
) -> Iterator[dict[str, Any]]:
    """Yield how each of the settings in the store differs from the run's most similar one."""
    ours = [each.request_identity() for each in settings.endpoints() if each.stores_completions]
    for name, completions in counts.most_common():
        about: dict[str, Any] = {"settings": name or UNKNOWN, "completions": completions}
        if name not in known:
            yield {**about, "model": None, "differences": None}
            continue
        several = [list(_differences(known[name], each)) for each in ours]
        yield {**about, "model": known[name].get("model"), "differences": min(several, key=len)}


def _compare(
    asked: _Asked, known: Mapping[str, Mapping[str, Any]], random_seed: int
) -> dict[str, Any]:
    """Return how a request differs from the most similar stored one."""
    request, similar = asked.request, asked.similar
    about = {"kind": request.tags.get("kind", ""), "id": asked.id}
    if similar is None:
        return {**about, "similar": None, "differences": []}
    theirs = known.get(similar.settings)
    stored, found = similar.request, list[dict[str, Any]]()
    if theirs is not None:
        found += _differences(bounded(theirs, stored.get("max_tokens")), asked.settings)
    for key, ours in (("stream", request.stream), ("draw", request.draw)):
        if stored.get(key) != ours:
            found.append({"key": key, "store": stored.get(key), "task": ours})
    for key, text, ours in (
        ("prompt", str(stored.get("prompt", "")), request.prompt),
        ("turns", "\n".join(stored.get("turns", ())), "\n".join(request.turns)),
    ):
        if text != ours:
            at = _first_difference(text, ours)
            excerpts = {"store": _excerpt(text, at), "task": _excerpt(ours, at)}
            found.append({"key": key, "at": at, **excerpts})
    seed = stored.get("random_seed")
    # If the store does not record the seed and all else is equal, the seed must differ.
    if seed != random_seed and (seed is not None or not found):
        found.append({"key": "random_seed", "store": seed, "task": random_seed})
    return {**about, "similar": similar.id, "differences": found}


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    before, now = dict(flatten(theirs)), dict(flatten(ours))
    for key in dict.fromkeys([*now, *before]):
        if before.get(key) != now.get(key):
            yield {"key": key, "store": before.get(key), "task": now.get(key)}


def _first_difference(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _excerpt(text: str, at: int) -> str:
    return text[max(0, at - AROUND) : at + AROUND]
