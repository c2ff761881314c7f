"""A Ray cluster of two nodes: the shards of a run, and a comparison while a node is taken away.

`python -m tests.ray_cluster FOLDER` prints what came of them as JSON.

Ray rewrites addresses of this machine to those of its network, so this runs in a network namespace
that has the loopback interface alone.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.mock_server import MockServer
from stepsynth import run
from stepsynth.comparison.run import run_plan
from tests.clusters import Told, executor_of, finish_slowly, plan_in, results
from tests.e2e.cli import write_task

RAY = str(Path(sys.executable).parent / "ray")
PORT = 6399


def ray(*arguments):
    subprocess.run([RAY, *arguments], check=True, capture_output=True, timeout=60)


def start_node(*where):
    ray("start", *where, "--node-ip-address=127.0.0.1", "--num-cpus=1", "--disable-usage-stats")


def raylets():
    found = subprocess.run(["pgrep", "-f", "raylet/raylet "], capture_output=True, text=True)
    return sorted(map(int, found.stdout.split()))


def write_the_same_in_shards(folder, settings):
    """Return whether two shards on the cluster write what one process does."""
    written = []
    with MockServer() as server:
        for name, shards, executor in (("one", 1, "local"), ("two", 2, "ray")):
            llm = f"{{preset: vllm, model: m, base_url: '{server.url}', shards: {shards}}}"
            method = "{name: zerogen, seed_size: 300}"
            task = write_task(folder / f"task-{name}", llm=llm, method=method)
            task.write_text(task.read_text() + f"executors: {json.dumps({'ray': settings})}\n")
            run(task, out=folder / name, executor=executor)
            written.append((folder / name / "dataset.jsonl").read_bytes())
    return written[0] == written[1]


def main(folder):
    place = tempfile.mkdtemp(prefix="ray-")  # Ray's sockets need a short path
    head = (f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={place}")
    start_node("--head", *head)
    first = raylets()
    start_node(f"--address=127.0.0.1:{PORT}")
    second = set(raylets()) - set(first)
    settings = {"address": f"127.0.0.1:{PORT}", "cpus": 1}
    plan, told = plan_in(folder), Told()

    def take_away():
        while not list(plan.out.glob("*/*/config.yaml")):
            time.sleep(0.1)
        for pid in second:
            os.kill(pid, 9)

    try:
        is_same = write_the_same_in_shards(folder / "shards", settings)
        threading.Thread(target=take_away, daemon=True).start()
        executor = executor_of("ray", settings)
        ended = run_plan(plan, finish_slowly, jobs=2, watcher=told, executor=executor)
    finally:
        ray("stop", "--force")
        shutil.rmtree(place, ignore_errors=True)
    said = {
        "same in shards": is_same,
        "ended": sorted(told.ended),
        "warnings": told.warnings,
        "failures": [failure.message for failure in ended.failures.values()],
        "stopped": ended.stopped,
        "error": ended.error and ended.error.message,
        "results": results(plan.out),
    }
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
