"""The page of a review in a browser: what happens where two things happen at once."""

import asyncio
import json
import shutil
from contextlib import asynccontextmanager

import pytest

from tests.browser import browser, needs_chromium
from tests.e2e.test_review import reviewing, saved
from tests.unit.review.subject import make_run

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("review") / "run").folder


@pytest.fixture
def run(made):
    made.review.unlink(missing_ok=True)
    return made


@asynccontextmanager
async def looking(url, profile):
    """Open all rows in a browser."""
    async with browser(profile) as page:
        await page.open(url)
        await page.wait("typeof cards === 'object' && cards.length > 0")
        await page.press("v")
        await page.wait("place.view === 'rows' && cards[0].item.data === 'synthetic'")
        yield page


def decided(run):
    return [json.loads(line) for line in run.review.read_text().splitlines()]


async def edit(page, text):
    """Write a text in place of that of the row that is looked at."""
    await page.press("e")
    await page.wait("!!document.querySelector('textarea')")
    await page.run("document.querySelector('textarea').select()")
    await page.type(text)


async def click(page, name):
    """Click the button that is named so, in the row that is looked at or in an open editor."""
    buttons = "[...document.querySelectorAll('.at button, textarea ~ .bar button')]"
    await page.run(f"{buttons}.find((each) => each.textContent.startsWith('{name}')).click()")


def test_an_edit_is_of_the_row_that_it_was_begun_on(run, tmp_path):
    async def review():
        with reviewing(run.path) as (_, url):
            async with looking(url, tmp_path / "profile") as page:
                await page.press("j", "j")
                row = await page.run("cards[2].item.row")
                await edit(page, "edited")
                await page.run("cards[4].node.click()")
                await click(page, "keep this text")
                await saved(page)
                assert [(each["row"], each["what"]) for each in decided(run)] == [(row, "edit")]
                assert await page.run("at") == 3, "and goes on behind it"

    asyncio.run(review())


def test_what_is_being_written_stays_when_the_answer_to_an_earlier_decision_comes(run, tmp_path):
    slow = """
        window.answers = [];
        window.now = window.fetch;
        window.fetch = (path, options) => path === "decide"
            ? new Promise((go) => window.answers.push(go)).then(() => now(path, options))
            : now(path, options);
    """

    async def review():
        with reviewing(run.path) as (_, url):
            async with looking(url, tmp_path / "profile") as page:
                await page.run(slow)
                await page.press("a", "k")
                await edit(page, "half ")
                await page.run("window.answers.shift()()")
                await page.wait("cards[0].item.state === 'approved' && !isSending")
                await page.type("written")
                assert await page.run("document.querySelector('textarea').value") == "half written"
                await page.press("Enter", control=True)
                await page.wait("window.answers.length === 1")
                await page.run("window.answers.shift()()")
                await saved(page)
                made = decided(run)
                assert [each["what"] for each in made] == ["keep", "edit"]
                assert made[1]["row"] == made[0]["row"]
                assert made[1]["after"]["text"] == "half written"
                assert page.troubles == []

    asyncio.run(review())


def test_of_two_reviewers_each_undoes_what_is_their_own(run, tmp_path):
    async def review():
        with reviewing(run.path) as (_, url):
            async with looking(url, tmp_path / "a") as one, looking(url, tmp_path / "b") as other:
                await one.press("r", "1")
                await saved(one)
                await other.press("j", "j", "j", "a")
                await saved(other)
                for _ in range(2):
                    await one.press("u")
                    await saved(one)
                made = decided(run)
                assert [each["what"] for each in made[-2:]] == ["undo", "undo"]
                assert [each["undoes"] for each in made[-2:]] == [made[1]["id"], made[0]["id"]]
                await other.reload()
                counts = "document.getElementById('counts').textContent.includes('1 approved')"
                await other.wait(counts)

    asyncio.run(review())


def test_what_hinders_is_said_in_the_page(run, tmp_path):
    says = "document.getElementById('said').textContent"

    async def review():
        with reviewing(run.path) as (process, url):
            async with looking(url, tmp_path / "profile") as page:
                run.review.mkdir()  # as good as a disk that is full or read-only
                await page.press("r")
                await page.wait(f"{says}.startsWith('1 not saved yet: the decision cannot be')")
                run.review.rmdir()
                await saved(page)
                process.kill()
                process.wait(10)
                for act in (click(page, "edit"), page.press("v"), page.press("r")):
                    await page.run("say('')")
                    await act
                    await page.wait(f"{says}.includes('no answer: is the command still running?')")

    asyncio.run(review())


def test_a_key_that_is_meant_for_a_word_being_composed_closes_no_editor(run, tmp_path):
    composed = {"text": "にほ", "selectionStart": 2, "selectionEnd": 2}

    async def review():
        with reviewing(run.path) as (_, url):
            async with looking(url, tmp_path / "profile") as page:
                await edit(page, "an hour's work ")
                await page.call("Input.imeSetComposition", **composed)
                await page.press("Escape")
                assert await page.run("!!document.querySelector('textarea')")

    asyncio.run(review())


def test_an_edit_that_the_browser_has_no_room_for_stays_open(run, tmp_path):
    fill = "for (let n = 2 ** 22; n; n = n >> 1) try { localStorage[n] = 'x'.repeat(n) } catch {}"

    async def review():
        with reviewing(run.path) as (_, url):
            async with looking(url, tmp_path / "profile") as page:
                await page.run(fill)
                await edit(page, "a text of an hour's work")
                await page.press("Enter", control=True)
                await page.wait("document.getElementById('said').textContent.includes('no room')")
                await page.run("Object.keys(localStorage).forEach((n) => delete localStorage[n])")
                await page.press("Enter", control=True)
                await saved(page)
                assert not await page.run("document.querySelector('textarea')")

    asyncio.run(review())
    assert [each["after"]["text"] for each in decided(run)] == ["a text of an hour's work"]


def test_what_waits_for_a_run_is_not_sent_to_one_whose_name_begins_so(run, tmp_path):
    other = tmp_path / f"{run.path.name} 2"
    shutil.copytree(run.path, other)
    shutil.copytree(run.path, tmp_path / run.path.name)

    async def review():
        async with browser(tmp_path / "profile") as page:
            with reviewing(other) as (process, url):
                await page.open(url)
                await page.wait("typeof cards === 'object' && cards.length > 0")
                process.kill()
                process.wait(10)
                await page.press("r")
                await page.wait("waiting.length === 1")
            port = int(url.split(":")[2].split("/")[0])
            with reviewing(tmp_path / run.path.name, port) as (_, url):
                await page.open(url)
                await page.wait("typeof cards === 'object' && cards.length > 0")
                await saved(page)
            with reviewing(other, port) as (_, url):
                await page.open(url)
                await page.wait("typeof cards === 'object' && cards.length > 0")
                await saved(page)

    asyncio.run(review())
    assert not (tmp_path / run.path.name / "review.jsonl").exists()
    assert (other / "review.jsonl").read_bytes().count(b"\n") == 1
