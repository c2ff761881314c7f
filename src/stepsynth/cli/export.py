"""`stepsynth export`: a recording, a model for elsewhere, or data set and model on the hub."""

import tempfile
from pathlib import Path

import typer

from stepsynth._util.words import set_replay
from stepsynth.cli._completion import RUN
from stepsynth.cli._shared import handle_errors, say
from stepsynth.errors import ConfigError, RunFolderError


@handle_errors
def export(
    run: Path = RUN,
    recording: Path | None = typer.Option(
        None,
        help="Write what the LLM said to this file: JSON lines, one completion each.",
        show_default=False,
    ),
    onnx: Path | None = typer.Option(
        None,
        help="Write the student (a transformer) as ONNX into this folder, and check it.",
        show_default=False,
    ),
    standalone: Path | None = typer.Option(
        None,
        help="Write a classifier into this folder with all it needs to run without stepsynth, and "
        "check it.",
        show_default=False,
    ),
    dataset: str | None = typer.Option(
        None,
        metavar="PLACE",
        help="Write the data set as Parquet files into this folder, here or at an address "
        "(s3://...).",
        show_default=False,
    ),
    hub: str | None = typer.Option(
        None,
        metavar="ORG/NAME",
        help="Upload the data set and the student, each with a card, to the Hugging Face hub.",
        show_default=False,
    ),
    license_name: str = typer.Option("other", "--license", help="The licence on the hub."),
    private: bool = typer.Option(True, "--private/--public", help="Who sees them on the hub."),
    dry_run: Path | None = typer.Option(
        None,
        help="With --hub: write what would be uploaded into this folder, and upload nothing.",
        show_default=False,
    ),
) -> None:
    """Write what leaves a run: a model, its data set, hub files or a recording."""
    if not any((recording, onnx, standalone, dataset, hub)):
        raise ConfigError(
            "there is nothing to export: give --recording FILE, --standalone DIR, --onnx DIR, "
            "--dataset PLACE or --hub ORG/NAME",
            hint="stepsynth export RUN --recording recording.jsonl",
        )
    _check_hub(hub, license_name, dry_run)
    if recording is not None:
        _export_recording(run, recording)
    if onnx is not None:
        _export_onnx(run, onnx)
    if standalone is not None:
        _export_standalone(run, standalone)
    if dataset is not None:
        _export_dataset(run, dataset)
    if hub is not None:
        _export_hub(run, hub, license_name, private=private, dry_run=dry_run)


def _check_hub(hub: str | None, license_name: str, dry_run: Path | None) -> None:
    """Check the options of the hub before minutes are spent on another part of the export."""
    if hub is None:
        if dry_run is not None:
            raise ConfigError("--dry-run goes with --hub", hint="--hub ORG/NAME --dry-run DIR")
        return
    from stepsynth.deploy import check_license, check_name

    check_name(hub)
    if check_license(license_name) == "other":
        say("warning: the licence is 'other'; choose one, as in --license apache-2.0")


def _export_recording(run: Path, recording: Path) -> None:
    from stepsynth.runfolder import open_run, write_recording

    count = write_recording(open_run(run), recording)
    say(f"{recording}: {count} completions")
    say(f"use it with: {set_replay(recording)}")


def _export_onnx(run: Path, folder: Path) -> None:
    from stepsynth.deploy import write_onnx

    found = write_onnx(run, folder)
    say(
        f"{found['path']}: says what the student says on {found['same_labels']} of "
        f"{found['rows']} rows; logits differ by at most {found['max_difference']:.1e}"
    )


def _export_standalone(run: Path, folder: Path) -> None:
    from stepsynth.deploy import write_standalone

    found = write_standalone(run, folder)
    say(
        f"{found['path']}: says what the student says on all of {found['rows']} rows; "
        f"probabilities differ by at most {found['max_difference']:.1e}"
    )
    say(f"it needs {', '.join(found['needs'])}; its README.md has an example")


def _export_dataset(run: Path, place: str) -> None:
    from stepsynth.data import SHARD_ROWS, check_free, is_address, send, write_shards
    from stepsynth.runfolder import open_run

    rows = open_run(run).dataset
    if is_address(place):
        check_free(place)
    elif Path(place).exists():
        raise RunFolderError(f"{place} exists", hint="give another folder, or remove it")
    with tempfile.TemporaryDirectory(prefix="stepsynth-") as folder:
        written = Path(folder, "dataset") if is_address(place) else Path(place)
        write_shards(written, rows.to_tables(SHARD_ROWS))
        if is_address(place):
            send(written, place)
    say(f"{place}: {len(rows):,} rows")


def _export_hub(
    run: Path, name: str, license_name: str, *, private: bool, dry_run: Path | None
) -> None:
    from stepsynth.deploy import push, write_hub_files

    if dry_run is not None:
        for path in write_hub_files(run, dry_run, name=name, license=license_name):
            say(str(path))
        say("nothing was uploaded")
        return
    with tempfile.TemporaryDirectory(prefix="stepsynth-") as folder:
        write_hub_files(run, Path(folder), name=name, license=license_name)
        urls = push(Path(folder), name, private=private)
    for url in urls:
        say(f"{url} ({'private' if private else 'public'})")
