"""What the documentation shows is what the code takes: task files, commands, names."""

import json
import re
import shlex
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from stepsynth.comparison.plan import read_entries
from stepsynth.curation import Curation
from stepsynth.methods import methods
from stepsynth.retrieval import retrievers
from stepsynth.studies import studies
from stepsynth.taskfile.config import TaskFile, load_config
from stepsynth.taskfile.yaml_lines import parse_yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))

LANGUAGES = {"yaml", "bash", "python", ""}
"""Of fenced blocks; those without one show output, and hold no configuration."""

# What stands for the sections that an example leaves out.
BASE = {
    "task": {"instruction": "Sort it.", "labels": ["positive", "negative"]},
    "data": {"gold": "gold.jsonl", "corpus": "passages.jsonl"},
    "llm": {"backend": "scripted", "rules": [{"pattern": "", "answers": ["x"]}]},
}
SECTIONS = "|".join(TaskFile.model_fields)
KINDS = {
    "texts": "classification",
    "pairs": "sentence_pair",
    "questions": "extractive_qa",
    "sets": "multi_label",
}


def blocks(page):
    """Yield (first line, language, text) of each fenced block."""
    language, first, kept = None, 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*```(.*)", line)
        if not fence:
            kept.append(line)
        elif language is None:
            language, first, kept = fence[1].strip(), number, []
        else:
            yield first, language, "\n".join(kept)
            language = None
    assert language is None, f"{page.name}, line {first}: the block does not end"


BLOCKS = [(page, *block) for page in PAGES for block in blocks(page)]


def of_language(language):
    return [
        pytest.param(text, id=f"{page.name}:{line}")
        for page, line, found, text in BLOCKS
        if found == language
    ]


def inline_sections():
    """Return the pieces of prose that are a section: `curation: {clean: false}`."""
    found = {}
    for page in PAGES:
        prose = re.sub(r"(?ms)^\s*```.*?^\s*```", "", page.read_text(encoding="utf-8"))
        for code in re.findall(r"`([^`\n]+)`", prose):
            if re.match(rf"(?:{SECTIONS}): ", code) and "..." not in code:
                found.setdefault(code, f"{page.name}: {code}")
    return [pytest.param(code, id=name) for code, name in found.items()]


def load(text, folder, *overrides):
    """Load an example; what it leaves out is the base's, but a whole task file has all it needs."""
    values = parse_yaml(text, "the example").values
    assert values.keys() <= TaskFile.model_fields.keys()
    if not {"task", "data", "llm"} <= values.keys():
        values = {**BASE, **values, "data": {**BASE["data"], **values.get("data", {})}}
    path = folder / "example.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    return load_config(path, overrides)


def commands(text):
    """Yield the words of each stepsynth command of a block."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for i, word in enumerate(words):
            if Path(word).name == "stepsynth":
                yield [*takewhile(lambda word: word != "|", words[i + 1 :])]


def after(words, option):
    return [value for name, value in pairwise(words) if name == option]


def test_every_block_has_a_language_that_is_checked():
    wrong = [f"{p.name}, line {n}: {lang!r}" for p, n, lang, _ in BLOCKS if lang not in LANGUAGES]
    assert not wrong
    section = re.compile(rf"^(?:{SECTIONS}):", re.MULTILINE)
    hidden = [f"{p.name}, line {n}" for p, n, lang, t in BLOCKS if not lang and section.search(t)]
    assert not hidden, "a task file without the language yaml would not be checked"
    assert {page.name for page, _, lang, _ in BLOCKS if lang == "yaml"} >= {
        *("README.md", "methods.md", "tasks.md", "related.md"),
    }


@pytest.mark.parametrize("text", of_language("yaml"))
def test_task_files_and_sections_load(text, tmp_path):
    load(text, tmp_path)


@pytest.mark.parametrize("code", inline_sections())
def test_sections_in_prose_load(code, tmp_path):
    load(code, tmp_path)


@pytest.mark.parametrize("text", of_language("python"))
def test_python_compiles(text):
    compile(text, "the example", "exec")


@pytest.mark.parametrize("text", of_language("bash"))
def test_commands_name_what_there_is(text, tmp_path):
    from typer.main import get_command

    from stepsynth.cli.main import app

    known = get_command(app).commands
    for words in commands(text):
        if not words or words[0] == "--help":
            continue
        assert words[0] in known, words
        command = known[words[0]]
        if hasattr(command, "commands"):  # `store ls` and its kin
            assert words[1] in command.commands, words
            command = command.commands[words[1]]
        options = {name for option in command.params for name in option.opts} | {"--help"}
        assert {word for word in words if re.match(r"--\w", word)} <= options, words
        for names in after(words, "--methods"):
            if "..." not in names:
                read_entries(names.split(","))
        if words[0] in ("run", "compare"):
            load("{}", tmp_path, *after(words, "--set"))
        if words[0] == "study" and not words[1].isupper() and words[1] != "--help":
            studies().get(words[1])


def table(page, first):
    """Return the cells of the rows of the table whose first column has that head."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |")) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_table_of_methods_is_the_registry():
    rows = {row[0].strip("`"): row for row in table("docs/methods.md", "`method`")}
    assert set(rows) == set(methods().names())
    for name, (_, _, kinds, gold, calls, _) in rows.items():
        method = methods().get(name)
        assert [KINDS[kind] for kind in kinds.split(", ")] == list(method.kinds), name
        assert (gold == "none") == (method.sees == "none"), name
        assert ("no LLM at all" in calls) != method.needs_llm, name
        assert ("data.corpus" in calls) == method.needs_corpus, name
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^## (\w+)$", text)[: len(rows)] == list(rows)


def test_the_table_of_curation_has_every_key_and_default():
    rows = table("docs/methods.md", "key | default")
    shown = {key: row[1].strip("`") for row in rows for key in re.findall(r"`(\w+)`", row[0])}
    defaults = Curation().model_dump(mode="json")
    said = {key: "none" if value is None else str(value) for key, value in defaults.items()}
    assert shown == {k: v.lower() if v in ("True", "False") else v for k, v in said.items()}


def test_retrievers_and_studies_are_described():
    said = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for name in retrievers().names():
        assert f"**`{name}`**" in said
    rows = [row[0].strip("`") for row in table("docs/studies.md", "study")]
    assert sorted(rows) == sorted(studies().names())
