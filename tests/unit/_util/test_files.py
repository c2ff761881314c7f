"""Files are written whole, whatever text is to be in them."""

import json

import pytest

from stepsynth._util.files import write_json, write_text


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
