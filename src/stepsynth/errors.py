"""The errors that a user can meet.

StepsynthError                 hint: what to do next; exit_code: what the command line returns
├── ConfigError                a task file, an option or a name is wrong             (2)
│   └── UnknownNameError       no method, backend, student, kind or recipe of that name
├── DataError                  gold, test or a recording is wrong                    (2)
├── PromptError                a template is broken, or makes prompts that are too long  (2)
├── RunFolderError             a folder belongs to another run, or cannot be used    (2)
│   └── FolderInUseError       another process is writing into it
├── LimitReachedError          a cap of `limits` was reached; the same run resumes   (3)
├── ProviderError              the LLM cannot be used at all: key, URL, model        (4)
└── TooFewRowsError            a label ended with no rows                            (5)

StepsynthWarning is the category of warnings, by `warnings`.

A completion that cannot be used is not an error: it is a `Rejected` with a reason.
"""

import difflib
from collections.abc import Iterable
from typing import Any, Self

MOST_SUGGESTED = 100
"""Longest name that gets a suggestion, in characters: the time grows with its square."""


class StepsynthError(Exception):
    """An error with a hint that names the next step.

    Args:
        message: What happened, where, and what was expected.
        hint: What to do next; shown on its own line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes it again in another process, whatever its class is made from."""
        return _again, (type(self), self.args, self.__dict__)

    def at(self, where: str) -> Self:
        """Put a place before the message, and return the error."""
        self.message = f"{where}: {self.message}"
        return self


def _again(kind: type[StepsynthError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigError(StepsynthError):
    """A task file, a `--set` or an argument is wrong."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name that nothing is registered under; the message lists the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known, said = sorted(known), repr(name)
        said = said if len(said) <= MOST_SUGGESTED else f"{said[: MOST_SUGGESTED - 1]}…"
        super().__init__(
            f"no {kind} is named {said}. Known: {', '.join(known)}.",
            hint=suggest(name, known),
        )


class DataError(StepsynthError):
    """Gold, test or recorded data cannot be used as it is."""

    exit_code = 2


class PromptError(StepsynthError):
    """A prompt template is broken or lacks a field, or makes prompts that an LLM cannot take."""

    exit_code = 2


class RunFolderError(StepsynthError):
    """A run folder is in use, is no run folder, or belongs to another configuration."""

    exit_code = 2


class FolderInUseError(RunFolderError):
    """Another process is writing into a run folder."""


class LimitReachedError(StepsynthError):
    """A cap of `limits` would be crossed by the next request. Nothing paid for is lost.

    Args:
        message: What happened.
        hint: What to do next.
        cap: Key of the cap ("limits.usd").
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", cap: str = "limits") -> None:
        super().__init__(message, hint=hint)
        self.cap = cap


class ProviderError(StepsynthError):
    """The LLM cannot be used: wrong key, wrong URL, unknown model, or it is down."""

    exit_code = 4


class TooFewRowsError(StepsynthError):
    """A label ended with no usable row, so no student can be trained."""

    exit_code = 5


class StepsynthWarning(UserWarning):
    """A warning of the Python interface, by `warnings`; the command line prints its own."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" for the nearest of the known names, or an empty string."""
    folded = {k.casefold(): k for k in known}
    if len(name) > MOST_SUGGESTED:
        return ""
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
    return f"did you mean {folded[near[0]]!r}?" if near else ""
