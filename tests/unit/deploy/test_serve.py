"""A model behind HTTP: what is answered, what is refused, what is counted."""

import gzip
import json
import os
import socket
import threading
import tracemalloc
import urllib.error
import urllib.request
from dataclasses import dataclass

import numpy as np
import pytest

from stepsynth.deploy import ModelServer
from stepsynth.metrics import Abstention, Calibration, Predictions
from stepsynth.records import Dataset, Example, LabelSet
from stepsynth.students import load_student
from stepsynth.students.linear import Linear
from tests.e2e.cli import wait_until
from tests.fakes import rows
from tests.raw_http import send, send_raw
from tests.threaded_server import ThreadedServer

FRUIT = rows(
    *((f"red round {i}", "a") for i in range(20)), *((f"long green {i}", "p") for i in range(20))
)


@dataclass
class Served(ThreadedServer):
    model: ModelServer

    def make_app(self):
        return self.model.make_app()

    @property
    def place(self):
        return self.url.removesuffix("/v1")

    @property
    def port(self):
        return int(self.place.rpartition(":")[2])


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fitted = Linear().start(("a", "p"), 0)
    fitted.fit(FRUIT)
    fitted.save(folder)
    return load_student(folder)


@pytest.fixture
def served(student):
    with Served(ModelServer(student, "fruit")) as server:
        yield server


def call(server, path, body=None, *, content_type="application/json"):
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(server.place + path, data)
    request.add_header("Content-Type", content_type)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            raw, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        raw, status = error.read(), error.code
    return status, raw.decode() if path == "/metrics" else json.loads(raw)


def test_each_text_gets_a_label_in_order(served):
    status, said = call(served, "/predict", {"texts": ["red round", "long green", "RED!"]})
    assert status == 200
    assert [each["label"] for each in said["predictions"]] == ["a", "p", "a"]
    first = said["predictions"][0]
    assert first["probability"] == max(first["probabilities"].values()) > 0.5
    assert call(served, "/predict", {"rows": [{"text": "red round"}]})[1] == {
        "predictions": [first]
    }
    assert call(served, "/predict", {"texts": []}) == (200, {"predictions": []})


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"no json", 400, "the body is no JSON"),
        (b"[" * 100_000, 400, "the body is no JSON"),
        ({"text": "x"}, 400, 'expected {"texts"'),
        ({"texts": ["x"], "rows": []}, 400, 'expected {"texts"'),
        ({"texts": "x"}, 400, 'expected {"texts"'),
        ({"texts": ["x", 7]}, 400, "text 1 must be a text"),
        ({"texts": ["  "]}, 400, "text 0 must be a text"),
        ({"texts": ["x"] * 10_001}, 400, "at most 10,000 texts"),
        ({"texts": ["x", "x" * 1_000_001]}, 400, "text 1 has more than 1,000,000 characters"),
        ([1, 2], 400, 'expected {"texts"'),
        (b'{"texts": ["' + b"x" * 11_000_000 + b'"]}', 413, "at most 10,485,760 bytes"),
        (b'{"texts": [NaN]}', 400, ""),
        (b'{"texts": [' + b"9" * 100000 + b"]}", 400, ""),
        (b'{"texts": ["\xff"]}', 400, ""),
        (b'{"texts":' * 50000, 400, ""),
        (b'{"rows": [{"text": Infinity}]}', 400, ""),
    ],
)
def test_what_is_no_request_gets_a_clear_answer_and_the_server_goes_on(served, body, status, said):
    found, told = call(served, "/predict", body)
    assert (found, said in told["error"]) == (status, True)
    assert call(served, "/predict", {"texts": ["red"]})[0] == 200


def test_forms_of_other_sites_and_other_paths_are_refused(served):
    assert call(served, "/predict", b"texts=x", content_type="text/plain")[0] == 415
    assert call(served, "/elsewhere")[0] == 404
    status, said = call(served, "/predict")
    assert status == 405
    assert "POST /predict" in said["error"]


def test_health_and_metrics_tell_what_is_served(served):
    call(served, "/predict", {"texts": ["red", "green"]})
    call(served, "/predict", b"x")
    status, about = call(served, "/health")
    assert status == 200
    assert about == {
        "status": "ok",
        "run": "fruit",
        "student": "linear",
        "labels": ["a", "p"],
        "temperature": None,
    }
    metrics = call(served, "/metrics")[1]
    assert 'stepsynth_requests_total{code="200"} 2' in metrics
    assert 'stepsynth_requests_total{code="400"} 1' in metrics
    assert "stepsynth_texts_total 2" in metrics


def test_who_hangs_up_half_way_is_no_failure_of_the_model(served):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(head + b"Content-Length: 100\r\n\r\n{")
    wait_until(lambda: 'code="400"} 1' in call(served, "/metrics")[1], limit_s=10)
    assert 'code="500"' not in call(served, "/metrics")[1]


def test_a_run_whose_name_is_no_utf_8_is_served(student):
    with Served(ModelServer(student, os.fsdecode(b"fruit \xff"))) as served:
        assert call(served, "/health")[1]["run"] == "fruit \ufffd"


