"""The house rules that a reader relies on: layers, sizes, names, what an import costs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import stepsynth

ROOT = Path(stepsynth.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

LAYERS = [
    {"errors"},
    {"_util"},
    {"registry"},
    {"records", "run_records"},
    {"prompts", "metrics"},
    {"tasks"},
    {"students", "llm", "retrieval", "curation", "executors"},
    {"methods"},
    {"data", "observer"},
    {"taskfile"},
    {"runfolder"},
    {"inputs"},
    {"dryrun"},
    {"review"},
    {"runner", "train"},
    {"preview", "comparison"},
    {"studies"},
    {"report"},
    {"deploy", "notebook", "results"},
    {"api"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def unit_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def test_every_file_is_in_a_layer():
    units = {unit_of(p) for p in FILES} - {"__init__", "__main__"}
    assert units - {"demo"} == set(LEVEL)


def imports_of_ours() -> Iterator[tuple[str, str, str]]:
    """Yield the place of each import of ours, the unit that it stands in, and what is imported."""
    for path in FILES:
        for line, module in imports(path):
            if module.startswith("stepsynth."):
                yield f"{path.relative_to(ROOT)}:{line} imports {module}", unit_of(path), module


def test_imports_point_down():
    assert [
        f"{place}, which is not below {unit}"
        for place, unit, module in imports_of_ours()
        for other in [module.split(".")[1]]
        if unit not in ("__init__", "__main__", other) and LEVEL[other] >= LEVEL[unit]
    ] == []


LEAVES = (
    *("llm.backends", "methods", "students", "tasks", "retrieval", "studies", "executors"),
    "cli",
)
"""Packages of which each file is one thing that goes by its own name."""


def is_face(module: str) -> bool:
    """Whether an import from outside takes a package, or a file that goes by its own name."""
    place = ROOT.joinpath(*module.split(".")[1:])
    package, _, name = module.removeprefix("stepsynth.").rpartition(".")
    is_leaf = package in LEAVES and not name.startswith("_")
    return place.is_dir() or not package or package == "_util" or is_leaf


def test_what_is_imported_from_outside_goes_through_the_face():
    assert [
        f"{place}: take it from the package"
        for place, unit, module in imports_of_ours()
        if module.split(".")[1] != unit and not is_face(module)
    ] == []


def dotted(path: Path) -> str:
    return ".".join(("stepsynth", *path.relative_to(ROOT).with_suffix("").parts))


def files_imported(path: Path) -> Iterator[str]:
    """Yield the files that a file imports, those of `from package import file` too."""
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_file_imports_itself_by_way_of_others():
    names = {dotted(path) for path in FILES}
    left = {dotted(path): set(files_imported(path)) & names for path in FILES}
    # What imports nothing that is left is taken away, until nothing is left but circles.
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


def test_the_llm_engine_is_an_island():
    known = {"errors", "registry", "_util", "llm"}
    assert [
        place
        for place, unit, module in imports_of_ours()
        if unit == "llm" and module.split(".")[1] not in known
    ] == []


def test_files_and_functions_are_small_enough_to_know():
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: size for path, size in sizes.items() if size > 400} == {}
    assert [
        f"{path}:{node.lineno} {node.name}"
        for path in FILES
        for node in nodes(path)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > 70
    ] == []


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stdout.splitlines()}


HEAVY = {"torch", "transformers", "pandas", "datasets", "sklearn", "scipy"}


@pytest.mark.slow
def test_importing_the_package_loads_no_heavy_library():
    assert not loaded_after("import stepsynth") & (HEAVY | {"numpy", "altair", "aiohttp"})


@pytest.mark.slow
def test_a_run_loads_no_web_server():
    code = "import sys, stepsynth.runner\nassert 'aiohttp.web' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_help_of_the_command_line_loads_no_heavy_library():
    code = "from stepsynth.cli.main import app\ntry:\n    app(['--help'])\nexcept SystemExit: pass"
    assert not loaded_after(code) & (HEAVY | {"altair", "aiohttp", "jinja2"})


def test_public_names_are_sorted_complete_and_resolve():
    assert list(stepsynth._HOMES) == sorted(stepsynth._HOMES)
    assert set(stepsynth.__all__) == set(stepsynth._HOMES)
    for name in stepsynth.__all__:
        assert getattr(stepsynth, name).__doc__
    with pytest.raises(AttributeError):
        stepsynth.no_such_name  # noqa: B018


def lines_claimed(*names: str) -> set[int]:
    """Return the paper's lines that the comments of functions of `s3.py` name."""
    source = (ROOT / "methods" / "s3.py").read_text(encoding="utf-8")
    claimed: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            comments = re.findall(
                r"#(.*)", "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])
            )
            for found in re.findall(
                r"[Ll]ines? ((?:\d+(?:-\d+)?(?:, | and )?)+)", " ".join(comments)
            ):
                for low, high in re.findall(r"(\d+)(?:-(\d+))?", found):
                    claimed |= set(range(int(low), int(high or low) + 1))
    return claimed


def test_the_algorithms_of_the_paper_are_claimed_line_by_line():
    assert lines_claimed("write_seed_data", "seed_with_rationales") == set(range(1, 9))
    assert lines_claimed("extrapolate_errors") == set(range(1, 12))


def test_no_pickle_is_used():
    for path in FILES:
        names = {module.split(".")[0] for _, module in imports(path)}
        assert not names & {"pickle", "joblib", "cloudpickle", "shelve", "marshal"}, path
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8")
