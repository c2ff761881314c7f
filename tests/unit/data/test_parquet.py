"""Data sets of Parquet shards: folders, patterns and addresses."""

import json
import subprocess
import sys

import pytest

from stepsynth._util.files import sweep
from stepsynth.data import (
    find_shards,
    read_corpus,
    read_file,
    replacing_folder,
    rows_of_file,
    write_shards,
)
from stepsynth.errors import DataError, FolderInUseError
from stepsynth.tasks.classification import Classification

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TASK = Classification(labels=["a", "b"])


def table(*rows):
    return pa.table({"text": [t for t, _ in rows], "label": [label for _, label in rows]})


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    parquet.write_table(table(("one", "a"), ("two", "b")), folder / "part-1.parquet")
    parquet.write_table(table(("three", "a")), folder / "part-0.parquet")
    return folder


@pytest.fixture
def memory(shards):
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for path in shards.iterdir():
        system.pipe(f"/bucket/data/{path.name}", path.read_bytes())
    yield system
    system.rm("/bucket", recursive=True)


def texts(path):
    return [row["text"] for _, row in rows_of_file(path)]


def test_a_folder_is_read_by_name_and_a_pattern_too(shards):
    assert texts(shards) == ["three", "one", "two"]
    assert texts(str(shards / "*.parquet")) == ["three", "one", "two"]
    assert texts(str(shards / "part-[1-9].parquet")) == ["one", "two"]
    assert read_file(shards, TASK, {}).texts == ["three", "one", "two"]


def test_the_place_of_a_row_has_the_name_of_its_shard(shards):
    assert [place for place, _ in rows_of_file(shards)][1] == "part-1.parquet, row 0"
    parquet.write_table(table(("four", "c")), shards / "part-2.parquet")
    with pytest.raises(DataError, match=r"part-2.parquet, row 0: .*'c'"):
        read_file(shards, TASK, {})


def test_a_manifest_gives_the_order_and_what_belongs_to_it(shards):
    listed = [{"file": "part-1.parquet", "rows": 2}]
    (shards / "manifest.json").write_text(json.dumps({"shards": listed}))
    assert texts(shards) == ["one", "two"]
    (shards / "part-1.parquet").unlink()
    with pytest.raises(DataError, match=r"lists part-1.parquet, which is missing"):
        texts(shards)
    (shards / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="this lists no shards"):
        texts(shards)


def test_a_pattern_of_several_folders_reads_all_of_them_whatever_their_manifests_say(tmp_path):
    for name in ("one", "two"):
        write_shards(tmp_path / name, [table((name, "a"))])
    assert texts(str(tmp_path / "*" / "*")) == ["one", "two"]
    assert texts(str(tmp_path / "t*" / "*")) == ["two"]


def test_names_of_classes_stay_whatever_other_columns_there_are(tmp_path):
    """As datasets writes them, and other tools keep them: also for columns that are gone."""
    classes = {"names": ["a", "b"], "_type": "ClassLabel"}
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": classes,
        "named": classes,
        "gone": classes,
        "tags": [classes],
        "words": [{"dtype": "string", "_type": "Value"}],
    }
    columns = {
        "label": [0, 1],
        "named": ["a", "b"],
        "tags": [[1], []],
        "words": [["x"], []],
        "own": [0, 1],
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(pa.table(columns).replace_schema_metadata(metadata), tmp_path / "x.parquet")
    rows = [row for _, row in rows_of_file(tmp_path / "x.parquet")]
    assert rows == [
        {"label": "a", "named": "a", "tags": ["b"], "words": ["x"], "own": 0},
        {"label": "b", "named": "b", "tags": [], "words": [], "own": 1},
    ]


def test_a_folder_that_is_being_made_is_made_by_nobody_else(tmp_path):
    place = tmp_path / "model"
    with replacing_folder(place) as ours:
        (ours / "rows").write_text("hours of work")
        with pytest.raises(FolderInUseError, match="another process"), replacing_folder(place):
            pytest.fail("it was made all the same")
    assert [file.read_text() for file in place.iterdir()] == ["hours of work"]
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_killed_process_has_made_of_a_folder_is_no_part_of_it(tmp_path):
    command = (
        "import os, sys; from pathlib import Path; from stepsynth.data import replacing_folder\n"
        "with replacing_folder(Path(sys.argv[1])) as made:\n"
        "    (made / 'half').touch(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", command, tmp_path / "model"], check=False)
    assert list(tmp_path.iterdir()) != []
    sweep(tmp_path)  # as a run does that goes on
    with replacing_folder(tmp_path / "model") as made:
        (made / "whole").touch()
    assert [file.name for file in tmp_path.rglob("*")] == ["model", "whole"]


@pytest.mark.parametrize("name", ["model", "before"])
def test_a_folder_is_whole_whenever_its_replacement_is_killed(tmp_path, name):
    command = (
        "import os, sys; from pathlib import Path; from stepsynth.data import replacing_folder\n"
        "moved, replace = [], os.replace\n"
        "def killed(*places):\n"
        "    replace(*places) if not moved else os._exit(1)\n"
        "    moved.append(places)\n"
        "os.replace = killed\n"
        "with replacing_folder(Path(sys.argv[1])) as made:\n"
        "    (made / 'new').touch()"
    )
    place = tmp_path / name
    place.mkdir()
    (place / "old").touch()
    done = subprocess.run([sys.executable, "-c", command, place], check=False)
    assert (done.returncode, place.exists()) == (1, False)
    with pytest.raises(OSError, match="disk"), replacing_folder(place):
        raise OSError("the disk is full")
    assert [file.name for file in place.iterdir()] == ["old"]
    with replacing_folder(place) as made:
        (made / "new").touch()
    assert [file.name for file in tmp_path.rglob("*")] == [name, "new"]


def test_an_address_is_read(memory):
    assert texts("memory://bucket/data") == ["three", "one", "two"]
    assert texts("memory://bucket/data/*.parquet") == ["three", "one", "two"]
    assert texts("memory://bucket/data/part-1.parquet") == ["one", "two"]
    assert [each.rsplit("/")[-1] for each in find_shards("memory://bucket/data")] == [
        "part-0.parquet",
        "part-1.parquet",
    ]


def test_a_corpus_may_be_shards(shards, memory):
    for source in (str(shards), "memory://bucket/data"):
        assert [p.text for p in read_corpus(source, warn=print)] == ["three", "one", "two"]


@pytest.mark.parametrize(
    ("address", "said", "hint"),
    [
        ("memory://bucket/none", "there is no .parquet file", "an address is whole"),
        ("memory://bucket/none.parquet", "there is no .parquet file", "an address is whole"),
        ("nonsense://x/y", "cannot be reached: Protocol not known", "address"),
    ],
)
def test_an_address_that_is_wrong_is_named(memory, address, said, hint):
    with pytest.raises(DataError) as caught:
        texts(address)
    assert caught.value.message.startswith(address)
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(("address", "package"), [("s3://b/x", "s3fs"), ("gs://b/x", "gcsfs")])
def test_an_address_whose_package_is_missing_says_which(address, package):
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(DataError, match="need a package") as caught:
            texts(address)
        assert package in caught.value.hint
    else:
        pytest.skip(f"{package} is installed")


def test_a_damaged_shard_is_named(shards):
    whole = (shards / "part-1.parquet").read_bytes()
    (shards / "part-1.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"part-1.parquet: this is no Parquet, or it is damaged"):
        texts(shards)
