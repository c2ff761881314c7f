"""The notebooks of the documentation run offline, and their outputs are those of this code."""

import pytest

pytest.importorskip("nbclient", reason="`pip install nbclient ipykernel`")
pytest.importorskip("ipykernel", reason="`pip install nbclient ipykernel`")

import nbformat

from scripts.notebooks import FOLDER, execute

FILES = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_a_notebook_runs_and_shows_what_it_showed(path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    old, new = nbformat.read(path, as_version=4), execute(path)
    for before, after in zip(old.cells, new.cells, strict=True):
        assert results(before) == results(after), before.source
        told = [each for each in after.get("outputs", ()) if each.output_type == "stream"]
        assert not told, "nothing is printed, and nothing is warned of"


def results(cell):
    """Return the values of a cell as text; the times of a run differ, and stand in its display."""
    return [
        each.data["text/plain"]
        for each in cell.get("outputs", ())
        if each.output_type == "execute_result"
    ]
