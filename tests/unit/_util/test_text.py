"""Normalisation of text, and what counts as no text."""

import pytest

from stepsynth._util.text import is_blank


@pytest.mark.parametrize(
    ("text", "blank"),
    [("", True), (" \n\u200b\ufeff\u2060\x07\u3000", True), ("\u200ba", False), ("\u0301", False)],
)
def test_a_text_that_shows_nothing_is_blank(text, blank):
    assert is_blank(text) == blank
