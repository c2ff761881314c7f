"""What the shell proposes after Tab."""

import errno
import os

import pytest
from typer.testing import CliRunner

from stepsynth.cli._completion import find_runs
from stepsynth.cli.main import app


@pytest.fixture(autouse=True)
def _runs(tmp_path, monkeypatch):
    """Two finished runs, and a folder that is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("runs/mails-s3-0", "runs/mails-compare/zerogen/1"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file in ("identity.json", "config.yaml"):
            (folder / file).write_text("{}")
    (tmp_path / "data").mkdir()


def proposed(line: str) -> list[str]:
    """Return what bash is given for a line that Tab is pressed at the end of."""
    words = line.split(" ")
    words = ["stepsynth", *words]
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    env = {"_STEPSYNTH_COMPLETE": "complete_bash", **asked}
    done = CliRunner().invoke(app, [], env=env, prog_name="stepsynth")
    assert done.exit_code == 0, done.output
    return done.output.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pre", ["preview", "predict"]),
        ("run task.yaml --dry", ["--dry-run"]),
        ("predict ", ["runs/mails-compare/zerogen/1", "runs/mails-s3-0"]),
        ("predict runs/mails-s", ["runs/mails-s3-0"]),
        ("diff runs/mails-s3-0 runs/mails-c", ["runs/mails-compare/zerogen/1"]),
        ("study advice runs/mails-s", ["runs/mails-s3-0"]),
        ("predict data/", []),
        ("compare t.yaml --methods s3,zerog", ["s3,zerogen"]),
        ("compare t.yaml --methods zerogen,zerog", []),
        ("run t.yaml --set method=gold", ["method=gold", "method=goldgen"]),
        ("run t.yaml --set student=l", ["student=linear"]),
        ("run t.yaml --executor d", ["dask"]),
        ("study cov", ["coverage"]),
    ],
)
def test_tab_proposes(line, expected):
    assert proposed(line) == expected


def test_completion_can_be_installed():
    done = CliRunner().invoke(app, ["--help"])
    assert "--install-completion" in done.output


def test_a_folder_that_may_not_be_entered_is_passed_over(tmp_path, monkeypatch):
    """Root may enter each, so a system call stands in for one that may not."""
    (tmp_path / "runs/closed").mkdir()
    stat, scandir = os.stat, os.scandir

    def refusing(call):
        def asked(path, *args, **options):
            if "closed" in str(path):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return call(path, *args, **options)

        return asked

    monkeypatch.setattr(os, "stat", refusing(stat))
    monkeypatch.setattr(os, "scandir", refusing(scandir))
    found = [place.name for place in find_runs(tmp_path / "runs", 3)]
    assert found == ["1", "mails-s3-0"]
