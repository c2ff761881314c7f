"""The data card and the model card of a run: contents, origin and limits.

A card is public. It shows no text of an LLM, no path and no address. What a user chose (names,
instructions, labels) is shown as code, which neither Markdown nor HTML can break out of.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepsynth._util.text import normalise, shorten
from stepsynth.errors import RunFolderError
from stepsynth.records import Dataset, Example
from stepsynth.run_records import LLMTotals, RoundMetrics
from stepsynth.runfolder import Run
from stepsynth.taskfile import parse_yaml

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"

HUB_TASKS = {
    "classification": "text-classification",
    "sentence_pair": "text-classification",
    "extractive_qa": "question-answering",
}
"""Kind of task -> its name on the hub."""

COLUMNS = {
    "text": "what the LLM wrote; of a row that was given, gold or not, its own text",
    "label": "the label that was asked for; of a question its answers, as in SQuAD",
    "context": "the premise or passage that the text was written for",
    "method": "the method that made the row; `gold` where it is a gold row",
    "round": "the round that added it; 0 is seed data",
    "kind": "`seed`, `extrapolate` or `gold`, or what else the method calls its steps; `review`: "
    "changed by hand",
    "parents": "digests of the gold rows that it was written from; they do not hold the gold text",
    "draw": "which draw of its request's stream the row is",
    "request": "digest of the request to the LLM",
    "model": "the LLM, as it was configured",
}
"""Column of a data set -> its meaning."""

_SECRET = re.compile(r"(^|_)(key|token|secret|password|url)($|_)", re.IGNORECASE)
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def card_facts(run: Run, dataset: Dataset, *, name: str) -> dict[str, Any]:
    """Return the facts of a finished run and its training rows for both cards.

    Raises:
        RunFolderError: The run is not done, or a file of it is damaged.
    """
    config = parse_yaml(run.config, str(run.folder.config)).values
    given = config.get("data") or {}
    try:
        return {
            "name": name,
            "title": name.rpartition("/")[2],
            "task": _task(config),
            "method": _named(config["method"]),
            "student": _student(config["student"], run.folder.model),
            "llm": _llm(config.get("llm")),
            "data": _data(run, dataset),
            "shown": _shown(run.summary.llm),
            "rounds": [_round(done.metrics) for done in run.rounds],
            "kept": run.summary.kept_round,
            "review": run.summary.kept.review,
            "reasons": _reasons(run),
            "scores": _scores(run),
            "cost": run.summary.llm,
            "random_seed": run.summary.random_seed,
            "contexts": given.get("contexts"),
            "selects_on_mine": bool(given.get("paper_splits")),
            "versions": {k: v for k, v in run.manifest.versions.items() if v},
            "warnings": len(run.summary.warnings),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{run.folder.path}: a file of the run is damaged: {error!r}"
        ) from error


def render_dataset_card(facts: Mapping[str, Any], *, license_name: str, data_file: str) -> str:
    """Return the data card, its README.md.

    Args:
        facts: The result of `card_facts`.
        license_name: The hub's name of the licence.
        data_file: Path of the rows, relative to the card.
    """
    from huggingface_hub import DatasetCardData

    data = facts["data"]
    about = DatasetCardData(
        license=license_name,
        task_categories=[facts["task"]["hub_task"]],
        size_categories=_size(facts["data"]["rows"]),
        annotations_creators="machine-generated" if data["written"] or data["labelled"] else None,
        language_creators="machine-generated" if data["written"] else None,
        pretty_name=facts["title"],
        tags=keywords(facts),
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": data_file}],
            }
        ],
    )
    more = {"front_matter": about.to_yaml(), "licence": stated_licence(license_name)}
    return _render("dataset.md.j2", {**facts, **more})


def render_model_card(facts: Mapping[str, Any], *, license_name: str) -> str:
    """Return the model card, its README.md; see `render_dataset_card`."""
    from huggingface_hub import ModelCardData

    about = ModelCardData(
        license=license_name,
        library_name="transformers" if facts["student"]["is_transformer"] else "stepsynth",
        pipeline_tag=facts["task"]["hub_task"],
        base_model=facts["student"]["base_model"],
        datasets=[facts["name"]],
        tags=keywords(facts),
    )
    more = {"front_matter": about.to_yaml(), "licence": stated_licence(license_name)}
    return _render("model.md.j2", {**facts, **more})


def keywords(facts: Mapping[str, Any]) -> list[str]:
    """Return the tags of a data set and its model."""
    data = facts["data"]
    return ["stepsynth", *(["synthetic"] if data["written"] or data["labelled"] else [])]


def stated_licence(name: str) -> str:
    """Return a licence by its name on the hub; "": it is not stated."""
    return "" if name == "other" else name


def statements(part: str, facts: Mapping[str, Any]) -> list[str]:
    """Return the points of a list in the cards, each as one line.

    Args:
        part: "limits" or "shown".
        facts: The result of `card_facts`.
    """
    points = _render(f"{part}.md.j2", facts).removeprefix("- ").split("\n- ")
    return [" ".join(point.split()) for point in points]


def _render(template: str, facts: Mapping[str, Any]) -> str:
    text = _environment().get_template(template).render(**facts)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # the output is Markdown, which `code` escapes
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    environment.filters["score"] = _score
    return environment


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def code(value: Any) -> str:
    """Return a value as inline code, which its text cannot end."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = shorten(text, 200)
    line = "".join(c for c in line if unicodedata.category(c)[0] != "C") or " "
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    fence = "`" * (longest + 1)
    return f"{fence}{pad}{line}{pad}{fence}"


