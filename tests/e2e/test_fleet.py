"""`recipes/fleet`: what the manifests say, and its jobs of Slurm with a stand-in for vLLM."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stepsynth.taskfile import load_config
from tests.e2e.cli import in_json, summary_of, wait_until, write_task

FLEET = Path(__file__).parents[2] / "recipes/fleet"
JOBS = ["servers.sbatch", "run.sbatch"]
MANIFESTS = {
    (each["kind"], each["metadata"]["name"]): each["spec"]
    for each in YAML(typ="safe").load_all(FLEET / "kubernetes.yaml")
}
SERVERS, RUN = MANIFESTS["StatefulSet", "vllm"], MANIFESTS["Job", "reviews"]


def container(spec):
    (only,) = spec["template"]["spec"]["containers"]
    return only


@pytest.fixture
def task(tmp_path):
    shutil.copy(FLEET / "task.yaml", tmp_path)
    rows = [{"text": f"film {i}", "label": ("positive", "negative")[i % 2]} for i in range(60)]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "task.yaml"


def test_the_task_file_asks_the_servers_of_the_manifests_and_can_be_planned(task):
    llm = load_config(task).llm
    service = MANIFESTS["Service", SERVERS["serviceName"]]
    (port,) = service["ports"]
    assert service["clusterIP"] == "None", "each server is to have a name of its own"
    assert list(llm.urls) == [
        f"http://vllm-{i}.vllm:{port['port']}/v1" for i in range(SERVERS["replicas"])
    ]
    assert llm.model in container(SERVERS)["command"]
    assert llm.model in (FLEET / "servers.sbatch").read_text()
    planned = in_json("plan", task, "--set", "method.seed_size=40")
    assert planned["total"]["requests"]["high"] >= 40


def test_the_manifests_name_each_other_and_hold_no_key():
    labels = SERVERS["template"]["metadata"]["labels"]
    assert SERVERS["selector"]["matchLabels"] == MANIFESTS["Service", "vllm"]["selector"] == labels
    claims = SERVERS["volumeClaimTemplates"]
    for spec, more in ((SERVERS, [claim["metadata"]["name"] for claim in claims]), (RUN, [])):
        pod = spec["template"]["spec"]
        known = {volume["name"] for volume in pod["volumes"]} | set(more)
        assert {mount["name"] for mount in container(spec)["volumeMounts"]} == known
        (key,) = container(spec)["env"]
        assert key == {
            "name": "VLLM_API_KEY",
            "valueFrom": {"secretKeyRef": {"name": "vllm", "key": "key"}},
        }
        assert container(spec)["resources"]["requests"].keys() == {"cpu", "memory"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(RUN)["volumeMounts"]}
    claimed = RUN["template"]["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claimed) in MANIFESTS
    assert container(RUN)["command"][-1].startswith(mounts[claimed] + "/")


def test_a_server_has_a_gpu_and_probes_and_is_not_confused_by_its_service():
    server = container(SERVERS)
    assert server["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert re.fullmatch(r"vllm/vllm-openai:v[\d.]+", server["image"])
    names = {port["name"] for port in server["ports"]}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[kind]["httpGet"]["path"] == "/health"
        assert server[kind]["httpGet"]["port"] in names
    assert SERVERS["template"]["spec"]["enableServiceLinks"] is False
    codes = RUN["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
    assert codes == [2, 3, 5]
    assert RUN["template"]["spec"]["restartPolicy"] == "Never", "what podFailurePolicy needs"


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_bash_and_says_what_it_needs(job):
    done = subprocess.run(["bash", "-n", FLEET / job], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (FLEET / job).read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert options.keys() >= {"job-name", "cpus-per-task", "mem", "time", "signal"}
    assert ("gpus-per-node" in options) == ("array" in options) == (job == "servers.sbatch")
    first_command = text.index("\nset -euo pipefail")
    assert "#SBATCH" not in text[first_command:], "Slurm reads none after the first command"


VLLM = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.say(200 if self.path == "/health" else 404, b"")

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        text = f"A note {os.urandom(8).hex()} of {len(asked)} words, and some more of it."
        said = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        self.say(200 if key else 401, json.dumps(said).encode())

    def log_message(self, *_):
        pass

assert sys.argv[1] == "serve", sys.argv
port = int(sys.argv[sys.argv.index("--port") + 1])
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_a_run_goes_on_with_other_servers_and_asks_for_nothing_again(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "vllm.py").write_text(VLLM)
    for name, command in (
        ("vllm", f'exec {sys.executable} {tmp_path}/vllm.py "$@"'),
        ("stepsynth", f'exec {sys.executable} -m stepsynth "$@"'),
        ("hostname", "echo 127.0.0.1"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{command}\n")
        (programs / name).chmod(0o755)
    fleet = tmp_path / "fleet"
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "FLEET": str(fleet)}
    env |= {"VLLM_API_KEY": "of-this-test", "POLL_S": "0.1"}
    llm, method = "{preset: vllm, model: m}", "{name: zerogen, seed_size: 20}"
    task = write_task(tmp_path, llm=llm, method=method)

    def serve(number):
        job = {**env, "SLURM_JOB_ID": str(number)}
        server = subprocess.Popen(["bash", FLEET / "servers.sbatch"], env=job)
        wait_until((fleet / f"{number}.url").exists, server)
        return server

    def run(*options):
        command = ["bash", FLEET / "run.sbatch", task, "--out", tmp_path / "run", "--json"]
        return subprocess.run(
            [*command, *options], env=env, capture_output=True, text=True, timeout=120
        )

    def end(server):
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 143

    base = os.getpid() % 9000 * 2
    first = serve(base)
    try:
        stopped = run("--set", "limits.requests=12")
    finally:
        end(first)
    assert stopped.returncode == 3, stopped.stderr
    assert not list(fleet.glob("*.url")), "a server that has ended is in no list"
    second = serve(base + 1)
    try:
        done = run()
    finally:
        end(second)
    assert done.returncode == 0, done.stderr
    used = summary_of(done)["llm"]
    assert (used["from_store"], used["requests"], used["failed"]) == (12, 8, 0)
