"""Messages for the terminal on a page."""

from stepsynth.report.render import render_page


def test_what_stands_in_backticks_is_code_and_all_else_is_escaped():
    said = ["<b> is no markup: `a<b`, then `c`", "`d`", "one ` is one"]
    study = {"name": "labels", "warnings": said, "tables": [], "charts": []}
    page = render_page("studies", name="runs", studies=[study])
    told = [
        line[len('<p class="warning">') : -4] for line in page.splitlines() if "warning" in line
    ]
    assert told[-3:] == [
        "&lt;b&gt; is no markup: <code>a&lt;b</code>, then <code>c</code>",
        "<code>d</code>",
        "one ` is one",
    ]
