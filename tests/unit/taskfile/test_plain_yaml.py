"""Task files are plain values with lines; whatever else YAML can say is refused in its line."""

import pytest

from stepsynth.errors import ConfigError
from stepsynth.taskfile.plain_yaml import MOST_BYTES
from stepsynth.taskfile.yaml_lines import parse_value, parse_yaml, read_yaml


def parse(text):
    return parse_yaml(text, "task.yaml")


def test_values_are_plain_and_dates_are_the_text_that_they_are_written_as():
    values = parse("a: [1, 0x1F, 1.5, true, yes, null, 2024-06-01, '2', !!str 3, =]\n1: x\n").values
    expected = [1, 31, 1.5, True, "yes", None, "2024-06-01", "2", "3", "="]
    assert values == {"a": expected, 1: "x"}
    assert [type(value) for value in values["a"]] == [type(value) for value in expected]


def test_every_key_and_item_has_its_line():
    located = parse("a:\n  b: 1\n  c:\n    - x\n    - y\n")
    assert located.where(("a", "b")) == "task.yaml, line 2: a.b"
    assert located.where(("a", "c", "1")) == "task.yaml, line 5: a.c.1"
    assert located.where(("a", "d", "e")) == "task.yaml, line 1: a.d.e"


def test_an_alias_is_a_copy_and_merged_keys_yield_to_own_ones():
    values = parse(
        "one: &one {x: 1, y: {z: 2}}\ntwo: *one\nthree: {<<: [*one, {w: 3, x: 9}], x: 4}\n"
    ).values
    assert values["two"] == {"x": 1, "y": {"z": 2}}
    assert values["three"] == {"y": {"z": 2}, "w": 3, "x": 4}
    values["two"]["y"]["z"] = 5
    assert values["one"] == {"x": 1, "y": {"z": 2}}


def test_a_few_lines_of_aliases_do_not_unfold_into_billions():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ConfigError, match=r"task\.yaml, line \d+: more than \d+ values"):
        parse("\n".join(lines))
    merges = [f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    with pytest.raises(ConfigError, match=r"line \d+: more than \d+ values"):
        parse("\n".join(["m0: &m0 {a: 1}", *merges]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: " + "[" * 5_000, "line 2: .*nested more than 50 deep"),
        ("".join("  " * i + "a:\n" for i in range(200)), r"line \d+: .*nested more than 50 deep"),
        ("a: &a [*a]", "line 1: .*nested more than 50 deep"),
        ("a: &a {<<: *a}", "line 1: .*nested more than 50 deep"),
        ("a:\n" + "- 1\n" * 10_000, r"line \d+: .*more than \d+ values"),
        ("a: " + "x" * MOST_BYTES, r"task\.yaml: this has more than \d+ bytes"),
        ("a: 1\nb: 2\na: 3", "line 3: this key is there twice: 'a'"),
        ("a: 1\n? [b]\n: c", "line 2: a key must be a text or a number"),
        ("a: 1\nb: {<<: 3}", "line 2: expected keys and values after <<"),
        ("a: 1\nb: !!binary aGk=", "line 2: the tag .*binary has no use here"),
        ("a: !!python/object:os.system {b: c}", "line 1: the tag .* has no use here"),
        ("a: !!set {b, c}", "line 1: the tag .*set has no use here"),
        ("a: !!int many", "line 1: 'many' is no int"),
        ("a: !!bool maybe", "line 1: 'maybe' is no bool"),
        ("a: " + "9" * 5_000, "line 1: '9+… is no int"),
        ("a: 99999999999999999999", "line 1: '9+' is no number that means something"),
        ("a: 1\nb: .nan", "line 2: '.nan' is no number .*\nhint: as a text, .*\"\\.nan\""),
        ("a: -.inf", "line 1: '-.inf' is no number"),
        ("a: 1\nb: x\0y", r"line 2: .*the character U\+0000 \(NUL\)"),
        ('a: 1\nb: "x\\0y"', r"line 2: this holds the character U\+0000 \(NUL\)"),
        ('a: 1\nb: "x\\ud83dy"', r"line 2: this holds .*U\+D83D \(half a character\)"),
        ('a: 1\n"b\\e": c', r"line 2: this holds the character U\+001B \(ESC\)"),
        ('a: 1\n"b\\nc": d', r"line 2: the key 'b\\nc' holds the character U\+000A \(LF\)"),
        ('a: "\\UFFFFFFFF"', r"task\.yaml: this is no YAML"),
        ("a: *b", "line 1: this is no YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2", "line 2: this is no YAML: but found another document"),
        ("- a", "expected keys such as"),
        ("", "expected keys such as"),
    ],
)
def test_what_is_no_task_file_is_said_with_its_line(text, said):
    with pytest.raises(ConfigError, match=said):
        parse(text)


def test_bytes_that_are_no_text_are_named_and_a_mark_at_the_start_is_none(tmp_path):
    path = tmp_path / "task.yaml"
    path.write_bytes("a: 1\nb: café\n".encode("cp1252"))
    with pytest.raises(ConfigError, match=r"task\.yaml, line 2: .*byte 0xE9 is no UTF-8"):
        read_yaml(path)
    path.write_bytes("\ufeffa: 1\n".encode())
    assert read_yaml(path).values == {"a": 1}
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "a\0b.yaml")


def test_a_toml_file_is_told_that_a_task_file_is_yaml(tmp_path):
    (tmp_path / "task.toml").write_text("[task]\n")
    with pytest.raises(ConfigError, match="a task file is YAML, and this is TOML"):
        read_yaml(tmp_path / "task.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("3", 3), ("0.5", 0.5), ("true", True), ("[a, 1]", ["a", 1]), ("{a: b}", {"a": "b"})),
        *(("null", None), ("", None), ("a: b: c", "a: b: c"), ("*x", "*x"), ("!x y", "!x y")),
        *(("2024-06-01", "2024-06-01"), (".inf", ".inf"), ("hf:imdb", "hf:imdb")),
    ],
)
def test_an_override_is_a_value_or_else_the_text_itself(text, value):
    assert parse_value(text) == value


def test_an_override_holds_no_control_character():
    with pytest.raises(ConfigError, match=r"--set: a value holds .*U\+0007 \(BEL\)"):
        parse_value("a\ab")
