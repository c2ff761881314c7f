"""Whatever a provider does: every row is there or is listed as failed, none twice, none empty.

And what no retry can mend is one error that says what is wrong and what to do, not a long wait.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, nullcontext

import pytest

from benchmarks.clients import read_client, start_client
from stepsynth.errors import ProviderError
from stepsynth.llm import LLM, Completion, Failed, Request
from stepsynth.llm.backends.openai_compatible import OpenAICompatible, OpenAICompatibleBackend
from stepsynth.llm.store.store import Store
from tests.e2e.cli import stepsynth, summary_of, write_task
from tests.stub_server import completion, failure

ROWS, WORDS = 300, 64
CAUSES = {
    "429": "rate_limit",
    "500": "server_error",
    "503": "server_error",
    "hang": "timeout",
    "reset": "connection",
    "malformed": "malformed",
    "empty": "empty_body",
    "empty-content": "empty",
    "length": "",  # an answer, though a cut one
}


@pytest.fixture
def faulty(mock_llm, tmp_path):
    """Start the mock LLM with options; what is yielded returns its URL and its counters."""

    @contextmanager
    def serve(*options):
        port = tmp_path / f"port-{time.monotonic_ns()}"
        command = [sys.executable, str(mock_llm), "--port-file", str(port), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not port.exists():
                assert process.poll() is None, "the mock LLM did not start"
                time.sleep(0.01)
            base = f"http://127.0.0.1:{port.read_text()}"

            def stats():
                with urllib.request.urlopen(f"{base}/stats", timeout=10) as answer:
                    return json.load(answer)

            yield f"{base}/v1", stats
        finally:
            process.terminate()
            process.wait(10)

    return serve


def send(url, store=None, *, rows=ROWS, told=None, **settings):
    """Return what came for each row, and what was used; `told` gets how it went."""
    settings = {"model": "mock", "concurrency": 64, "timeout_s": 30, **settings}
    backend = OpenAICompatibleBackend(OpenAICompatible(base_url=url, **settings), 0)
    llm = LLM(backend, store=None if store is None else Store(store))
    llm.on_progress = (lambda _: None) if told is None else told.append
    requests = (Request(f"Write text number {i}.", "faults") for i in range(rows))
    try:
        return list(llm.stream(requests, phase="faults", total=rows)), llm.usage
    finally:
        llm.close()


def check_rows(answers, usage):
    """Every row is there or is failed with its cause; none twice, none empty, cut ones marked."""
    assert len(answers) == ROWS
    assert len({answer.request_id for answer in answers}) == ROWS
    good = [answer for answer in answers if isinstance(answer, Completion)]
    failed = [answer for answer in answers if isinstance(answer, Failed)]
    assert len(good) + len(failed) == ROWS
    assert all(answer.text.strip() for answer in good)
    assert len({answer.text for answer in good}) == len(good)
    for answer in good:
        assert answer.truncated == (len(answer.text.split()) < WORDS), answer
    assert all(answer.reason and answer.message for answer in failed)
    assert usage.failures.total() == len(failed)
    return good, failed


@pytest.mark.parametrize("rate", [0.05, 0.3])
@pytest.mark.parametrize("kind", [*CAUSES, "all"])
def test_every_row_is_there_or_is_failed_with_its_cause(faulty, tmp_path, kind, rate):
    kinds = list(CAUSES) if kind == "all" else [kind]
    faults = ",".join(f"{each}:{rate / len(kinds)}" for each in kinds)
    with faulty("--faults", faults, "--retry-after", "0.02", "--latency-ms", "5") as (url, stats):
        # A busy machine answers late: a short time-out would ask for answers again that came.
        timeout_s = 1 if "hang" in kinds else 60
        answers, usage = send(url, tmp_path / "store.sqlite", timeout_s=timeout_s)
        counted = stats()
    _, failed = check_rows(answers, usage)
    assert len(failed) <= ROWS // 50
    caused = {CAUSES[each] for each in kinds if CAUSES[each]}
    assert {answer.reason for answer in failed} <= caused | {"exhausted"}
    # What the server did is what the engine says that it did.
    assert counted["faults"].keys() <= set(kinds)
    assert counted["faults"]
    # A pause of a busy machine may end a request before it has left, or before its answer is read.
    late = usage.setbacks["timeout"] - counted["faults"].get("hang", 0)
    assert late == 0 if "hang" not in kinds else late >= 0
    assert 0 <= usage.requests - counted["requests"] <= late
    assert counted["repeat_after_ok"] <= late
    assert set(usage.setbacks) <= caused | {"truncated"}
    faults_done = sum(times for each, times in counted["faults"].items() if CAUSES[each])
    assert 0 <= sum(usage.setbacks[cause] for cause in caused) - faults_done <= late


@pytest.mark.parametrize("kind", ["429", "500", "hang"])
def test_faults_at_random_are_no_overload(faulty, kind):
    told = []
    # A pause of a busy machine must not end what is in flight: that would look like overload.
    timeout_s = 2 if kind == "hang" else 60
    with faulty("--faults", f"{kind}:0.05", "--retry-after", "0.02") as (url, stats):
        send(url, told=told, timeout_s=timeout_s)
        assert stats()["faults"][kind] > 5
    assert min(status.allowed for status in told) == 64


@pytest.mark.parametrize("over_limit", ["429", "queue"])
def test_a_full_server_is_served_without_loss(faulty, tmp_path, over_limit):
    # In a process of its own, where waits are as long as they are for users.
    options = ["--max-concurrent", "16", "--over-limit", over_limit, "--latency-ms", "40"]
    with faulty(*options, "--retry-after", "0.1") as (url, stats):
        asked = {"url": url, "rows": ROWS, "in_flight": 64, "store": tmp_path / "store.sqlite"}
        done = read_client(start_client("ours", asked))
        assert stats()["repeat_after_ok"] == 0
    assert (done.rows, done.lost) == (ROWS, 0)


def unused_url():
    """A URL where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


