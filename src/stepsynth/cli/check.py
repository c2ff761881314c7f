"""`stepsynth check`: checks of a task file before a run, with a short request to each LLM."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stepsynth.cli._shared import (
    JSON,
    conclude,
    handle_errors,
    make_table,
    open_console,
    print_error,
    print_line,
    setting,
)
from stepsynth.errors import ProviderError, StepsynthError

if TYPE_CHECKING:
    from stepsynth.data import Gold
    from stepsynth.dryrun import PromptSizes
    from stepsynth.llm import LLMSettings
    from stepsynth.taskfile import Config

_STAND_IN = 'llm={backend: scripted, rules: [{pattern: "", answers: [""]}]}'
"""Stand-in for an invalid `llm` section, so that the data is checked too."""


@handle_errors
def check(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    overrides: list[str] = setting("data.gold=other.csv"),
    with_ping: bool = typer.Option(
        True,
        "--ping/--no-ping",
        help="Ask each LLM for a word: are URL, key and model right, does max_tokens fit?",
    ),
    as_json: bool = JSON,
) -> None:
    """Check a task file, its rows, and that the LLM answers.

    That is keys, files, columns, labels, balance and overlap. It also says what will go wrong:
    labels of few rows, long prompts, answers that have no room.

    An LLM that cannot be used is told last, after what the data shows.
    """
    config, llm_error = load_all_but_llm(task, overrides)
    try:
        gold, sizes, found = _look_at_data(config)
    except StepsynthError as error:
        if llm_error is not None:
            print_error(llm_error)
        raise error
    if llm_error is not None:
        found["llm"] = None
    elif config.llm is not None:
        llm_error = look_at_llm(config, found, with_ping=with_ping)
    found["ok"] = llm_error is None
    if not as_json:
        _print(config, gold, sizes, found)
    conclude(found, llm_error, as_json=as_json)


def load_all_but_llm(
    task: Path, overrides: Sequence[str]
) -> "tuple[Config, StepsynthError | None]":
    """Return the configuration, and the error of its `llm` section if nothing else is wrong.

    Raises:
        StepsynthError: Something else is wrong.
    """
    from stepsynth.taskfile import load_config

    try:
        return load_config(task, overrides), None
    except StepsynthError as error:
        try:
            # A cap in USD cannot be judged without a price.
            return load_config(task, [*overrides, _STAND_IN, "limits.usd=null"]), error
        except StepsynthError:
            raise error from None


def _look_at_data(config: "Config") -> "tuple[Gold, PromptSizes | None, dict[str, Any]]":
    """Return the split rows, the sizes of their prompts and the findings.

    Raises:
        StepsynthError: Data, student, retriever or curation cannot be used.
    """
    from stepsynth.dryrun import foresee, measure_prompts
    from stepsynth.inputs import check_packages, prepare

    warnings: list[str] = []
    prepared = prepare(config, warnings.append)
    gold, inputs = prepared.gold, prepared.inputs
    sizes = measure_prompts(config, gold)
    warnings += foresee(config, gold, sizes)
    check_packages(config)
    found = {
        "task": config.name,
        "method": config.method.name,
        "student": config.student.name,
        "llm": config.llm.backend if config.llm else None,
        "splits": {
            name: {"rows": len(rows), "labels": dict(sorted(rows.label_counts().items()))}
            for name, rows in (("mine", gold.mine), ("select", gold.select), ("test", gold.test))
        },
        **({"contexts": len(inputs.contexts)} if config.task.has_context else {}),
        **({"passages": len(inputs.passages)} if inputs.passages else {}),
        **{key: len(rows) for key, rows in inputs.given.items()},
        **({"prompt_tokens": sizes.to_dict()} if sizes else {}),
        "dropped": dict(gold.dropped),
        "warnings": warnings,
    }
    return gold, sizes, found


def look_at_llm(
    config: "Config", found: dict[str, Any], *, with_ping: bool
) -> StepsynthError | None:
    """Open each LLM and, if wanted, send it a short request; return the first error, if any.

    Args:
        config: The configuration.
        found: Gets `ping`, and more `warnings`.
        with_ping: Whether to send anything.
    """
    from stepsynth.dryrun import check_window, is_free
    from stepsynth.llm import LLM, find_provider, llm_backends

    assert config.llm is not None
    errors: list[StepsynthError] = []
    pings: dict[str, dict[str, Any]] = {}
    longest = found.get("prompt_tokens", {}).get("most", 0)
    for settings in _different(config.llm.endpoints()):
        key = getattr(settings, "api_key_env", "")
        is_local = all(find_provider(url) == "local" for url in _urls(settings))
        if key and not os.environ.get(key) and not is_local:
            found["warnings"].append(f"{settings.model}: the environment variable {key} is not set")
        try:
            # Opening it reads recordings and looks for the key, but sends nothing.
            alone = settings.model_copy(update={"phases": {}})
            llm = LLM(llm_backends().get(settings.backend)(alone, config.random_seed))
        except StepsynthError as error:
            errors.append(error)
            continue
        name, is_pinged = _name(settings, pings), with_ping and not is_free(settings)
        try:
            if is_pinged:
                (seconds,) = llm.ping().values()
                pings[name] = {"ok": True, "seconds": round(seconds, 3)}
            if is_pinged or settings.window is not None:
                said = check_window(alone, config.random_seed, longest)
                found["warnings"] += [said] if said else []
        except ProviderError as error:
            errors.append(error)
            if is_pinged:
                pings[name] = pings.get(name, {}) | {"ok": False, "error": error.message}
        finally:
            llm.close()
    if pings:
        found["ping"] = pings
    return errors[0] if errors else None


def _different(endpoints: "Sequence[LLMSettings]") -> "list[LLMSettings]":
    """Return the distinct endpoints and models, each with its largest `max_tokens`."""
    ordered = sorted(endpoints, key=lambda endpoint: endpoint.live().max_tokens)
    longest = {_place(endpoint): endpoint for endpoint in ordered}
    return [longest[place] for place in dict.fromkeys(map(_place, endpoints))]


def _place(settings: "LLMSettings") -> tuple[str, tuple[str, ...], str]:
    return settings.backend, _urls(settings), settings.model


def _urls(settings: "LLMSettings") -> tuple[str, ...]:
    """Return the URLs of an LLM's servers; none for one that is asked by no URL."""
    return getattr(settings, "urls", ())


