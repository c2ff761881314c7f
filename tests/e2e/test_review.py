"""`stepsynth review` as a user has it: over HTTP, in a browser, killed; `run` goes on with it."""

import asyncio
import http.client
import json
import signal
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

import stepsynth as package
from tests.browser import browser, needs_chromium
from tests.e2e.cli import in_json, ok, refused, start, stepsynth, write_task
from tests.unit.review.subject import HOSTILE, make_run

ROWS = 200


@pytest.fixture
def task(tmp_path):
    """A task whose LLM writes other texts each time, all with the wrong fruit in them."""
    rules = [
        {
            "pattern": rf"Write[^\n]* {fruit}",
            "answers": [f"{other} of day {i}, {word}" for i in range(1500) for word in words],
        }
        for fruit, other, words in (
            *(
                ("apple", "a soft pear", ("long", "ripe")),
                ("pear", "a red apple", ("crisp", "new")),
            ),
        )
    ]
    method = f"{{name: s3, seed_size: {ROWS}, rounds: 1, rationales: false, drop_duplicates: true}}"
    llm = json.dumps({"backend": "scripted", "rules": rules})
    return write_task(tmp_path, llm=llm, method=method)


@pytest.fixture
def run(task, tmp_path):
    ok("run", task, "--out", tmp_path / "run", "--json")
    return tmp_path / "run"


@contextmanager
def reviewing(run, port=0):
    """Start the command, and yield it with the address that it prints."""
    process = start("review", run, "--port", port)
    try:
        assert process.stderr is not None
        yield process, process.stderr.readline().strip()
    finally:
        process.kill()
        process.communicate()


def call(url, path, body=None, **headers):
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    more = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.request("POST" if body else "GET", place.path + path, data, headers | more)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def reject(row, number):
    return {"id": f"decision-{number}", "data": "synthetic", "row": row, "what": "reject"}


def test_it_answers_its_own_page_alone_and_run_goes_on_with_what_is_decided(task, run):
    with reviewing(run) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert call(url.rsplit("/", 2)[0] + "/", "rows")[0] == 403
        assert call(url, "rows", Origin="https://evil.example")[0] == 403
        assert call(url, "decide", b"x" * 10_000_000)[0] == 413
        rows = [each["row"] for each in call(url, "rows?view=rows")[1]["items"][:3]]
        assert call(url, "decide", reject(rows[0], 1))[0] == 200
        process.kill()
    with reviewing(run) as (process, other):
        assert other != url, "the token is another"
        assert call(other, "rows?view=rows")[1]["counts"]["rejected"] == 1
        assert call(other, "decide", reject(rows[0], 1))[0] == 200, "sent again"
        better = {"id": "decision-2", "data": "synthetic", "row": rows[1], "what": "edit"}
        assert call(other, "decide", better | {"text": "a better text"})[0] == 200
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert (process.returncode, "Traceback" in said) == (0, False), said
    assert (run / "review.jsonl").read_bytes().count(b"\n") == 2

    before = package.open_run(run).dataset
    summary = in_json("run", task, "--out", run)
    last = summary["rounds"][-1]
    assert summary["llm"]["requests"] == 0
    assert (last["round"], last["review"]["edited"], last["review"]["rejected"]) == (2, 1, 1)
    texts = package.open_run(run).dataset.texts
    assert texts == ["a better text" if i == 1 else t for i, t in enumerate(before.texts)][1:]
    assert "1 row edited, 1 rejected by a reviewer" in stepsynth("run", task, "--out", run).stdout


def test_files_of_annotation_tools_go_out_and_come_back(run, tmp_path):
    for tool in ("label-studio", "argilla"):
        done = ok("review", run, "--export", tool, "-o", tmp_path / f"{tool}.json")
        assert ("<Choices" in done.stdout) == (tool == "label-studio")
    records = json.loads((tmp_path / "argilla.json").read_text())
    records[0]["responses"] = {"verdict": [{"value": "reject", "user_id": "ada"}]}
    (tmp_path / "back.json").write_text(json.dumps(records))
    said = stepsynth("review", run, "--import", tmp_path / "back.json")
    assert "1 decisions taken, 0 of" in said.stderr
    said = stepsynth("review", run, "--import", tmp_path / "back.json")
    assert "0 decisions taken, 1 of" in said.stderr
    assert (run / "review.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--export", "argilla"], "--export needs --out"),
        (["--export", "prodigy", "-o", "x"], "prodigy"),
        (["--import", "none.json"], "there is no such file"),
    ],
)
def test_what_cannot_be_meant_is_said(run, args, said):
    assert said in refused("review", run, *args, cwd=run)
    assert "no run is here" in refused("review", run / "rounds")


def test_a_port_that_is_taken_is_said(run):
    with reviewing(run) as (_, url):
        assert "cannot be listened at" in refused("review", run, "--port", urlsplit(url).port)


