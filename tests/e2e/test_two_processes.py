"""Two processes do one task together over one store: nothing is sent twice, nothing is lost."""

import json
import signal
import time

import pytest

from benchmarks.clients import read_client, start_client
from benchmarks.mock_server import MockServer

ROWS, IN_FLIGHT, LATENCY_MS = 2000, 32, 50
GROUP = 64


@pytest.fixture
def slow_server():
    with MockServer(latency_ms=LATENCY_MS) as running:
        yield running


@pytest.fixture
def start(slow_server, tmp_path):
    """Start a client with results of its own; all share one store."""
    started = []

    def start_named(name):
        options = {"url": slow_server.url, "rows": ROWS, "in_flight": IN_FLIGHT}
        options |= {"store": tmp_path / "store.sqlite", "results": tmp_path / f"{name}.jsonl"}
        started.append(start_client("ours", options))
        return started[-1]

    yield start_named
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def texts(path):
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_two_processes_share_the_work_and_both_have_all_of_it(slow_server, start, tmp_path):
    first, second = (read_client(p) for p in [start("first"), start("second")])
    stats = slow_server.stats()
    assert (stats.requests, stats.repeated) == (ROWS, 0)
    assert (first.rows, first.lost) == (second.rows, second.lost) == (ROWS, 0)
    assert first.sent + second.sent == ROWS
    # Each did a good part: neither only waited for the other.
    assert min(first.sent, second.sent) > ROWS // 10
    assert stats.peak > IN_FLIGHT
    assert len(set(texts(tmp_path / "first.jsonl"))) == ROWS
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()


def test_what_a_killed_process_was_about_to_do_the_other_one_does(slow_server, start, tmp_path):
    killed, other = start("killed"), start("other")
    while slow_server.stats().distinct < ROWS // 2:
        assert killed.poll() is None
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    done = read_client(other, timeout_s=120)
    stats = slow_server.stats()
    assert (done.rows, done.lost) == (ROWS, 0)
    assert len(set(texts(tmp_path / "other.jsonl"))) == ROWS
    assert stats.distinct == ROWS
    assert stats.repeated <= IN_FLIGHT + GROUP