def _name(settings: "LLMSettings", taken: dict[str, Any]) -> str:
    model = settings.model or settings.backend
    return model if model not in taken else f"{model} ({', '.join(_urls(settings))})"


def _print(
    config: "Config", gold: "Gold", sizes: "PromptSizes | None", found: dict[str, Any]
) -> None:
    console = open_console()
    console.print(_count_labels(config, gold))
    if config.task.has_context and config.llm is not None:
        count = found["contexts"]
        said = f"{count} contexts" if count else "contexts that the LLM writes"
        print_line(console, f"Seed data is written for {said}.")
    if "passages" in found:
        print_line(console, f"{found['passages']} passages can be retrieved from.")
    if sizes is not None:
        print_line(console, sizes.in_words())
    for message in found["warnings"]:
        print_line(console, f"warning: {message}")
    pings = found.get("ping", {})
    for model, ping in pings.items():
        if ping["ok"]:
            print_line(console, f"{model} answered in {ping['seconds']:.1f} s.")
    order = "The task file is in order." if found["ok"] else "All but the LLM is in order."
    print_line(console, order if pings else f"{order} No LLM was asked.")


def _count_labels(config: "Config", gold: "Gold") -> Any:
    """Return a table of the rows of each label in each split."""
    from stepsynth.records import NO_LABELS, names_of

    parts = (gold.mine, gold.select, gold.test)
    counts = [
        (label, *(rows.label_counts()[label] for rows in parts))
        for label in config.task.label_names
    ]
    if config.task.has_label_sets:
        nothing = (sum(not names_of(row.label) for row in rows) for rows in parts)
        counts.append((NO_LABELS, *nothing))
    title = f"{config.name}: {config.method.name}, {config.student.name}"
    columns = [("label", False), ("mine", True), ("select", True), ("test", True)]
    table = make_table(title, columns, counts)
    if counts:
        table.add_section()
    table.add_row("rows", *(str(len(rows)) for rows in parts))
    return table
