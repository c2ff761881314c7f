"""Run the command line as a user does, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "stepsynth"]


def stepsynth(*args: object, cwd: Path | None = None, stdin: str = "", **env: str):
    """Return the finished process of a command."""
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        input=stdin,
        cwd=cwd,
        env={**os.environ, **env},
        timeout=120,
        check=False,
    )


def start(*args: object) -> "subprocess.Popen[str]":
    """Start a command in a session of its own, as in a terminal of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def processes_of(session: int) -> dict[int, str]:
    """Return the processes of a session that have not ended: their ids and commands."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,sid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    return {
        int(row[0]): row[3] for row in rows if row[1] == str(session) and not row[2].startswith("Z")
    }


def workers_of(session: int) -> list[int]:
    """Return the processes of a session that another one has started to work for it."""
    return [pid for pid, command in processes_of(session).items() if "spawn_main" in command]


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON of the last line of stdout."""
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def write_task(
    folder: Path,
    *,
    url: str = "",
    rows: int = 60,
    method: str = "",
    llm: str = "",
    labels: str = "{a: apple, p: pear}",
) -> Path:
    """Write a task of fruit notes with its gold, and return the task file."""
    folder.mkdir(parents=True, exist_ok=True)
    gold = [
        {"text": f"{fruit} number {i} is {word}", "label": fruit[0]}
        for fruit, words in (("apple", ("red", "crisp")), ("pear", ("soft", "long")))
        for i, word in enumerate(words * (rows // 4))
    ]
    lines = "".join(json.dumps(row) + "\n" for row in gold)
    (folder / "gold.jsonl").write_text(lines, encoding="utf-8")
    task = folder / "fruit.yaml"
    task.write_text(
        f"""\
task:
  instruction: Say whether the fruit is an apple or a pear.
  text_name: fruit note
  labels: {labels}
data: {{gold: gold.jsonl}}
llm: {llm or f"{{backend: openai_compatible, base_url: '{url}', model: m, concurrency: 8}}"}
method: {method or "{name: s3, seed_size: 40, rounds: 2, rationales: false}"}
""",
        encoding="utf-8",
    )
    return task