@contextmanager
def silent_url():
    """A URL whose host does not even accept connections, as one behind a firewall."""
    waiting = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # the queue is full after one or two
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    for one in waiting:
        one.close()


def fails(url, **settings):
    """Return the one error that a run ends with."""
    with pytest.raises(ProviderError) as caught:
        send(url, **settings)
    assert caught.value.hint, "the next step is to be named"
    return caught.value


# 5 seconds are what a user waits at most; the rest is for a busy machine.
quick = pytest.mark.timeout(12)
in_flight = pytest.mark.parametrize("concurrency", [1, 64])


@quick
@in_flight
def test_a_wrong_key_is_said_at_once(faulty, monkeypatch, concurrency):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-4711")
    with faulty("--key", "right") as (url, stats):
        error = fails(url, concurrency=concurrency)
        assert stats()["statuses"]["401"] <= max(2, concurrency)
    assert "401" in error.message
    assert "wrong API key" in error.message
    assert "OPENAI_API_KEY" in error.hint
    assert "sk-wrong-4711" not in str(error)


@quick
@in_flight
def test_a_wrong_model_is_said_at_once(faulty, concurrency):
    with faulty("--model", "small") as (url, stats):
        error = fails(url, model="large", concurrency=concurrency)
        assert stats()["requests"] <= max(2, concurrency)
    assert "no such model: large" in error.message
    assert "llm.model" in error.hint


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
URL = "the URL itself"


@quick
@in_flight
@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda url: nullcontext(url.removesuffix("/v1")), "404"),
        (lambda _: nullcontext(unused_url()), URL),
        (lambda _: nullcontext("http://no-such-host.invalid/v1"), "no-such-host.invalid"),
        pytest.param(lambda _: silent_url(), URL, marks=LINUX),
        (lambda url: nullcontext(url.replace("http:", "https:")), "no secure connection"),
    ],
    ids=["wrong path", "nothing listens", "no such host", "no connection", "https to plain port"],
)
def test_a_url_that_leads_nowhere_is_said_at_once(server, concurrency, place, said):
    with place(server.url) as url:
        error = fails(url, concurrency=concurrency)
    assert (url if said == URL else said) in error.message
    assert "llm.base_url" in error.hint


def bytes_under(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                yield path, file.read()


SECRET = "sk-secret-99-never-written"


@pytest.mark.parametrize(("status", "code"), [(400, 4), (401, 4), (500, 0), (200, 0)])
def test_a_key_that_the_provider_repeats_is_written_nowhere(tmp_path, server, status, code):
    method = "{name: zerogen, seed_size: 16}"
    task = write_task(tmp_path, url=server.url, method=method)

    def answer(number, body):
        if body["seed"] % 4 and code == 0:  # the others fail whenever they are tried
            return completion(f"a text for {body['seed']}")
        said = f"no use for {server.headers[number - 1]['Authorization']}"
        echoed = {"WWW-Authenticate": said, "X-Request-Id": SECRET}
        if status == 200:  # no JSON: the raw body is kept
            return 200, echoed, said.encode()
        return failure(status, said, **echoed)

    server.answer = answer
    run = ["run", task, "--out", tmp_path / "run", "--json", "--set", "llm.max_attempts=2"]
    done = stepsynth(*run, OPENAI_API_KEY=SECRET)
    assert done.returncode == code, done.stderr
    assert code or summary_of(done)["llm"]["failed"]
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in done.stdout + done.stderr
    files = dict(bytes_under(tmp_path / "run"))
    assert any(name.endswith(".sqlite") for name in files)
    assert [name for name, content in files.items() if SECRET.encode() in content] == []
