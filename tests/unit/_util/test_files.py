"""Files are written whole, whatever text is to be in them."""

import json
import sqlite3

import pytest

from stepsynth._util.files import read_jsonl, write_json, write_jsonl, write_text
from stepsynth.errors import RunFolderError


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("äpfel", "äpfel".encode()),
        # As Python reads a path where it takes the system to know ASCII alone.
        ("äpfel".encode().decode("ascii", "surrogateescape"), "äpfel".encode()),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), b"caf?"),
        ("half \ud83d of a face", b"half ? of a face"),
    ],
)
def test_what_is_no_text_is_written_all_the_same(tmp_path, text, data):
    write_text(tmp_path / "file", text)
    assert (tmp_path / "file").read_bytes() == data
    write_json(tmp_path / "json", {"text": text})
    assert json.loads((tmp_path / "json").read_bytes()) == {"text": data.decode()}


def test_lines_are_written_one_after_the_other_and_the_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, ({"n": i} for i in range(3)))
    assert path.read_text() == '{"n": 0}\n{"n": 1}\n{"n": 2}\n'

    def broken():
        yield {"n": 7}
        raise ValueError

    with pytest.raises(ValueError):
        write_jsonl(path, broken())
    assert list(read_jsonl(path)) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert [each.name for each in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_database_is_not_written_over(tmp_path):
    path, link = tmp_path / "requests.sqlite", tmp_path / "out.jsonl"
    store = sqlite3.connect(path)
    store.execute("CREATE TABLE completions (id)")
    store.close()
    link.symlink_to(path)
    before = path.read_bytes()
    for place in (path, link):
        with pytest.raises(RunFolderError, match="this is a database"):
            write_text(place, "report")
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {path.name, link.name}
