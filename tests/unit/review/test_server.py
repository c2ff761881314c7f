"""The page of a review over HTTP: who may ask, what is answered, what is kept."""

import gzip
import http.client
import json
import os
import re
import shutil
import threading
import time
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import pytest

from stepsynth.review import ReviewServer
from stepsynth.review.deciding import write_gold_decisions
from stepsynth.runfolder import open_run
from tests.raw_http import send
from tests.threaded_server import ThreadedServer
from tests.unit.review.subject import make_run


@dataclass
class Served(ThreadedServer):
    review: ReviewServer

    def make_app(self):
        return self.review.make_app()

    @property
    def port(self):
        return int(re.search(r":(\d+)/", self.url)[1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run", hostile=True)


@pytest.fixture
def served(run):
    run.folder.review.unlink(missing_ok=True)
    with Served(ReviewServer(run, "p { color: red }")) as server:
        yield server


def call(served, path, body=None, *, token=None, **headers):
    """Return status, JSON (or text) and headers of an answer."""
    token = served.review.token if token is None else token
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        given.setdefault("Content-Type", "application/json")
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("GET" if body is None else "POST", f"/{token}/{path}", body, given)
        answer = connection.getresponse()
        raw = answer.read().decode()
        is_json = "json" in answer.headers["Content-Type"]
        return answer.status, json.loads(raw) if is_json else raw, answer.headers
    finally:
        connection.close()


def first_row(served):
    return call(served, "rows?view=rows")[1]["items"][0]["row"]


def reject(served, row, number=1, **more):
    given = {"id": f"decision-{number}", "data": "synthetic", "row": row, "what": "reject"}
    return call(served, "decide", given | more)


@pytest.mark.parametrize("path", ["", "rows", "text?data=synthetic&row=x"])
@pytest.mark.parametrize("token", ["", "wrong", "%E2%98%83", "x" * 5_000])
def test_without_the_token_nothing_is_answered(served, path, token):
    status, said, _ = call(served, path, token=token)
    assert status == 403
    assert "token" in said["error"]


@pytest.mark.parametrize("path", ["decide", "undo"])
def test_without_the_token_nothing_is_decided(served, run, path):
    assert call(served, path, {"id": "decision-1"}, token="wrong")[0] == 403
    assert not run.folder.review.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example:8010"},
        {"Host": "127.0.0.1.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_page_of_another_site_is_refused_even_with_the_token(served, run, headers):
    row = first_row(served)
    given = {"id": "decision-1", "data": "synthetic", "row": row, "what": "reject"}
    for path, body in (("rows", None), ("decide", given)):
        status, said, answer = call(served, path, body, **headers)
        assert (status, said["error"]) == (403, "this request comes from another site")
        assert "Access-Control-Allow-Origin" not in answer
    assert not run.folder.review.exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("OPTIONS", "*"),
        ("GET", "//"),
        ("GET", "/%ED%A0%80/rows"),
        ("GET", "http://a/{token}/rows"),
        ("GET", "/{token}%2Frows"),
        ("TRACE", "/"),
        ("PROPFIND", "/x/rows"),
    ],
)
def test_odd_paths_and_methods_are_no_way_in(served, method, path, caplog):
    status, said = send(served.port, method, path.format(token=served.review.token))
    assert status in (400, 403, 404)
    assert b"items" not in said
    assert caplog.records == []


def test_a_body_that_is_packed_is_refused(served, run):
    path = f"/{served.review.token}/decide"
    head = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    for body in (b"{}", gzip.compress(b"{}"), gzip.compress(bytes(2**25))):
        status, said = send(served.port, "POST", path, body, **head)
        assert (status, b"without a Content-Encoding" in said) == (400, True)
    assert not run.folder.review.exists()


def test_an_error_of_ours_is_an_answer_without_a_text(served, monkeypatch, caplog):
    def fail(*_):
        raise LookupError("a text of the run")

    monkeypatch.setattr("stepsynth.review.server.find_rows", fail)
    status, said, headers = call(served, "rows?view=rows")
    assert (status, said) == (500, {"error": "this is a bug of stepsynth: LookupError"})
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert caplog.records == []


def test_its_own_page_may_ask(served):
    origin = f"http://127.0.0.1:{served.port}"
    more = {"Origin": origin, "Sec_Fetch_Site": "same-origin"}
    assert call(served, "rows", **more)[0] == 200
    assert call(served, "rows", Host=f"localhost:{served.port}")[0] == 200


def test_the_page_runs_its_own_script_alone_and_is_kept_nowhere(served):
    status, page, headers = call(served, "")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    tags = re.findall(r"<(?:script|style)\b[^>]*>", page)
    assert len(tags) == 3
    assert all(f'nonce="{nonce}"' in tag for tag in tags)
    assert call(served, "")[2]["Content-Security-Policy"] != policy, "a nonce is used once"
    assert not re.search(r"\son\w+=|style=|src=|@import|url\(", page.split("<script")[0])
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "p { color: red }" in page
    assert "alert(" not in page, "no text of the run is in the page itself"


def test_the_filter_asks_for_a_label_as_it_is_named(served, monkeypatch):
    monkeypatch.setattr(served.review, "_table", replace(served.review._table, labels=("a  b",)))
    # Without a value an option's is its text with single spaces, which no row has.
    assert '<option value="a  b">a  b</option>' in call(served, "")[1]


def test_a_run_whose_name_is_no_utf_8_is_shown(run, tmp_path):
    folder = tmp_path / os.fsdecode(b"fruit \xff")
    shutil.copytree(run.folder.path, folder)
    with Served(ReviewServer(open_run(folder), "")) as served:
        status, page, _ = call(served, "")
    assert (status, "<h1>fruit \ufffd</h1>" in page) == (200, True)


def test_rows_come_in_pages_that_do_not_move_under_a_filter(served):
    status, first, headers = call(served, "rows?view=rows&state=undecided")
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert len(first["items"]) == min(50, first["total"])
    for number, item in enumerate(first["items"]):
        assert reject(served, item["row"], number)[0] == 200
    rest = call(served, f"rows?view=rows&state=undecided&from={first['next'] or 10**6}")[1]
    assert rest["total"] == first["total"] - len(first["items"])
    assert {i["row"] for i in rest["items"]}.isdisjoint({i["row"] for i in first["items"]})
    everything = call(served, "rows?view=rows")[1]
    assert everything["counts"]["rejected"] == len(first["items"])


def test_a_decision_is_on_disk_when_it_is_answered_and_counts_once(served, run):
    row = first_row(served)
    answers = [reject(served, row) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert answers[0][1] == answers[2][1]
    assert answers[0][1]["items"][0]["state"] == "rejected"
    assert run.folder.review.read_bytes().count(b"\n") == 1
    with Served(ReviewServer(run, "")) as other:
        assert other.review.token != served.review.token
        assert call(other, "rows?view=rows")[1]["counts"]["rejected"] == 1
        assert call(other, "undo", {"id": "undoing-1"})[0] == 200
    assert call(served, "rows?view=rows")[1]["counts"]["rejected"] == 0, "it sees the other's"
    assert call(served, "undo", {"id": "undoing-2"})[1] == {"error": "there is nothing to undo"}


def test_the_file_of_gold_decisions_has_those_of_two_servers_at_once(served, run, monkeypatch):
    began = threading.Event()

    def write_slowly(*args):
        is_first = not began.is_set()
        began.set()
        if is_first:
            time.sleep(0.5)
        write_gold_decisions(*args)

    monkeypatch.setattr("stepsynth.review.server.write_gold_decisions", write_slowly)
    rows = list(dict.fromkeys(each["row"] for each in call(served, "rows")[1]["items"]))[:2]
    asked = [
        {"id": f"decision-{row}", "data": "gold", "row": row, "what": "reject"} for row in rows
    ]
    with Served(ReviewServer(run, "")) as other:
        first = threading.Thread(target=call, args=(served, "decide", asked[0]))
        first.start()
        assert began.wait(10)
        assert call(other, "decide", asked[1])[0] == 200
        first.join()
    assert run.folder.gold_decisions.read_bytes().count(b"\n") == 2


def test_the_whole_of_a_long_text_is_sent_when_it_is_asked_for(served):
    items = call(served, "rows?view=rows&text=very+long")[1]["items"]
    found = call(served, "text?" + urlencode({"data": "synthetic", "row": items[0]["row"]}))[1]
    assert len(found["raw"]) == items[0]["more"]
    shown = call(served, "rows?view=rows&text=desrever")[1]["items"][0]
    both = call(served, "text?" + urlencode({"data": "synthetic", "row": shown["row"]}))[1]
    assert "\u202e" in both["raw"], "an edit keeps what it does not touch"
    assert "<U+202E>" in both["text"]


def test_gold_decisions_are_written_for_a_next_run(served, run):
    gold = call(served, "rows?view=errors")[1]["items"][0]
    given = {"id": "decision-1", "data": "gold", "row": gold["row"], "what": "reject"}
    status, said, _ = call(served, "decide", given)
    assert (status, said["items"][0]["state"]) == (200, "rejected")
    line = json.loads(run.folder.gold_decisions.read_text())
    assert (line["text"], line["decision"]) == (gold["text"], "drop")
    call(served, "undo", {"id": "undoing-1"})
    assert not run.folder.gold_decisions.exists()


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("decide", b"{", 400, "the body is no JSON"),
        ("decide", b"[" * 100_000, 400, "the body is no JSON"),
        ("decide", [], 400, "the body is no JSON object"),
        ("decide", {}, 400, '"id"'),
        ("decide", {"id": "decision-1", "data": "synthetic", "row": "x"}, 400, "no such row"),
        ("decide", b'{"id": "' + b"x" * 10_000_000 + b'"}', 413, "at most 4,194,304 bytes"),
        ("rows?from=-1", None, 400, "expected a number"),
        ("rows?round=x", None, 400, "expected a number"),
        ("text?data=synthetic&row=../../identity.json", None, 400, "no such row"),
        ("../rows", None, 404, "not found"),
        ("elsewhere", None, 404, "not found"),
        ("rows", {}, 405, "method not allowed"),
    ],
)
def test_what_is_no_request_gets_a_clear_answer_and_the_server_goes_on(
    served, run, path, body, status, said
):
    found, told, _ = call(served, path, body)
    assert (found, said in told["error"]) == (status, True), told
    assert call(served, "rows")[0] == 200
    assert not run.folder.review.exists()


def test_a_form_of_another_site_is_no_decision(served, run):
    body = b'{"id": "decision-1"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        status, said, _ = call(served, "undo", body, **{"Content_Type": kind})
        assert (status, said["error"]) == (400, "the content type must be application/json")
    assert not run.folder.review.exists()


def test_a_file_that_was_changed_by_hand_is_said_to_be(served, run):
    row = first_row(served)
    run.folder.review.write_text("{}\n")
    status, said, _ = reject(served, row)
    assert status == 409
    assert "line 1: not a decision" in said["error"]
    run.folder.review.unlink()


def test_where_nothing_can_be_written_it_is_said(served, run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    row = first_row(served)
    monkeypatch.setattr("stepsynth.review.log.os.write", full)
    status, said, _ = reject(served, row)
    assert (status, said["error"]) == (
        *(507, "the decision cannot be written: No space left on device"),
    )