@needs_chromium
def test_in_a_browser_two_hundred_rows_are_reviewed_by_keyboard(task, run, tmp_path):
    before = package.open_run(run).dataset
    asyncio.run(review_by_keyboard(run, tmp_path / "profile"))
    review = in_json("run", task, "--out", run)["rounds"][-1]["review"]
    rejected, edited, relabelled = ROWS // 4, 1, ROWS // 4
    assert (review["rejected"], review["edited"], review["relabelled"]) == (
        *(rejected, edited, relabelled),
    )
    assert review["approved"] == ROWS - rejected - edited - relabelled
    after = package.open_run(run).dataset
    other = {"a": "p", "p": "a"}
    wanted = [
        ("edited <b>by</b> hand", row.label) if i == ROWS - 1
        else (row.text, other[row.label]) if i % 4 == 1 and i < ROWS
        else (row.text, row.label)
        for i, row in enumerate(before)
        if i % 4 or i >= ROWS
    ]  # fmt: skip
    assert [(row.text, row.label) for row in after] == wanted


@needs_chromium
def test_in_a_browser_hostile_texts_are_texts(tmp_path):
    run = make_run(tmp_path / "run", hostile=True)

    async def look():
        with reviewing(run.folder.path) as (_, url):
            async with browser(tmp_path / "profile") as page:
                await page.open(url)
                await page.wait("cards.length > 0")
                scripts = await page.run("document.scripts.length")
                await page.press("v")
                await page.wait("place.view === 'rows' && cards[0].item.data === 'synthetic'")
                texts = (
                    "cards.slice(0, 4).map((each) => each.node.querySelector('.text').innerText)"
                )
                shown = await page.run(texts)
                assert shown[0] == HOSTILE[0]
                assert shown[1] == "an apple <U+202E> desrever si siht <U+0007> bell"
                assert "more (1,050,006 characters)" in shown[2]
                assert shown[3] == HOSTILE[3]
                await page.run("document.querySelector('.text .link').click()")
                await page.wait(f"cards[2].node.innerText.length > {len(HOSTILE[2])}")
                assert await page.run("document.scripts.length") == scripts
                assert await page.run("document.querySelectorAll('img, .text style').length") == 0
                assert page.troubles == []

    asyncio.run(look())


async def review_by_keyboard(run, profile):
    """Reject a row of four, relabel one, keep two; the server is killed half way."""
    rows = package.open_run(run).dataset
    async with browser(profile) as page:
        with reviewing(run) as (process, url):
            port = urlsplit(url).port
            await page.open(url)
            await page.wait("cards.length > 0")
            await page.press("v")
            await page.wait("place.view === 'rows' && cards.length === 50")
            for i in range(100):
                await decide(page, rows, i)
            await page.press("r", "u")
            await saved(page)
            assert await page.run("cards[at].item.state") == "undecided", "it goes to what it undid"
            await page.reload()
            await page.wait("cards.length > 0")
            counts = await page.run("document.getElementById('counts').textContent")
            assert counts.startswith(f"{len(rows) - 100} undecided")
            await page.press("v", "n", "n")
            await page.wait(f"cards[at].item.row === '{rows[100].id}'")
            await saved(page)
            process.kill()
            process.wait(10)
            for i in range(100, 105):
                await decide(page, rows, i)
            await page.wait("said.textContent.startsWith('5 not saved yet')")
        with reviewing(run, port) as (process, url):
            await page.open(url)
            await page.wait("typeof waiting === 'object' && !waiting.length && cards.length > 0")
            await page.press("v", "n", "n", *"jjjjj")
            for i in range(105, ROWS):
                await decide(page, rows, i)
            await saved(page)
            await page.press("k")
            await page.wait(f"cards[at].item.row === '{rows[ROWS - 1].id}'")
            await page.press("e")
            await page.wait("!!document.querySelector('textarea')")
            await page.run("document.querySelector('textarea').select()")
            await page.type("edited <b>by</b> hand")
            await page.press("Enter", control=True)
            await saved(page)
            assert await page.run("document.querySelectorAll('article .text b').length") == 0
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        # While it waits, the old page asks the dead server, and maybe the new one by its own key.
        left = ("ERR_CONNECTION_REFUSED", "403 (Forbidden)")
        assert [each for each in page.troubles if not any(x in each for x in left)] == []


async def decide(page, rows, i):
    """Decide on the row that is looked at: the i-th one."""
    await page.wait(f"cards.length > 0 && cards[at].item.row === '{rows[i].id}'")
    other = {"a": "2", "p": "1"}[rows[i].label]
    await page.press("r" if i % 4 == 0 else other if i % 4 == 1 else "a")


async def saved(page):
    await page.wait("waiting.length === 0 && !isSending")
