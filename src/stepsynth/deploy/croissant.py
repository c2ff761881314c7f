"""The data card for machines: `croissant.json`, by Croissant 1.1 and its RAI vocabulary 1.0.

The vocabularies: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html and
https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html; provenance is W3C's PROV-O.
Like the cards, it holds no text of an LLM, no path and no address.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepsynth._util.files import write_json
from stepsynth.deploy.cards import card_facts, keywords, stated_licence, statements
from stepsynth.run_records import Manifest
from stepsynth.runfolder import open_run

_TERMS = (
    *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty"),
    *("excludes", "extract", "field", "fileObject", "fileProperty", "fileSet", "format"),
    *("includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path"),
    *("readLines", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("sdVersion", "separator", "source", "subField", "transform", "unArchive", "value"),
)
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _TERMS},
}
"""Croissant's own context, with PROV-O."""

_FORMATS = {".jsonl": "application/jsonlines", ".parquet": "application/x-parquet"}
_TYPES = {"round": "sc:Integer", "draw": "sc:Integer", "part": "sc:Integer"}
_PROV = {
    "request": "prov:wasGeneratedBy",
    "parents": "prov:wasDerivedFrom",
    "model": "prov:wasAttributedTo",
}
"""Column -> what it is in PROV-O."""

_LIST = {"isArray": True, "arrayShape": "-1"}


def write_croissant(place: Path) -> Path | None:
    """Write `croissant.json` beside the data set of a finished run, and return its path.

    Args:
        place: The run folder.

    Returns:
        None: the method makes no rows, so there is no data set.

    Raises:
        RunFolderError: The run is not done, or a file of it is damaged.
    """
    run = open_run(place)
    if not len(run.dataset):
        return None
    facts = card_facts(run, run.dataset, name=run.summary.task)
    data = run.folder.dataset
    found = croissant(facts, run.manifest, data, run.folder.path, is_flat=data.is_dir())
    write_json(run.folder.croissant, found)
    return run.folder.croissant


def croissant(
    facts: Mapping[str, Any],
    manifest: Manifest,
    data: Path,
    folder: Path,
    *,
    is_flat: bool,
    license_name: str = "other",
    where: str = "",
) -> dict[str, Any]:
    """Return the description of a data set.

    Args:
        facts: The result of `card_facts`.
        manifest: That of the run.
        data: The file of the rows, or the folder of their shards.
        folder: The folder of the description, in or below which `data` is.
        is_flat: Whether the fields of the provenance are columns of their own.
        license_name: The hub's name of the licence; "other": it is not stated.
        where: ORG/NAME on the hub; "": it is on no hub.
    """
    resource, source = _resource(data, data.relative_to(folder).as_posix())
    site = {"url": f"https://huggingface.co/datasets/{where}"} if where else {}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": facts["title"],
        "description": _describe(facts),
        "keywords": keywords(facts),
        "license": stated_licence(license_name) or "not stated",
        **site,
        "creator": {"@type": "sc:Organization", "name": where.partition("/")[0] or "not stated"},
        "dateCreated": manifest.ended,
        "datePublished": manifest.ended,
        "version": "1.0.0",
        "distribution": [resource],
        "recordSet": [_rows(facts, source, is_flat=is_flat)],
        **_responsible_ai(facts),
        **_provenance(facts, manifest),
    }


def _describe(facts: Mapping[str, Any]) -> str:
    data, llm = facts["data"], facts["llm"] or {}
    by = f"an LLM ({llm['model']})" if llm.get("model") else "an LLM"
    counts = {
        f"text written by {by}": data["written"],
        f"label chosen by {by}": data["labelled"],
        "gold rows": data["gold"],
    }
    listed = "; ".join(f"{name}: {count}" for name, count in counts.items() if count)
    return f"{data['rows']} training rows of {facts['task']['kind']}, made with stepsynth. {listed}"


