"""The documentation as a site: it builds without a warning, and every public name is on a page."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import stepsynth

ROOT = Path(__file__).parents[2]


def pages(entries):
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages(value)


def test_every_page_is_in_the_navigation():
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    there = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert set(pages(site["nav"])) == there
    for name in there - {"index.md"}:
        assert f"({name.removesuffix('.md')}/)" in (ROOT / "docs/llms.txt").read_text() or name in (
            *("paper.md", "related.md", "reliability.md"),
        )


def test_every_public_name_is_on_the_page_of_python():
    shown = [
        line.split()[1].rpartition(".")[2]
        for line in (ROOT / "docs/api.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("::: ")
    ]
    assert set(stepsynth.__all__) - {*shown, "StepsynthError", "StepsynthWarning"} == set()


def test_the_page_of_keys_is_what_the_classes_say():
    from scripts.task_file import PAGE, page

    assert PAGE.read_text(encoding="utf-8") == page(), "make docs writes it anew"
    assert "|  |" not in page()


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("zensical", reason="`make docs` is not installed")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    settings = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    own = settings.replace('paths = ["src"]', f'paths = ["{ROOT}/src"]')
    (tmp_path / "zensical.toml").write_text(own, encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site/api/index.html").read_text(encoding="utf-8")
    assert "Synthesise a data set and train a student, from objects." in page
