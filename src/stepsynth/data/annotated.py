"""Exports of annotation tools as flat rows: Label Studio's tasks and Argilla's records.

Each question becomes a column of its name. Its value is the answer if all annotators agree, else
the list of their answers, which is no label. Suggestions of a model do not count.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_RESPONSES = ".responses"
_UNFINISHED = ("draft", "discarded")
_VALUES = {"choices": "choices", "rating": "rating", "number": "number", "textarea": "text"}
"""Kind of a result in Label Studio -> the key of its value."""

Row = Mapping[Any, Any]
Answer = tuple[str, Any]


def flatten(row: Row) -> Row:
    """Return the row of a tool's export with its nested columns made flat; others as they are."""
    if isinstance(row.get("annotations"), list) and isinstance(row.get("data"), Mapping):
        return {"id": row.get("id"), **row["data"], **_columns(_from_label_studio(row), ())}
    if isinstance(row.get("fields"), Mapping) and isinstance(row.get("responses"), Mapping):
        questions = row.get("suggestions")
        asked = questions if isinstance(questions, Mapping) else ()
        # `to_json` keeps drafts and discarded answers unmarked; a pending record has no others.
        responses = {} if row.get("status") == "pending" else row["responses"]
        answers = _columns(_from_argilla(responses), asked)
        return {"id": row.get("id"), **row["fields"], **answers}
    if any(f"{key}.status" in row for key in row if str(key).endswith(_RESPONSES)):
        return {**row, **_columns(_from_columns(row), ())}
    return row


def _columns(answers: Iterable[Answer], asked: Iterable[str]) -> dict[str, Any]:
    """Return question -> answer; None: not answered."""
    given: defaultdict[str, list[Any]] = defaultdict(list)
    for question, value in answers:
        values = value if isinstance(value, list) else [value]
        given[question] += [each for each in values if each not in given[question]]
    columns: dict[str, Any] = dict.fromkeys(asked)
    return columns | {name: v[0] if len(v) == 1 else v or None for name, v in given.items()}


def _from_label_studio(row: Row) -> Iterator[Answer]:
    made = [each for each in _objects(row["annotations"]) if not each.get("was_cancelled")]
    # An annotation that is marked as ground truth overrules the others.
    for annotation in [each for each in made if each.get("ground_truth")] or made:
        for result in _objects(annotation.get("result")):
            key, value = _VALUES.get(str(result.get("type"))), result.get("value")
            if isinstance(value, Mapping) and key in value:
                yield str(result.get("from_name")), value[key]


def _from_argilla(responses: Row) -> Iterator[Answer]:
    for question, given in responses.items():
        for response in _objects(given):
            if response.get("value") is not None and response.get("status") not in _UNFINISHED:
                yield str(question), response["value"]


def _from_columns(row: Row) -> Iterator[Answer]:
    """Yield the answers of a record that Argilla itself made flat: `label.responses`."""
    for key, values in row.items():
        statuses = row.get(f"{key}.status")
        if str(key).endswith(_RESPONSES) and isinstance(statuses, list):
            name = str(key).removesuffix(_RESPONSES)
            yield name, []
            for value, status in zip(_listed(values), statuses, strict=False):
                if value is not None and status not in _UNFINISHED:
                    yield name, value


def _objects(values: Any) -> list[Row]:
    return [each for each in _listed(values) if isinstance(each, Mapping)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
