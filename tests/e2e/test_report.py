"""The report: self-contained, escaped, and searched and turned over in a real browser."""

import asyncio
import base64
import hashlib
import json
import random
import re
import shutil

import pytest

import stepsynth
from stepsynth.report import write_report
from tests.browser import browser, needs_chromium
from tests.e2e.cli import draw_in_browser, needs_browser, ok, refused

EVIL = (
    '<script>alert(1)</script><img src=x onerror=alert(2)> "quoted" & {{ 7*7 }} </svg>'
    "<!--<script> \u202edrawkcab </textarea> שלום"
)
WORDS = tuple(f"w{i}" for i in range(300))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rng = random.Random(0)

    def odd():
        """Unlike any other one, so that none is a copy of a row that is held out."""
        return f"{EVIL} {' '.join(rng.sample(WORDS, 16))}"

    gold = [{"text": odd(), "label": fruit} for fruit in ("apple<b>", "pear") for i in range(20)]
    rules = [
        {"pattern": "reasons", "answers": [f"1. {EVIL}\n2. two"]},
        {
            "pattern": "Write",
            "answers": [odd() for _ in range(9)] + ["I cannot write that."],
        },
    ]
    stepsynth.synthesize(
        {
            "labels": {"apple<b>": "<i>apple</i>", "pear": "pear"},
            "instruction": f"Decide this: {EVIL}",
        },
        gold,
        llm={"backend": "scripted", "rules": rules},
        method={"name": "s3", "seed_size": 20, "num_rationales": 2},
        out=folder / "run",
        name="<u>name</u>",
    )
    return folder / "run" / "report.html"


def parts_of(html):
    """Return the markup of a page with its data taken out, and the data of its tables."""
    pattern = r'(<script type="application/json">)(.*?)(</script>)'
    return re.sub(pattern, r"\1\3", html, flags=re.DOTALL), [
        json.loads(found[1]) for found in re.findall(pattern, html, flags=re.DOTALL)
    ]


def test_what_data_and_llm_wrote_is_escaped(report):
    html = report.read_text(encoding="utf-8")
    markup, data = parts_of(html)
    assert re.findall(r"<script.*?>", markup) == ['<script type="application/json">'] * 3 + [
        "<script>"
    ]
    assert "<img" not in html
    assert "<!--" not in html
    assert "\u202e" not in html
    assert "<b>" not in re.sub(r"<b>[\d.]+( s)?</b>|<b>(s3|linear)</b>", "", html)
    assert "&lt;script&gt;alert(1)" in markup
    assert "{{ 7*7 }}" in markup
    (shown,) = {row[3][0][1][: len(EVIL) + 7] for row in data[1]["rows"]}
    assert shown == EVIL.replace("\u202e", "<U+202E>")


def test_its_policy_allows_its_own_script_and_style_alone(report):
    html = report.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    digests = [
        base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()
        for each in (script, style)
    ]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"<[a-z]+\b[^>]*\s(style|on[a-z]+)=", parts_of(html)[0])