def test_under_the_threshold_there_is_no_label(student):
    calibration = Calibration(4.0, 0.2, 0.1, ())
    raw = student.predict_probabilities(["red round", "red green"]).probabilities
    sure = calibration.apply(Predictions(("a", "p"), raw)).probabilities.max(axis=1)
    least = float(np.mean(sure))
    server = ModelServer(student, "fruit", calibration, Abstention(least, 1, 0, 1, 0.5))
    with Served(server) as served:
        said = call(served, "/predict", {"texts": ["red round", "red green"]})[1]["predictions"]
        assert [each["label"] for each in said] == ["a", None]
        assert said[0]["probability"] == pytest.approx(sure[0], abs=1e-5)
        assert "stepsynth_abstained_total 1" in call(served, "/metrics")[1]
        assert call(served, "/health")[1]["abstains_under"] == pytest.approx(least, abs=1e-5)


def test_requests_at_the_same_time_get_their_own_answers(served):
    wrong = []

    def ask(word, label):
        for i in range(20):
            said = call(served, "/predict", {"texts": [f"{word} {i}"] * (1 + i % 3)})[1]
            if [each["label"] for each in said["predictions"]] != [label] * (1 + i % 3):
                wrong.append(said)

    threads = [
        threading.Thread(target=ask, args=pair)
        for pair in [("red round", "a"), ("long green", "p")] * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_pairs_need_their_context(tmp_path):
    fitted = Linear().start(("a", "p"), 0)
    fitted.fit(FRUIT)
    fitted.save(tmp_path, columns={"text": "text", "context": "premise", "label": "label"})
    with Served(ModelServer(load_student(tmp_path), "pairs")) as served:
        status, said = call(served, "/predict", {"texts": ["x"]})
        assert (status, "text 0 needs a context" in said["error"]) == (400, True)
        row = {"text": "red", "context": "A fruit."}
        assert call(served, "/predict", {"rows": [row]})[0] == 200
        row["context"] = "x" * 1_000_000
        status, said = call(served, "/predict", {"rows": [row]})
        assert (status, "text 0 with its context has more than" in said["error"]) == (400, True)


def test_half_a_character_is_a_text_and_what_a_model_cannot_take_fails_alone(served, monkeypatch):
    assert call(served, "/predict", b'{"texts": ["red \\ud83d"]}')[0] == 200
    whole = type(served.model._student).predict_examples

    def fail(student, rows):
        if any("poison" in row.text for row in rows):
            raise RuntimeError("boom")
        return whole(student, rows)

    monkeypatch.setattr(type(served.model._student), "predict_examples", fail)
    answers = {}

    def ask(text):
        answers[text] = call(served, "/predict", {"texts": [text]})

    texts = [f"red {i}" for i in range(10)] + ["poison"]
    threads = [threading.Thread(target=ask, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.pop("poison") == (500, {"error": "the model failed: RuntimeError"})
    assert {status for status, _ in answers.values()} == {200}


@pytest.mark.parametrize("packing", ["gzip", "br", "gzip, identity"])
def test_a_body_that_is_packed_is_refused_and_never_unpacked(served, packing):
    head = {"Content-Type": "application/json", "Content-Encoding": packing}
    for body in (b'{"texts": ["red"]}', gzip.compress(b'{"texts": ["red"]}')):
        status, said = send(served.port, "POST", "/predict", body, **head)
        assert status == 415
        assert b"without a Content-Encoding" in said
    bomb = gzip.compress(bytes(2**25))
    tracemalloc.start()
    try:
        assert send(served.port, "POST", "/predict", bomb, **head)[0] == 415
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("what", "head"),
    [
        (b"GET /health HTTP/1.1", {"Host": "a", "host": "b"}),
        (b"GET /\xff HTTP/1.1", {"Host": "a"}),
        (b"GET /health HTTP/1.1", {"Host": "a", "X": "x" * 100_000}),
        (b"GET /health HTTP/1.1", {"Host": "a"} | {f"X{i}": "x" for i in range(5_000)}),
        (b"POST /predict HTTP/1.1", {"Content-Length": "2", "Transfer-Encoding": "chunked"}),
        (b"POST /predict HTTP/1.1", {"Content-Length": "2", "content-length": "3"}),
        (b"hello", {}),
    ],
)
def test_what_is_no_http_is_refused_and_not_logged(served, what, head, caplog, capfd):
    assert send_raw(served.port, what, head, b"{}")[0] == 400
    assert call(served, "/predict", {"texts": ["red"]})[0] == 200
    assert caplog.records == []
    assert capfd.readouterr().err == ""


def test_who_never_ends_a_request_holds_nobody_up(served):
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(100)]
    try:
        for place, each in enumerate(slow):
            begun = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{"
            each.sendall(begun[: len(begun) - place % 40])
        assert call(served, "/predict", {"texts": ["red"]})[0] == 200
    finally:
        for each in slow:
            each.close()
    assert call(served, "/health")[0] == 200


def test_sets_of_labels_are_lists_and_each_probability_stands_for_itself():
    sets = [LabelSet(("a",)), LabelSet(("p",)), LabelSet(("a", "p")), LabelSet(())]
    texts = ["red round", "long green", "red round and long green", "nothing"]
    pairs = list(zip(texts, sets, strict=True)) * 6
    fitted = Linear().start(("a", "p"), 0)
    fitted.fit(Dataset(Example(text, label) for text, label in pairs))
    with Served(ModelServer(fitted, "fruit")) as server:
        _, said = call(server, "/predict", {"texts": texts})
        _, counts = call(server, "/metrics")
    assert [each["label"] for each in said["predictions"]] == [["a"], ["p"], ["a", "p"], []]
    both = said["predictions"][2]["probabilities"]
    assert min(both["a"], both["p"]) > 0.5
    assert "stepsynth_abstained_total 0" in counts
