"""The plan of a comparison: methods and their variants, random seeds, budget, folders."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepsynth._util.files import write_json
from stepsynth._util.hashing import digest, digest_file
from stepsynth.errors import ConfigError, StepsynthError, UnknownNameError
from stepsynth.methods import Method, methods
from stepsynth.runfolder import RunFolder
from stepsynth.runner import EqualBudget, Kind
from stepsynth.taskfile import Config, LocatedYaml, build, find_idle, load_config, parse_value

DEFAULT_ROWS = 1500
SEED_TO_BUDGET = 1.5
"""S3's seed is two thirds of its rows."""

STORE = "requests.sqlite"
REFERENCE = "zerogen"
"""Default reference method, if it is among those compared."""


@dataclass(frozen=True)
class Entry:
    """Method in a comparison, or a variant of one.

    Attributes:
        name: As requested: "s3", or "s3:rationales=false;rounds=1".
        method: The method's registered name.
        values: The keys that make it a variant.
    """

    name: str
    method: str
    values: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name of its folder."""
        safe = re.sub(r"[^\w.=-]+", "-", self.name).strip(".-")
        is_exact = len(safe) <= 80 and re.sub(r"[:;]", "-", self.name) == safe
        return safe if is_exact else f"{safe[:80]}-{digest(self.name, length=8)}"


@dataclass(frozen=True)
class Failure:
    """Error that prevented a run."""

    message: str
    hint: str = ""
    exit_code: int = 1


@dataclass(frozen=True)
class PlannedRun:
    """One method with one random seed.

    Attributes:
        folder: The run folder.
        task: The task file.
        overrides: The `--set` values of this run.
        budget: The budget; None: the method has no size to budget.
        key: Digest of everything that decides its results.
    """

    entry: Entry
    random_seed: int
    folder: Path
    task: Path
    overrides: tuple[str, ...]
    budget: EqualBudget | None
    key: str

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.entry.name}, random seed {self.random_seed}"

    @property
    def is_done(self) -> bool:
        """Whether the run has ended before with the same plan, and its files are unchanged."""
        if not RunFolder(self.folder).manifest.exists():
            return False
        try:
            mark = json.loads(self._mark.read_text(encoding="utf-8"))
            return mark["key"] == self.key and mark["sums"] == self._sums()
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def mark_done(self) -> None:
        """Record in the run folder its name, its key and the digests of its files."""
        mark = {"name": self.entry.name, "key": self.key, "sums": self._sums()}
        write_json(self._mark, mark)

    def _sums(self) -> dict[str, str]:
        run = RunFolder(self.folder)
        files = [run.config, run.identity, run.manifest, run.path / "dataset.jsonl"]
        files += [*run.dataset_shards.glob("*"), *sorted(self.folder.glob("rounds/*/*.json"))]
        return {
            path.relative_to(self.folder).as_posix(): digest_file(path)
            for path in files
            if path.exists()
        }

    @property
    def _mark(self) -> Path:
        return self.folder / "compared.json"


@dataclass(frozen=True)
class Plan:
    """Plan of a comparison.

    Attributes:
        config: The task file's configuration.
        entries: The methods, in the order in which they run with each random seed.
        out: The folder of the comparison.
        budget: The budget of each run.
        against: The name of the entry that the others are compared with.
        runs: Random seed -> its runs, in order.
        failures: Name of an entry that cannot run on this task -> why.
        configs: Name of an entry -> its configuration.
        warnings: Warnings about the plan, for the reader of the results.
    """

    config: Config
    entries: tuple[Entry, ...]
    out: Path
    budget: EqualBudget
    against: str
    runs: dict[int, list[PlannedRun]]
    failures: dict[str, Failure] = field(default_factory=dict)
    configs: dict[str, Config] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """The store of all runs, so that nothing is asked twice."""
        return self.out / STORE


def split_names(text: str) -> list[str]:
    """Return the methods of a comma-separated list; commas in brackets do not separate.

    >>> split_names("s3,attrprompt:lengths=[30,100],gold")
    ['s3', 'attrprompt:lengths=[30,100]', 'gold']
    """
    names, depth = [""], 0
    for sign in text:
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0:
            names.append("")
        else:
            names[-1] += sign
    return names


def read_entries(texts: Sequence[str]) -> tuple[Entry, ...]:
    """Return the requested methods.

    Args:
        texts: "NAME" or "NAME:KEY=VALUE;KEY=VALUE" each.

    Raises:
        ConfigError: A name or key is unknown, a value is wrong, or a method is repeated.
    """
    entries: list[Entry] = []
    for text in map(str.strip, texts):
        name, _, rest = text.partition(":")
        where = f"--methods {text}"
        values: dict[str, Any] = {}
        for part in filter(None, rest.split(";")):
            key, equals, value = part.partition("=")
            if not equals:
                raise ConfigError(
                    f"{where}: expected KEY=VALUE, got {part!r}",
                    hint="s3:rationales=false;rounds=1",
                )
            values[key.strip()] = parse_value(value)
        try:
            method = methods().get(name.strip())
        except UnknownNameError as error:
            raise error.at(where) from None
        build(method, values, LocatedYaml({}, where, {}), ())
        entries.append(Entry(text, method.name, values))
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--methods: {', '.join(twice)} is there twice")
    if not entries:
        raise ConfigError("--methods: no method is named", hint="--methods s3,zerogen,gold")
    return tuple(entries)


def make_plan(
    path: str | Path,
    names: Sequence[str],
    *,
    seeds: int,
    equal: Kind = "rows",
    budget: float | None = None,
    against: str | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
) -> Plan:
    """Return the plan of a comparison; nothing is run or paid for yet.

    The keys of the task file's `method` section apply to the method that it names. They apply to
    another method if it has the key from the same class (such as the options of seed data) and
    the key has an effect there.

    Args:
        path: The task file.
        names: See `read_entries`.
        seeds: The number of random seeds, counted up from the task file's.
        equal: The budget that is equal for all: final rows, calls, or USD.
        budget: Its amount; default: 1.5 times the task file's seed size, else 1500. It replaces
            sizes in the task file, but not those of variants and overrides.
        against: The name that the others are compared with; default: zerogen, else the first.
        overrides: `a.b=value` each; those of `method` apply as the keys of its section do.
        out: The folder; default `runs/<task>-compare`.

    Raises:
        ConfigError: The task file, a name or an option is wrong.
    """
    entries = read_entries(names)
    base = load_config(path, overrides)
    against = _choose_reference(entries, against)
    if seeds < 1:
        raise ConfigError(f"--seeds: expected 1 or more, got {seeds}")
    own = base.method.model_dump(mode="json", include=set(base.own_keys))
    amount = budget
    if amount is None:
        # The file's seed size decides the budget, from which each method derives its sizes.
        stated = base.method.model_dump(exclude_unset=True)
        amount = SEED_TO_BUDGET * stated.get("seed_size", 0) or DEFAULT_ROWS
        own.pop("seed_size", None)
    else:
        # The file's sizes are meant for single runs; here only those of the command count.
        said = {text.partition("=")[0].strip() for text in overrides}
        for key in _sizes(base.method) - {key.removeprefix("method.") for key in said}:
            own.pop(key, None)
    _check_budget(equal, amount, is_given=budget is not None)
    _check_price(base, EqualBudget(equal, amount))
    plan = Plan(
        config=base,
        entries=entries,
        out=Path(out) if out else Path("runs") / f"{base.name}-compare",
        budget=EqualBudget(equal, amount),
        against=against,
        runs={base.random_seed + i: [] for i in range(seeds)},
    )
    for entry in entries:
        keys = {"name": entry.method, **_shared(entry, own, base), **entry.values}
        others = (text for text in overrides if not re.match(r"\s*method\b", text))
        given = (*others, f"method={json.dumps(keys)}")
        try:
            plan.configs[entry.name] = load_config(path, given)
            _add_runs(plan, entry, Path(path), given)
        except StepsynthError as error:
            plan.failures[entry.name] = Failure(error.message, error.hint, error.exit_code)
    return plan


def _sizes(method: Method) -> set[str]:
    """Return the keys that a budget sets."""
    one, other = method.sized(1000).model_dump(), method.sized(2000).model_dump()
    return {key for key in one if one[key] != other[key] and not isinstance(one[key], dict)}


def _choose_reference(entries: Sequence[Entry], against: str | None) -> str:
    names = [entry.name for entry in entries]
    if against is None:
        return REFERENCE if REFERENCE in names else names[0]
    if against not in names:
        raise ConfigError(
            f"--against: {against!r} is not compared. Compared are: {', '.join(names)}."
        )
    return against


def _check_budget(equal: Kind, amount: float, *, is_given: bool) -> None:
    if amount <= 0:
        raise ConfigError(f"--budget: expected more than 0, got {amount:g}")
    if equal == "usd" and not is_given:
        raise ConfigError("--equal usd: how many USD a run may cost is not said", hint="--budget 2")
    if equal != "usd" and amount < 2:
        raise ConfigError(f"--budget: expected 2 {equal} or more, got {amount:g}")


def _shared(entry: Entry, own: Mapping[str, Any], base: Config) -> dict[str, Any]:
    """Return the task file's method keys that apply to an entry.

    It has them from the same class as the task file's method, and they have an effect beside its
    own keys.
    """
    method = methods().get(entry.method)
    theirs = type(base.method).__mro__
    both = [kind for kind in method.__mro__ if kind in theirs and issubclass(kind, Method)]
    known = {key for kind in both for key in kind.model_fields}
    shared = {key: value for key, value in own.items() if key in known}
    try:
        idle = method.model_validate({**shared, **entry.values}).idle_keys(base.task)
    except ValidationError:
        return shared  # reported when the entry's configuration is loaded
    return {key: value for key, value in shared.items() if key not in idle}


def _add_runs(plan: Plan, entry: Entry, task: Path, given: tuple[str, ...]) -> None:
    """Add an entry's runs to the plan, and warn of keys that conflict with its budget."""
    config, budget = plan.configs[entry.name], plan.budget
    is_sized = budget.fits(config.method)
    if is_sized:
        sized = budget.apply(config.method, config.own_keys)
        _check_price(config, budget)
        plan.warnings.extend(
            f"{entry.name}: {key} = {value} has no effect with a budget of {budget}: {why}"
            for key, (value, why) in find_idle(sized, config.task, config.own_keys).items()
        )
        if kept := budget.kept_sizes(config.method, config.own_keys):
            listed = ", ".join(f"{key} = {getattr(config.method, key)}" for key in kept)
            plan.warnings.append(
                f"{entry.name}: {listed} is set by hand and stays: the budget of {budget} may not "
                "be what it uses"
            )
    if config.llm is not None and config.llm.stores_completions and not config.llm.live().store:
        given = (*given, f"llm.store={json.dumps(str(plan.store.absolute()))}")
    if config.retriever is not None and config.retriever.folder is None:
        given = (*given, f"retrieval.folder={json.dumps(str((plan.out / 'index').absolute()))}")
    decides = _describe(config, budget if is_sized else None)
    for random_seed, runs in plan.runs.items():
        runs.append(
            PlannedRun(
                entry=entry,
                random_seed=random_seed,
                folder=plan.out / entry.folder / str(random_seed),
                task=task,
                overrides=(*given, f"random_seed={random_seed}"),
                budget=budget if is_sized else None,
                key=digest([decides, random_seed]),
            )
        )


