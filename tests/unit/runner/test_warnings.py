"""Warnings of a run: each is told once, and none is lost."""

from stepsynth.observer import Observer
from stepsynth.runner.setup import Warnings


class Heard(Observer):
    def __init__(self):
        self.messages: list[str] = []

    def warn(self, message):
        self.messages.append(message)


def test_a_warning_that_is_repeated_with_other_numbers_is_told_once_and_counted():
    heard = Heard()
    warnings = Warnings(heard)
    several = [f"round {r}: {r} of 31 requests failed" for r in (1, 2, 3)]
    for message in (*several, several[0], "gold has few rows"):
        warnings.warn(message)
    assert heard.messages == [several[0], "gold has few rows"]
    warnings.tell_rest()
    warnings.tell_rest()
    assert heard.messages[2:] == [
        "2 more warnings like these, with other numbers: the report has all"
    ]
    assert warnings.messages == [*several, "gold has few rows"]
