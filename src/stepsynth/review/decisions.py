"""Decisions of a reviewer: the lines of `review.jsonl`, and what counts of them.

The file is only ever appended to. The last decision on a row counts, unless it is undone; an undo
is a line, too. A line whose id and row were there before is a repetition and changes nothing.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stepsynth._util.hashing import digest
from stepsynth._util.text import shorten
from stepsynth.errors import RunFolderError
from stepsynth.records import Example, label_to_json

Data = Literal["synthetic", "gold"]
What = Literal["keep", "edit", "relabel", "reject", "undo"]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Key = tuple[Data, str]
"""Which row: synthetic or gold, and the id of its content."""


class Version(BaseModel):
    """A row as it is before or after a decision.

    Attributes:
        text: Its text, not empty.
        label: Its label; of a question its answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: Annotated[str, Field(min_length=1)]
    label: Any

    @classmethod
    def of(cls, row: Example) -> Self:
        """Return the row as it was written."""
        return cls(text=row.text, label=label_to_json(row.label))


class Decision(BaseModel):
    """A decision on one row.

    Attributes:
        id: Made by whoever decides, the same if it is sent again; the rows of one decision share
            it.
        time: When it was made, in UTC, ISO 8601.
        data: Whether the row is synthetic or gold.
        row: The id of the row as the run has it.
        what: keep: as the run has it; edit: another text; relabel: another label; reject: the row
            is left out; undo: another decision counts no more.
        before: The row before it.
        after: The row after it; None: left out, or undone.
        why: The reviewer's reason, if any.
        undoes: The id of the decision that is undone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Name
    time: str
    data: Data
    row: Name
    what: What
    before: Version | None = None
    after: Version | None = None
    why: Annotated[str, Field(max_length=2_000)] = ""
    undoes: Name | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        is_undo, is_out = self.what == "undo", self.what in ("undo", "reject")
        if is_undo != (self.undoes is not None):
            raise ValueError("`undoes` is the key of an undo, and of nothing else")
        if is_out != (self.after is None):
            raise ValueError(f"{self.what}: `after` must be {'null' if is_out else 'a row'}")
        if not is_undo and self.before is None:
            raise ValueError(f"{self.what}: `before` is missing")
        if self.data == "gold" and self.what == "edit":
            raise ValueError("a gold text cannot be edited")
        return self

    @property
    def key(self) -> Key:
        """The row that it is about."""
        return self.data, self.row

    def to_dict(self) -> dict[str, Any]:
        """Return a line of `review.jsonl`, without empty fields."""
        row = self.model_dump(mode="json", exclude_defaults=True)
        return row if self.what != "reject" else row | {"after": None}


class History:
    """The decisions so far, and which of them count."""

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self._seen: dict[str, dict[Key, Decision]] = {}
        self._counting: dict[Key, list[Decision]] = {}
        self._undoable: dict[str, None] = {}
        for each in decisions:
            self.add(each)

    def add(self, decision: Decision) -> bool:
        """Take a decision up, and return whether it is new.

        Raises:
            ValueError: It undoes a decision that was never made.
        """
        if self.has(decision):
            return False
        self.check(decision)
        key = decision.key
        if decision.undoes is not None:
            rest = [each for each in self._counting.get(key, ()) if each.id != decision.undoes]
            self._counting[key] = rest
            self._undoable.pop(decision.undoes, None)
        else:
            self._counting.setdefault(key, []).append(decision)
            self._undoable[decision.id] = None
        self._seen.setdefault(decision.id, {})[key] = decision
        return True

    def check(self, decision: Decision) -> None:
        """Check that a decision can follow those that are known.

        Raises:
            ValueError: It undoes a decision that was never made.
        """
        undone = decision.undoes
        if undone is not None and decision.key not in self._seen.get(undone, {}):
            raise ValueError(f"it undoes {undone!r}, which is no decision on this row")

    def has(self, decision: Decision) -> bool:
        """Return whether a decision of this id on this row is known."""
        return decision.key in self._seen.get(decision.id, {})

    def of_id(self, name: str) -> list[Decision]:
        """Return the decisions of an id, one for each row; none: it is not known."""
        return list(self._seen.get(name, {}).values())

    def on(self, data: Data, row: str) -> Decision | None:
        """Return the decision that counts for a row; None: it is undecided."""
        found = self._counting.get((data, row))
        return found[-1] if found else None

    def all(self, data: Data) -> Iterator[Decision]:
        """Yield the decision that counts for each row that has one."""
        for key, found in self._counting.items():
            if key[0] == data and found:
                yield found[-1]

    @property
    def last(self) -> str | None:
        """The id of the last decision that is not undone."""
        return next(reversed(self._undoable), None)

    def digest(self) -> str:
        """Return a digest of what counts for synthetic rows: it decides what is trained on."""
        rows = [(d.row, d.after and d.after.model_dump(mode="json")) for d in self.all("synthetic")]
        return digest(sorted(rows, key=lambda each: each[0]))


def read_review(path: Path) -> History:
    """Return the decisions of a file; none if there is no file.

    Raises:
        RunFolderError: A line is no decision; the message names it.
    """
    history = History()
    if path.exists():
        with path.open("rb") as file:
            read_lines(file, history, path)
    return history


def read_lines(lines: Iterable[bytes], history: History, path: Path, *, first: int = 1) -> int:
    """Take up the decisions of lines, and return the number of bytes read.

    A last line without its end was being written when a process died: nobody was told that it is
    kept, and it is left out.

    Args:
        lines: The lines, each with its end.
        history: Takes them up.
        path: The file, for errors.
        first: Number of the first line.
    """
    size = 0
    for number, line in enumerate(lines, first):
        if not line.endswith(b"\n"):
            break
        try:
            history.add(Decision.model_validate_json(line))
        except ValueError as error:
            raise RunFolderError(
                f"{path}, line {number}: not a decision: {_in_words(error)}",
                hint="docs/review.md says what a line holds; correct or remove this one",
            ) from error
        size += len(line)
    return size


def _in_words(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    said = first["msg"].removeprefix("Value error, ")
    return shorten(f"{where}: {said}" if where else said, 200)