def _check_price(config: Config, budget: EqualBudget) -> None:
    price = config.llm and config.llm.live().price
    is_free = not price or not (price.prompt or price.completion)
    if budget.kind == "usd" and config.llm is not None and is_free:
        raise ConfigError(
            "--equal usd: the LLM has no price, so no amount of USD would ever be spent",
            hint="set llm.price: {prompt: ..., completion: ...} in USD for a million tokens",
        )


def _describe(config: Config, budget: EqualBudget | None) -> dict[str, Any]:
    """Return all that decides the results of a configuration's runs, with digests of files."""
    decides = {k: v for k, v in config.to_dict().items() if k not in ("limits", "random_seed")}
    decides["llm"] = config.llm.identity() if config.llm else None
    if decides.get("retrieval"):
        decides["retrieval"] = {k: v for k, v in decides["retrieval"].items() if k != "folder"}
    # A label may look like a path ("/"), and a task names no files.
    places = _strings({k: v for k, v in decides.items() if k != "task"})
    files = {text: _digest_of(text) for text in places if _is_place(text)}
    prompts = digest(config.task.template_sources())
    return {**decides, "budget": str(budget), "files": files, "prompts": prompts}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _is_place(text: str) -> bool:
    return len(text) < 4096 and "\n" not in text and os.path.isabs(text) and os.path.exists(text)


def _digest_of(place: str) -> str:
    """Return a digest of a file's content; of a folder, of its files' names, sizes and times."""
    path = Path(place)
    found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    stamps = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in found]
    return digest(stamps) if path.is_dir() else _digest_of_file(*stamps[0])


@lru_cache
def _digest_of_file(path: str, _size: int, _time: int) -> str:
    return digest_file(Path(path))
