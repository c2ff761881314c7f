"""The tutorial, as it stands on its page, runs: with fewer rows, and the LLM that it names."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import stepsynth
from tests.docs.test_docs import blocks
from tests.embedded import needs_model

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
FEWER = {
    "seed_size: 60": "seed_size: 30, rationales: false",
    "s3,zerogen,gold --seeds 2 --budget 60": "zerogen,gold --seeds 1 --budget 30",
}


def commands(text):
    """Yield the commands that end by themselves; what is installed is there already."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["python"]:
            yield [sys.executable, *words[1:]]
        elif words[:1] == ["stepsynth"] and words[1] not in ("review", "serve"):
            yield [sys.executable, "-m", *words]


@needs_model
@pytest.mark.timeout(900)
def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = []
    for _, language, text in blocks(PAGE):
        for words, fewer in FEWER.items():
            text = text.replace(words, fewer)
        if language == "yaml":
            Path("task.yaml").write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, str(PAGE), "exec"), {"__name__": "page"})
        for command in commands(text) if language == "bash" else ():
            done = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "120"}
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            ran.append(command[3] if "-m" in command else "python")
    before = ["python", "init", "check", "plan", "preview"]
    assert ran == [*before, "run", "run", "predict", "predict", "compare"]
    assert "0." in capsys.readouterr().out
    assert stepsynth.open_run("runs/task-s3-0").is_done
    assert Path("runs/task-compare/compare.html").exists()
