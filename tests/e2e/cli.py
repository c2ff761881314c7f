"""Run the command line as a user does: in this process, or in one of its own."""

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, chdir
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from unittest.mock import patch

import pytest

import stepsynth as package
from stepsynth.cli.main import main

COMMAND = [sys.executable, "-m", "stepsynth"]


def stepsynth(*args: object, cwd: Path | None = None, stdin: str = "", **env: str):
    """Do a command in this process, and return what a process of its own would have ended with.

    Most of the seconds of a process go to imports. What is of the process itself (signals, its
    encoding, its children) needs `stepsynth_process`.
    """
    argv = [str(Path(package.__file__).parent / "__main__.py"), *map(str, args)]
    code: Any = 0
    with ExitStack() as stack:
        streams = {
            name: stack.enter_context(TemporaryFile("w+", encoding="utf-8", newline=""))
            for name in ("stdin", "stdout", "stderr")
        }
        streams["stdin"].write(stdin)
        streams["stdin"].seek(0)
        os.lseek(streams["stdin"].fileno(), 0, os.SEEK_SET)
        stack.callback(gc.set_threshold, *gc.get_threshold())
        stack.enter_context(patch.multiple(sys, argv=argv, **streams))
        stack.enter_context(patch.dict(os.environ, {"COLUMNS": "80", **env}))
        if cwd is not None:
            stack.enter_context(chdir(cwd))
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
        told = []
        for name in ("stdout", "stderr"):
            streams[name].seek(0)
            told.append(streams[name].read())
    return subprocess.CompletedProcess(argv, code, *told)


def stepsynth_process(*args: object, cwd: Path | None = None, stdin: str = "", **env: str):
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


def wait_until(
    is_so: Callable[[], Any], process: "subprocess.Popen[str] | None" = None, limit_s: float = 90.0
) -> None:
    """Wait until something is so; while it is not, a process that is given must go on."""
    ends = time.monotonic() + limit_s
    while not is_so():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.01)


needs_browser = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")


def draw_in_browser(page: Path, picture: Path, size: str) -> None:
    """Have a browser draw a page: without a word on its console."""
    options = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr"
    )
    places = [f"--user-data-dir={picture.parent / 'profile'}", f"--screenshot={picture}"]
    done = subprocess.run(
        ["chromium", *options.split(), f"--window-size={size}", *places, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    assert picture.stat().st_size > 50_000


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


def ok(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Do a command that succeeds, and return what it ended with."""
    done = stepsynth(*args, **options)
    assert done.returncode == 0, done.stderr
    return done


def in_json(*args: object, **options: Any) -> dict[str, Any]:
    """Do a command that succeeds, and return the JSON that it prints."""
    return summary_of(ok(*args, "--json", **options))


def refused(*args: object, code: int = 2, **options: Any) -> str:
    """Do a command that ends with a code, and return what it says on stderr: no traceback."""
    done = stepsynth(*args, **options)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


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