def test_it_loads_nothing(report):
    html = report.read_text(encoding="utf-8")
    tags = " ".join(re.findall(r"<[a-zA-Z][^>]*>", parts_of(html)[0])) + html.split("</style>")[0]
    links = re.findall(
        r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)|url\(([^)]+)\)|@import (\S+)""", tags
    )
    outward = {link for found in links for link in found if link and not link.startswith("#")}
    assert outward == {"data:,"}
    assert re.findall(r"<(?:link|iframe|object|embed)\b(?! rel=\"icon\")", html) == []


def test_its_contents_lead_to_its_sections(report):
    html = report.read_text(encoding="utf-8")
    links = re.findall(r'<a href="#([^"]+)"', html)
    assert links[:5] == ["rounds", "confusion", "labels", "did-it-help", "errors"]
    assert links == re.findall(r'<h2 id="([^"]+)"', html)


def test_it_answers_the_readers_questions_in_order(report):
    html = report.read_text(encoding="utf-8")
    wanted = [
        "Did each round close the gap?",
        "Confusion matrix",
        "Scores by label",
        "Did it help?",
        "What was misclassified, and what was written for it",
        "Rows that were added",
        "Label balance",
        "Outputs that were not used",
        "What it cost",
        "Prompts in full",
        "Configuration",
    ]
    places = [html.index(title, html.index("<h1")) for title in wanted]
    assert places == sorted(places)
    assert html.count("<svg") >= 5
    assert "refusal" in html


def test_a_run_that_was_stopped_has_a_report_too(report, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(report.parent, run)
    (run / "manifest.json").unlink()
    for metrics in run.glob("rounds/*/metrics.json"):
        numbers = json.loads(metrics.read_text())
        numbers.pop("test")
        metrics.write_text(json.dumps(numbers))
    ok("report", run)
    assert "This run is not done" in (run / "report.html").read_text(encoding="utf-8")


def test_a_damaged_run_is_said_to_be(report, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(report.parent, run)
    (run / "rounds/0/examples.jsonl").write_text("{oops\n")
    assert "damaged" in refused("report", run)


@needs_browser
def test_a_browser_draws_it_without_a_word_on_the_console(report, tmp_path):
    draw_in_browser(report, tmp_path / "report.png", "1200,3000")


@pytest.fixture(scope="module")
def long_report(report, tmp_path_factory):
    """The report of a run with many rows, one of them a megabyte long."""
    run = tmp_path_factory.mktemp("long") / "run"
    shutil.copytree(report.parent, run)
    rows = run / "rounds/0/examples.jsonl"
    made = json.loads(rows.read_text(encoding="utf-8").splitlines()[0])
    odd = ("x" * 1_000_000, "\U0001f600" * 400, f"first {EVIL}\nשורה שנייה")
    many = [f"{i:03d} note about {'figs' if i % 3 else 'dates'}" for i in range(300)]
    with rows.open("a", encoding="utf-8") as file:
        for text in (*many, *odd):
            file.write(json.dumps({**made, "text": text}) + "\n")
    return write_report(run)


def test_a_long_line_is_cut_and_the_first_rows_are_there_without_the_script(long_report):
    html = long_report.read_text(encoding="utf-8")
    assert len(html) < 600_000
    assert "x… (980,000 more characters)" in html
    section = parts_of(html)[0].split('id="added-rows"')[1].split("</table>")[0]
    assert section.count("<tr>") == 26


@needs_chromium
def test_in_a_browser_rows_are_searched_filtered_sorted_and_turned_over(long_report, tmp_path):
    rows = "document.querySelector('#added-rows')"

    def change(name, value):
        return (
            f"(() => {{ const field = {rows}.querySelector('[name={json.dumps(name)}]');"
            f"field.value = {json.dumps(value)};"
            "field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    async def shown(page):
        return await page.run(f"[...{rows}.querySelectorAll('td.texts')].map(x => x.innerText)")

    async def look():
        async with browser(tmp_path / "profile") as page:
            await page.open(long_report.as_uri())
            await page.wait("document.readyState === 'complete'")
            total = int((await page.run(f"{rows}.querySelector('.turn span').innerText"))[-3:])
            said = f"{rows}.querySelector('.turn span').innerText"

            await page.run(change("words", "ABOUT dates"))
            await page.wait(f"{said} === '1–25 of 100'")
            await page.run(f"{rows}.querySelector('.turn button:last-child').click()")
            assert await page.run(said) == "26–50 of 100"
            assert (await shown(page))[0] == "075 note about dates"

            await page.run(f"{rows}.querySelectorAll('th button')[3].click()")
            await page.run(f"{rows}.querySelectorAll('th button')[3].click()")
            assert (await shown(page))[0] == "297 note about dates"
            assert await page.run(f"{rows}.querySelectorAll('th')[3].ariaSort") == "descending"

            await page.run(change("words", "nothing like it"))
            await page.wait(f"{said} === 'no row is like that'")
            await page.run(change("words", ""))
            await page.run(change("2", "pear"))
            await page.wait(f"Number({said}.split(' ').pop()) < {total}")
            labels = await page.run(f"[...{rows}.querySelectorAll('td bdi')].map(x => x.innerText)")
            assert set(labels) == {"seed", "pear"}

            await page.run(change("2", ""))
            await page.run(change("words", "FIRST <script>alert(1)</script>"))
            await page.wait(f"{said} === '1–1 of 1'")
            assert f"first {EVIL}".replace("\u202e", "<U+202E>") in (await shown(page))[0]
            await page.run(change("words", "\U0001f600"))
            await page.wait(f"{rows}.querySelector('.clip') !== null")
            assert "\ufffd" not in (await shown(page))[0]
            assert await page.run(f"{rows}.querySelector('td .text').dir") == "auto"

            await page.show(tmp_path / "narrow.png", width=400, dark=True)
            wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            assert await page.run(wide)
            heads = "[...document.querySelectorAll('th button')].filter(x => x.offsetWidth)"
            inside = "x.offsetWidth <= x.parentElement.offsetWidth"
            assert await page.run(f"{heads}.length && {heads}.every(x => {inside})")
            assert page.troubles == []

    asyncio.run(look())
