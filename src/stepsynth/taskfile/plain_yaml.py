"""YAML as plain values with their lines, in bounded time and memory, whatever the text.

Only what a task file needs is read: texts, finite numbers, true, false and null, in lists and
mappings. A date is read as text.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner, ScannerError

from stepsynth._util.text import find_control, shorten

MOST_BYTES = 256_000
MOST_VALUES = 8_000
DEEPEST = 50
"""Bounds far above any task file: parsing takes time for each byte and each value."""

_LARGEST = 2**63
_TAG = "tag:yaml.org,2002:"
_TEXTS = frozenset(_TAG + name for name in ("str", "timestamp", "value", "merge"))
_CONSTRUCTED = frozenset(_TAG + name for name in ("int", "float", "bool", "null"))
_PROMPT_HINT = "prompts may stand in files of their own: prompts: {seed: seed.j2}"

KeyPath = tuple[str, ...]
Lines = dict[KeyPath, int]


class NotYamlError(Exception):
    """A text that cannot be read as YAML.

    Args:
        message: What is wrong.
        line: The line, from 1; 0: not a single line.
        hint: What to do.
    """

    def __init__(self, message: str, line: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


def parse(text: str) -> tuple[Any, Lines]:
    """Return the value of a YAML 1.2 document, and the line of each key and item.

    Raises:
        NotYamlError: It does not parse, or holds something that no task file needs.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise NotYamlError(f"this has more than {MOST_BYTES} bytes", hint=_PROMPT_HINT)
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = _Scanner
    yaml.Composer = _Composer
    try:
        root = yaml.compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        said = find_control(text[error.position]) or f"the character U+{error.character:04X}"
        raise NotYamlError(f"this is no YAML: it holds {said}", line) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise NotYamlError(f"this is no YAML: {error.problem}", line) from error
    except Exception as error:  # whatever a parser can raise
        raise NotYamlError(f"this is no YAML: {shorten(str(error), 200)}") from error
    reader = _Reader(yaml)
    return (None if root is None else reader.read(root, ())), reader.lines


class _Scanner(Scanner):
    """A scanner with a limit on nested brackets, which take quadratic time."""

    def fetch_flow_collection_start(self, *args: Any, **options: Any) -> None:
        """Read an opening bracket."""
        if said := _too_large(0, len(self.flow_context)):
            raise ScannerError(None, None, said, self.reader.get_mark())
        super().fetch_flow_collection_start(*args, **options)


class _Composer(Composer):
    """A composer with limits on the size and depth of a document."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self.warn_double_anchors = False
        self._values = self._nested = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the next node."""
        self._values += 1
        self._nested += 1
        if said := _too_large(self._values, self._nested):
            raise ComposerError(None, None, said, self.parser.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._nested -= 1
        return node


class _Reader:
    """A reader that turns nodes into plain values.

    An alias is read anew each time, so that no two keys share a value. Values are counted: ten
    lines of aliases of aliases can stand for billions.
    """

    def __init__(self, yaml: YAML) -> None:
        self.lines: Lines = {}
        self._yaml = yaml
        self._values = 0

    def read(self, node: Any, path: KeyPath) -> Any:
        """Return the value of a node."""
        self._values += 1
        if said := _too_large(self._values, len(path)):
            raise NotYamlError(said, _line(node))
        tag = str(node.tag)
        if isinstance(node, ScalarNode):
            return self._scalar(node, tag)
        if isinstance(node, SequenceNode) and tag == f"{_TAG}seq":
            return list(self._items(node, path))
        if isinstance(node, MappingNode) and tag == f"{_TAG}map":
            return self._mapping(node, path)
        raise _of_no_use(node, tag)

    def _items(self, node: Any, path: KeyPath) -> Iterator[Any]:
        for i, item in enumerate(node.value):
            self.lines[*path, str(i)] = _line(item)
            yield self.read(item, (*path, str(i)))

    def _mapping(self, node: Any, path: KeyPath) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if str(key_node.tag) == f"{_TAG}merge":
                merged = self._merge(value_node, path) | merged
                continue
            key = self._key(key_node)
            if key in values:
                raise NotYamlError(f"this key is there twice: {key!r}", _line(key_node))
            inner = (*path, str(key))
            self.lines[inner] = _line(key_node)
            values[key] = self.read(value_node, inner)
        return {key: value for key, value in merged.items() if key not in values} | values

    def _merge(self, node: Any, path: KeyPath) -> dict[Any, Any]:
        """Return the keys that `<<` takes over, each from the first mapping that has it."""
        merged: dict[Any, Any] = {}
        for each in node.value if isinstance(node, SequenceNode) else [node]:
            found = self.read(each, (*path, "<<"))
            if not isinstance(found, dict):
                raise NotYamlError("expected keys and values after <<", _line(each))
            merged = found | merged
        return merged

    def _key(self, node: Any) -> Any:
        if not isinstance(node, ScalarNode):
            raise NotYamlError("a key must be a text or a number", _line(node))
        key = self._scalar(node, str(node.tag))
        if isinstance(key, str) and (control := find_control(key)):
            raise NotYamlError(f"the key {key!r} holds {control}", _line(node))
        return key

    def _scalar(self, node: Any, tag: str) -> Any:
        if control := find_control(node.value, is_name=False):
            raise NotYamlError(f"this holds {control}", _line(node))
        if tag in _TEXTS:
            return str(node.value)
        if tag not in _CONSTRUCTED:
            raise _of_no_use(node, tag)
        said = f"{shorten(repr(node.value), 60)} is no {tag.removeprefix(_TAG)}"
        try:
            value = self._yaml.constructor.construct_object(node)
        except Exception as error:  # whatever a constructor can raise
            raise NotYamlError(said, _line(node)) from error
        is_large = isinstance(value, int) and abs(value) >= _LARGEST
        if is_large or (isinstance(value, float) and not isfinite(value)):
            raise NotYamlError(
                f"{shorten(node.value, 60)!r} is no number that means something here",
                _line(node),
                hint=f'as a text, write it in quotes: "{shorten(node.value, 60)}"',
            )
        return value


def _line(node: Any) -> int:
    return node.start_mark.line + 1


def _too_large(values: int, nested: int) -> str:
    if values > MOST_VALUES:
        return f"more than {MOST_VALUES} values stand here, or are meant by aliases"
    return f"values are nested more than {DEEPEST} deep" if nested > DEEPEST else ""


def _of_no_use(node: Any, tag: str) -> NotYamlError:
    return NotYamlError(f"the tag {shorten(tag, 60)} has no use here", _line(node))