def _task(config: Mapping[str, Any]) -> dict[str, Any]:
    task = config["task"]
    labels = task.get("labels") or {}
    return {
        "kind": task["kind"],
        "hub_task": HUB_TASKS.get(task["kind"], "text-classification"),
        "instruction": task.get("instruction") or "",
        "text_name": task.get("text_name") or "text",
        "labels": labels if isinstance(labels, dict) else {label: label for label in labels},
    }


def _named(section: Mapping[str, Any]) -> dict[str, Any]:
    fields = {k: v for k, v in section.items() if k != "name" and not _SECRET.search(k)}
    return {"name": section["name"], "fields": without_paths(fields)}


def without_paths(value: Any) -> Any:
    """Return a value in which every path on this machine is cut to its last part."""
    if isinstance(value, Mapping):
        return {key: without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner) for inner in value]
    if isinstance(value, str) and is_path(value):
        return Path(value).name
    return value


def is_path(value: str) -> bool:
    """Return whether a text is a path on this machine rather than a name on the hub."""
    if value.startswith((".", "~")) or Path(value).is_absolute():
        return True
    # File systems allow no longer name, and asking for one raises.
    return "/" in value and len(value) < 256 and Path(value).exists()


def _student(section: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    named = _named(section)
    is_transformer = section["name"] == "transformer"
    model = str(section.get("model", ""))
    is_on_hub = bool(_HUB_NAME.fullmatch(model)) and not is_path(model)
    limit = section.get("max_length")
    file = folder / "config.json"
    if is_transformer and file.exists():
        about = json.loads(file.read_text(encoding="utf-8"))
        limit = min(limit or 512, about.get("max_position_embeddings") or 512)
    return {
        **named,
        "is_transformer": is_transformer,
        "base_model": model if is_transformer and is_on_hub else None,
        "max_length": limit,
    }


def _llm(section: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the LLM's facts: only listed keys, so that no secret or address slips in."""
    if section is None:
        return None
    return {
        "backend": section["backend"],
        "model": without_paths(section.get("model") or ""),
        "sampling": {k: section[k] for k in ("temperature", "top_p", "max_tokens") if k in section},
    }


def _data(run: Run, dataset: Dataset) -> dict[str, Any]:
    kinds = Counter(row.provenance.kind for row in dataset)
    columns = next(dataset._to_flat_dicts(), ())
    parents = {parent for row in dataset for parent in row.provenance.parents}
    known = {
        normalise(text)
        for done in run.rounds
        for text in (
            *(row.example.text for row in done.missed),
            *(row.origin.source for row in done.rows if row.origin.source),
        )
    }
    return {
        "rows": len(dataset),
        "written": sum(_is_written(row) for row in dataset),
        "labelled": kinds["annotate"],
        "labels": dict(sorted(dataset.label_counts().items())),
        "kinds": dict(sorted(kinds.items())),
        "gold": kinds["gold"],
        "parents": len(parents),
        "copies": sum(
            row.provenance.kind != "gold" and normalise(row.text) in known for row in dataset
        ),
        "duplicates": len(dataset) - len(dataset.without_duplicates()),
        "has_context": any(row.context is not None for row in dataset),
        "columns": {name: COLUMNS.get(name, "see stepsynth") for name in columns},
    }


def _is_written(row: Example) -> bool:
    """Return whether an LLM wrote the text of a row; that of rows of another run is unknown."""
    origin = row.provenance
    return bool(origin.request) and origin.kind != "annotate"


def _shown(totals: LLMTotals) -> list[dict[str, Any]] | None:
    """Return how many gold texts and contexts stood in prompts to each LLM; None: not counted."""
    if totals.gold_texts is None or totals.gold_contexts is None:
        return None
    return [
        {"llm": without_paths(llm), "texts": count, "contexts": totals.gold_contexts.get(llm, 0)}
        for llm, count in totals.gold_texts.items()
    ]


def _round(numbers: RoundMetrics) -> dict[str, Any]:
    return {
        "index": numbers.round,
        "added": numbers.added,
        "train_size": numbers.train_size,
        "misclassified": numbers.misclassified,
        "rejected": sum(numbers.rejected.values()),
        "failed": sum(numbers.failed.values()),
    }


def _reasons(run: Run) -> dict[str, dict[str, int]]:
    """Return the number of rejects and of failures for each reason."""
    rejected, failed = Counter[str](), Counter[str]()
    for done in run.rounds:
        rejected.update(done.metrics.rejected)
        failed.update(done.metrics.failed)
    return {"rejected": dict(rejected.most_common()), "failed": dict(failed.most_common())}


def _scores(run: Run) -> dict[str, Any]:
    """Return the scores of each round: names of the scores, and a row of values for each split."""
    rows = [
        (done.index, split, scores)
        for done in run.rounds
        for split, scores in (("select", done.metrics.select), ("test", done.metrics.test))
        if scores is not None
    ]
    names = dict.fromkeys(name for _, _, scores in rows for name in scores.names)
    return {
        "names": list(names),
        "n": {split: scores.n for _, split, scores in rows},
        "rows": [
            {"round": index, "split": split, "values": [scores.get(name) for name in names]}
            for index, split, scores in rows
        ],
    }


def _size(rows: int) -> str:
    for limit, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K")):
        if rows < limit:
            return name
    return "100K<n<1M" if rows < 1e6 else "1M<n<10M"
