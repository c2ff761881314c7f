"""Small pieces of HTML for notebooks; all text in them is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from stepsynth._util.text import visible

_CELL = "padding: 2px 8px; text-align: {}; vertical-align: top"


def to_html(text: str) -> str:
    """Return a text as HTML: escaped, its control characters visible."""
    return escape(visible(text))


def table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as HTML.

    Args:
        columns: Name of each column, and whether it holds numbers.
        rows: Rows of cells as text.
    """
    styles = [_CELL.format("right" if is_number else "left") for _, is_number in columns]

    def row(tag: str, cells: Iterable[str]) -> str:
        inner = "".join(
            f'<{tag} style="{style}">{to_html(cell)}</{tag}>'
            for style, cell in zip(styles, cells, strict=True)
        )
        return f"<tr>{inner}</tr>"

    head = row("th", (name for name, _ in columns))
    body = "".join(row("td", cells) for cells in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
