"""`stepsynth store`: list, explain, export and delete the completions of a store."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from stepsynth._util.words import amount, set_path, set_replay, short, usd
from stepsynth.cli._completion import complete_runs
from stepsynth.cli._shared import (
    JSON,
    handle_errors,
    open_console,
    print_json,
    printable,
    say,
)

store_app = typer.Typer(
    name="store",
    help="Look into a store of the LLM's answers, export it, clear it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
STORE = typer.Argument(
    help="A run folder, or the .sqlite file of a store.",
    show_default=False,
    autocompletion=complete_runs,
)
_COUNTS = {
    "n": "completions",
    "prompt": "prompt_tokens",
    "answer": "completion_tokens",
    "cached": "cached_tokens",
    "reasoned": "reasoning_tokens",
}
"""Column of `ls` -> key; all but the first count tokens."""
_LAST_DATE = 253_402_300_800
"""Times from here on, the year 10000, are no dates; a damaged store may hold any number."""
_UNASKED = "not looked for, since answers or the student decide what is asked"
_SHOWN = 5
"""Missing requests whose differences `explain` prints, at most."""


@store_app.command("ls")
@handle_errors
def ls(store: Path = STORE, as_json: bool = JSON) -> None:
    """List what is in a store: completions, failures, what runs have spent, who is at work.

    It only reads, and may be called while a run writes.
    """
    from stepsynth.llm.store import summarize
    from stepsynth.preview import find_store

    found = summarize(find_store(store))
    if as_json:
        print_json(found)
    else:
        _print_summary(found)


@store_app.command("explain")
@handle_errors
def explain(
    store: Path = STORE,
    what: str = typer.Argument(
        metavar="ID|TASK.yaml",
        help="A request, by its id or what that alone begins with; or a task file.",
        show_default=False,
    ),
    overrides: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="With a task file: override a key."
    ),
    as_json: bool = JSON,
) -> None:
    """Explain a request: what was asked and answered, or why it was given up.

    Or a task file: why a run of it would find its completions here, or would not.
    """
    from stepsynth.llm.store import explain_request
    from stepsynth.preview import explain_task, find_store

    path = find_store(store)
    is_task = what.endswith((".yaml", ".yml")) or Path(what).is_file()
    if is_task:
        from stepsynth.taskfile import load_config

        found = explain_task(path, load_config(what, overrides))
    else:
        found = explain_request(path, what)
    if as_json:
        print_json(found)
    else:
        _print_lines(_task_in_words(found) if is_task else _request_in_words(found))


@store_app.command("export")
@handle_errors
def export(
    store: Path = STORE,
    out: Path = typer.Option(help="The JSON-lines file to write.", show_default=False),
    kind: str | None = typer.Option(
        None, help="Only this kind of prompt (seed, extrapolate, ...).", show_default=False
    ),
    model: str | None = typer.Option(None, help="Only this LLM.", show_default=False),
    hide_gold: bool = typer.Option(
        False,
        "--hide-gold",
        help="Write no prompts, no answers that repeat them, and texts of yours as digests: to "
        "share what an LLM wrote.",
    ),
    as_json: bool = JSON,
) -> None:
    """Save completions as JSON lines that the backend `replay` answers from.

    Of a damaged store it saves what can still be read, and says how much that is not.
    """
    from stepsynth.llm.store import tools
    from stepsynth.preview import find_store

    found = tools.export(find_store(store), out, kind=kind, model=model, hide_gold=hide_gold)
    if as_json:
        print_json(found)
        return
    others = f" ({found['others']} others were not chosen)" if found["others"] else ""
    say(f"{out}: {found['written']} completions{others}")
    if found["repeats"]:
        say(f"{found['repeats']} that repeat their prompt, in which gold may stand, were left out")
    for line in _damage_in_words(found):
        say(line)
    say(f"use it with: {set_replay(out)}")


@store_app.command("merge")
@handle_errors
def merge(
    stores: list[Path] = typer.Argument(help="Run folders, or .sqlite files.", show_default=False),
    out: Path = typer.Option(help="The .sqlite file to write.", show_default=False),
    as_json: bool = JSON,
) -> None:
    """Make one store of several, such as those of runs on other machines.

    The first answer to a request counts. What runs have spent is added up.
    """
    from stepsynth.llm.store import merge as merge_stores
    from stepsynth.preview import find_store

    found = merge_stores([find_store(store) for store in stores], out)
    if as_json:
        print_json(found)
        return
    say(f"{out}: {found['written']} completions; {found['repeated']} were there already")
    if found["different"]:
        say(f"of these, {found['different']} had another answer to the same request: left out")
    if found["damaged"]:
        say(f"{found['damaged']} could not be read")
    say(f"use it with: {set_path('llm.store', out.absolute())}")


@store_app.command("gc")
@handle_errors
def gc(
    store: Path = STORE,
    older_than: float | None = typer.Option(
        None, min=0, metavar="DAYS", help="What came longer ago than this.", show_default=False
    ),
    model: str | None = typer.Option(None, help="What this LLM answered.", show_default=False),
    settings: str | None = typer.Option(
        None,
        metavar="ID",
        help="What was asked with these settings: their digest, as `ls` shows it, or its "
        "beginning.",
        show_default=False,
    ),
    failures: bool = typer.Option(
        False, "--failures", help="Requests that were given up, in place of completions."
    ),
    dry_run: bool = typer.Option(
        True, "--dry-run/--yes", help="Only say what would be deleted, or delete it."
    ),
    as_json: bool = JSON,
) -> None:
    """Delete completions that all the given options apply to, and give the space back.

    A run that would have used them asks and pays for them again.
    """
    from stepsynth.llm.store import Chosen, collect_garbage
    from stepsynth.preview import find_store

    chosen = Chosen(older_than, model, settings, failures)
    found = collect_garbage(find_store(store), chosen, is_dry=dry_run)
    if as_json:
        print_json(found)
        return
    what = "requests that were given up" if failures else "completions"
    would = "would be deleted" if dry_run else "deleted"
    print(f"{found['deleted']} {what} {would}, {found['left']} stay.")
    if found["of_unknown_age"]:
        print(f"{found['of_unknown_age']} are of unknown age, and stay.")
    if not dry_run:
        print(f"{_bytes(found['freed'])} were freed.")
    elif found["deleted"]:
        print("Nothing was deleted: add --yes to delete them.")


def _print_summary(found: Mapping[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    size, version = _bytes(found["bytes"]), found["version"]
    _print_lines([f"{found['store']}: {size} on disk, store version {version}"])
    rare = ("cached_tokens", "reasoning_tokens")
    rows = found["completions"]
    counts = {k: key for k, key in _COUNTS.items() if key not in rare or any(r[key] for r in rows)}
    table = Table(box=SIMPLE_HEAD, padding=0)
    table.add_column("settings", no_wrap=True)
    table.add_column("kind")
    for name in (*counts, "USD"):
        table.add_column(name, justify="right")
    table.add_column("from / to")
    for row in rows:
        cost = "not known" if row["usd"] is None else amount(row["usd"])
        days = dict.fromkeys(_date(row[key])[:10] for key in ("first", "last"))
        numbers = (short(row[key]) for key in counts.values())
        names = (escape(printable(row[key])) for key in ("settings", "kind"))
        table.add_row(*names, *numbers, cost, " ".join(days))
    open_console().print(table)
    _print_lines(_settings_in_words(rows))
    _print_lines(_work_in_words(found))
    _print_lines(_damage_in_words(found))


def _settings_in_words(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the settings behind each digest."""
    for row in {row["settings"]: row for row in rows}.values():
        if row["model"] is None:
            yield f"{row['settings']}: settings that were not kept by an older version"
            continue
        values = {**(row["sampling"] or {}), **row.get("others", {})}
        sent = ", ".join(f"{key} {value}" for key, value in values.items())
        at = f" at {row['base_url']}" if row["base_url"] else ""
        yield f"{row['settings']}: {row['model']} ({row['backend']}{at}), {sent}"