def _resource(data: Path, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the file or files of the rows, and how a field names them."""
    if data.is_dir():
        shards = {
            "@type": "cr:FileSet",
            "@id": "shards",
            "encodingFormat": _FORMATS[".parquet"],
            "includes": f"{path}/*.parquet",
        }
        return shards, {"fileSet": {"@id": "shards"}}
    with data.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    one = {
        "@type": "cr:FileObject",
        "@id": data.name,
        "name": data.name,
        "contentUrl": path,
        "contentSize": f"{data.stat().st_size} B",
        "encodingFormat": _FORMATS[data.suffix],
        "sha256": sha256,
    }
    return one, {"fileObject": {"@id": data.name}}


def _rows(facts: Mapping[str, Any], source: Mapping[str, Any], *, is_flat: bool) -> dict[str, Any]:
    """Return the columns of a row: what each means, and where it stands in the file."""
    fields: list[dict[str, Any]] = []
    for name, meaning in facts["data"]["columns"].items():
        if name == "label" and facts["task"]["kind"] == "extractive_qa":
            for part, kind in (("text", "sc:Text"), ("answer_start", "sc:Integer")):
                found = _field(f"label/{part}", meaning, {**source, **_inside("label", part)})
                fields.append({**found, "dataType": [kind, "cr:Label"], **_LIST})
            continue
        is_inside = not is_flat and name not in ("text", "label", "context")
        extract = _inside("provenance", name) if is_inside else {"extract": {"column": name}}
        fields.append(_field(name, meaning, {**source, **extract}))
    return {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "name": "rows",
        "description": "The training rows, each with its provenance.",
        "field": fields,
    }


def _field(name: str, meaning: str, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"rows/{name}",
        "name": name,
        "description": meaning,
        "dataType": ["sc:Text", "cr:Label"] if name == "label" else _TYPES.get(name, "sc:Text"),
        **({"equivalentProperty": _PROV[name]} if name in _PROV else {}),
        **(_LIST if name == "parents" else {}),
        "source": source,
    }


def _inside(column: str, key: str) -> dict[str, Any]:
    return {"extract": {"column": column}, "transform": {"jsonPath": key}}


def _responsible_ai(facts: Mapping[str, Any]) -> dict[str, Any]:
    data, task, method = facts["data"], facts["task"], facts["method"]["name"]
    kinds = ", ".join(f"{kind} {count}" for kind, count in data["kinds"].items())
    collection = [
        *(["Synthetic data: texts written by an LLM"] if data["written"] else []),
        *(["Synthetic labels: chosen by an LLM"] if data["labelled"] else []),
        *(["Secondary Data Analysis: rows that were given"] if data["gold"] else []),
    ]
    return {
        "rai:dataCollection": f"The method {method} of stepsynth; rows by what they were written "
        f"for: {kinds}. The model's errors on gold rows may have decided what was written.",
        "rai:dataCollectionType": collection or ["Others: rows that were given"],
        "rai:dataAnnotationProtocol": "The label of a written row is the one that was asked for; "
        "of a row of the kind `annotate` the one that an LLM chose; else see the column `kind`.",
        "rai:personalSensitiveInformation": statements("shown", facts),
        "rai:dataBiases": [
            "The texts or labels may carry the biases of the LLM, and of the gold rows.",
            *(
                ["Rows by label: " + ", ".join(f"{k} {n}" for k, n in data["labels"].items())]
                if data["labels"]
                else []
            ),
        ],
        "rai:dataLimitations": statements("limits", facts),
        "rai:dataUseCases": [f"Training of a small model: {task['instruction'] or task['kind']}"],
    }


def _provenance(facts: Mapping[str, Any], manifest: Manifest) -> dict[str, Any]:
    """Return the run, the LLM and the gold rows behind a data set."""
    llm, data = facts["llm"], facts["data"]
    version = facts["versions"].get("stepsynth", "")
    made = {
        "@type": "prov:Activity",
        "prov:label": f"stepsynth {version}: method {facts['method']['name']}, "
        f"random seed {facts['random_seed']}",
        "prov:startedAtTime": manifest.began,
        "prov:endedAtTime": manifest.ended,
    }
    by = {"@type": "prov:SoftwareAgent", "prov:label": llm and (llm["model"] or llm["backend"])}
    gold = {
        "@type": "prov:Entity",
        "prov:label": f"gold rows of mine, digest {manifest.data.get('mine', 'not known')}",
    }
    return {
        "prov:wasGeneratedBy": made,
        **({"prov:wasAttributedTo": by} if llm else {}),
        **({"prov:wasDerivedFrom": gold} if data["gold"] or data["parents"] else {}),
    }
