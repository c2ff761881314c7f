"""Run the notebooks of the documentation anew, offline: `make docs` does."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
LIMIT_S = 600


def execute(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with the outputs of a fresh kernel, in an empty working directory.

    Raises:
        CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=LIMIT_S,
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    # What differs from one machine to the next is no part of the page.
    notebook.metadata.get("language_info", {}).pop("version", None)
    return notebook


def main() -> None:
    """Write each notebook with its outputs."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(execute(path), path)


if __name__ == "__main__":
    main()