def _work_in_words(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the failures, the spending of each run, and the requests in progress."""
    if found["failures"]:
        causes = ", ".join(f"{number} {reason}" for reason, number in found["failures"].items())
        yield f"Given up: {causes}."
    for run in found["runs"]:
        cost = f"{usd(run['usd'])}, " if run["usd"] else ""
        tokens = f"{cost}{run['tokens']} tokens"
        yield f"Run {run['run'][:12]} has sent {run['requests']} requests: {tokens}."
    for process in found["processes"]:
        who = f"Process {process['pid']} on {process['host']}"
        yield f"{who} is waiting for {process['claims']} answers."
    for batch in found["batches"]:
        name = f"{batch['provider']} {batch['id']}".strip()
        since = f"since {_date(batch['created'])}"
        yield f"Batch {name} ({batch['state']}) holds {batch['requests']} requests {since}."


def _request_in_words(found: Mapping[str, Any]) -> Iterator[str]:
    when = f" on {_date(found['created'])}" if found.get("created") else ""
    yield f"{found['id']}: {found['state']}{when}"
    settings = found.get("settings")
    if settings:
        yield from _settings_in_words([settings])
    request = found.get("request")
    if request:
        named = f"stream {request.get('stream')}, draw {request.get('draw')}"
        tags = ", ".join(f"{key}: {value}" for key, value in _tags(request).items())
        yield f"{named}{'; ' if tags else ''}{tags}"
        yield f"--- prompt\n{request.get('prompt', '')}"
        for turn in request.get("turns") or ():
            yield f"--- turn\n{turn}"
    if found["state"] == "answered":
        answer = found["completion"]
        is_cut = " (cut off)" if answer.get("truncated") else ""
        yield f"--- answer{is_cut}\n{answer['text']}"
        counts = {key: answer.get(key) for key in ("prompt_tokens", "completion_tokens")}
        tokens = ", ".join(
            f"{'?' if number is None else number} {key.replace('_', ' ')}"
            for key, number in counts.items()
        )
        yield f"--- {tokens}, {usd(found['usd'])}"
    elif found["state"] == "given up":
        yield f"--- given up: {found['reason']}: {found['message']}"
        if found["raw"]:
            yield f"--- sent by the provider\n{found['raw']}"


def _task_in_words(found: Mapping[str, Any]) -> Iterator[str]:
    asked = sum(row["asked"] for row in found["kinds"])
    there = sum(row["found"] for row in found["kinds"])
    if asked:
        yield f"Of the first {asked} requests of {found['task']}, {there} are in {found['store']}:"
    for row in found["kinds"]:
        of = f"{row['found']} of {row['asked']} found" if row["asked"] else _UNASKED
        kind = row["kind"] or "(no kind)"
        yield f"  {kind}: {of}; the store has {row['stored']} of this kind"
    if found["note"]:
        yield f"Note: {found['note']}."
    if not found["settings"]:
        yield "The store has no completions."
    for row in found["settings"]:
        yield from _group_in_words(row)
    for row in found["requests"][:_SHOWN]:
        yield f"Not there: {row['kind']} {row['id'][:12]}"
        similar = row["similar"]
        yield f"  most like it: {similar[:12]}" if similar else "  nothing of its kind is there"
        for each in row["differences"]:
            yield f"  {_difference_in_words(each)}"
    if len(found["requests"]) > _SHOWN:
        yield f"and {len(found['requests']) - _SHOWN} others; --json lists them"
    yield from _damage_in_words(found)


def _group_in_words(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield how completions with the same settings differ from the task's."""
    who = f"{row['completions']} completions of {row['model'] or 'settings not known'}"
    if row["differences"] is None:
        yield f"{who}: an older version did not keep what they were asked with"
    elif not row["differences"]:
        yield f"{who}: with the task's settings"
    for each in row["differences"] or ():
        yield f"{who}: {_difference_in_words(each)}"


def _difference_in_words(each: Mapping[str, Any]) -> str:
    if "at" in each:
        return (
            f"{each['key']} differs from character {each['at']}: in the store "
            f"{each['store']!r}, of the task {each['task']!r}"
        )
    if each["key"] == "random_seed" and each["store"] is None:
        return (
            f"the store has the same request with another random_seed than {each['task']}, or it "
            "differs in what the store does not keep"
        )
    return f"{each['key']} is {each['store']!r} in the store; the task says {each['task']!r}"


def _damage_in_words(found: Mapping[str, Any]) -> Iterator[str]:
    if found["damaged"]:
        yield f"{found['damaged']} completions are damaged: runs ask for them again."
    if found.get("unreadable", 0) is None:
        yield "The file is damaged: nobody knows how many completions cannot be read."
    elif found.get("unreadable"):
        yield f"The file is damaged: {found['unreadable']} completions cannot be read."


def _print_lines(lines: Sequence[str] | Iterator[str]) -> None:
    for line in lines:
        print(printable(line))


def _tags(request: Mapping[str, Any]) -> Mapping[str, Any]:
    tags = request.get("tags")
    return tags if isinstance(tags, Mapping) else {}


def _date(seconds: int | None) -> str:
    if not isinstance(seconds, int) or not 0 < seconds < _LAST_DATE:
        return "?"
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _bytes(number: int) -> str:
    """Return a size in words."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
