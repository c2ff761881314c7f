"""The files of a run for the Hugging Face hub, and their upload."""

import json
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from stepsynth._util.files import write_json, write_jsonl, write_text
from stepsynth._util.text import shorten
from stepsynth.deploy.cards import (
    card_facts,
    render_dataset_card,
    render_model_card,
    without_paths,
)
from stepsynth.deploy.croissant import croissant
from stepsynth.errors import ConfigError, ProviderError, RunFolderError
from stepsynth.records import Dataset, Example
from stepsynth.runfolder import open_run
from stepsynth.students import STUDENT_FILE, need

PARTS = ("dataset", "model")
"""Folders to write; each is also the hub's repository type."""

_PART = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_PART}/{_PART}", re.ASCII)
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_TOKEN = re.compile(r"\bhf_\w+|(?<=Bearer )\S+")
_LOG_IN = "`hf auth login`, or set HF_TOKEN to a token that may write there"


def check_name(name: str) -> None:
    """Check that a name is valid for a repository on the hub.

    Raises:
        ConfigError: The name is invalid.
    """
    if not _NAME.fullmatch(name) or len(name) > 96 or re.search(r"--|\.\.|\.git$", name):
        raise ConfigError(
            f"--hub: expected ORG/NAME (letters, digits and . _ - within), got {name!r}",
            hint="--hub my-name/imdb-s3",
        )


def check_license(license_name: str) -> str:
    """Return a licence in the spelling of the hub.

    Raises:
        ConfigError: It does not have the form of the hub's names.
    """
    name = license_name.strip().lower()
    if not _LICENSE.fullmatch(name):
        raise ConfigError(
            f"--license: expected a name that the hub knows, got {license_name!r}",
            hint="such as apache-2.0, mit, cc-by-4.0 or other; the hub's documentation lists them",
        )
    return name


def write_hub_files(
    place: Path,
    folder: Path,
    *,
    name: str,
    license: str,  # noqa: A002
) -> list[Path]:
    """Write the files for the hub, a data set and a model with their cards, and return them.

    Args:
        place: The folder of a finished run.
        folder: Receives `dataset/` and `model/`, which replace those of an earlier call.
        name: ORG/NAME of both.
        license: The hub's name of the licence.

    Raises:
        ConfigError: A library is missing, or the name or the licence is invalid.
        RunFolderError: The run is not done, or the folder holds something else.
    """
    check_name(name)
    license_name = check_license(license)
    run = open_run(place)
    dataset = Dataset(map(_without_path, run.dataset))
    need("huggingface_hub", "hub")
    facts = card_facts(run, dataset, name=name)
    model = run.folder.model
    if not (model / STUDENT_FILE).exists():
        raise RunFolderError(f"{model}: no trained student is here")
    _make_room(folder)
    data_file = _write_rows(dataset, folder / "dataset")
    card = render_dataset_card(facts, license_name=license_name, data_file=data_file)
    write_text(folder / "dataset" / "README.md", card)
    about = croissant(
        facts,
        run.manifest,
        folder / "dataset" / data_file,
        folder / "dataset",
        is_flat=True,
        license_name=license_name,
        where=name,
    )
    write_json(folder / "dataset" / run.folder.croissant.name, about)
    _copy_model(model, folder / "model")
    card = render_model_card(facts, license_name=license_name)
    write_text(folder / "model" / "README.md", card)
    return sorted(p for part in PARTS for p in (folder / part).rglob("*") if p.is_file())


def _without_path(row: Example) -> Example:
    """Return a row without the path of its LLM on this machine."""
    return replace(
        row, provenance=replace(row.provenance, model=without_paths(row.provenance.model))
    )


def _make_room(folder: Path) -> None:
    """Remove the files of an earlier call, and nothing else.

    Raises:
        RunFolderError: The folder holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder}: this is a file, not a folder", hint="give another folder")
    is_ours = all((folder / part / "README.md").exists() for part in PARTS)
    others = [p for p in folder.glob("*") if not is_ours or p.name not in PARTS]
    if others:
        raise RunFolderError(
            f"{folder}: there is something else here: {others[0].name}", hint="give another folder"
        )
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)


def _write_rows(dataset: Dataset, folder: Path) -> str:
    """Write the rows, and return the path of their file relative to the folder."""
    if find_spec("pyarrow") is not None:
        dataset.to_parquet(folder / "data" / "train.parquet")
        return "data/train.parquet"
    write_jsonl(folder / "data" / "train.jsonl", dataset._to_flat_dicts())
    return "data/train.jsonl"


def _copy_model(source: Path, folder: Path) -> None:
    """Copy a student without the path of its encoder on this machine.

    The run may be read-only; the copy is not.
    """
    try:
        for file in source.rglob("*"):
            if file.is_file():
                copy = folder / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        about = json.loads((folder / STUDENT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{source}: cannot be copied: {error}") from error
    write_json(folder / STUDENT_FILE, {**about, "fields": without_paths(about["fields"])})


def push(folder: Path, name: str, *, private: bool) -> list[str]:
    """Upload the files of `write_hub_files`, and return the URLs of the data set and the model.

    Raises:
        ConfigError: A library or a token is missing, the token may not write there, or an existing
            repository is public although `private` is set.
        ProviderError: The hub cannot be reached, or failed.
    """
    need("huggingface_hub", "hub")
    from huggingface_hub import HfApi, get_token

    check_name(name)
    with _explaining(name):
        if get_token() is None:
            raise ConfigError("there is no token of the Hugging Face hub", hint=_LOG_IN)
        api = HfApi()
        urls: list[str] = []
        for part in PARTS:
            url = api.create_repo(name, repo_type=part, private=private, exist_ok=True)
            # An existing repository keeps its visibility, whatever `private` is.
            if private and not api.repo_info(name, repo_type=part).private:
                raise ConfigError(
                    f"{url} is there already, and everybody sees it; nothing was uploaded",
                    hint="--public uploads to it all the same; or give another name",
                )
            urls.append(str(url))
        for part in PARTS:
            api.upload_folder(
                repo_id=name,
                repo_type=part,
                folder_path=folder / part,
                commit_message="Upload a run of stepsynth",
            )
    return urls


@contextmanager
def _explaining(name: str) -> Generator[None]:
    """Turn errors of the hub or the network into one line, without a token."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        said = _one_line(error.server_message or error)
        if status in (401, 403):
            raise ConfigError(
                f"the hub does not let this token write to {name} ({status}): {said}", hint=_LOG_IN
            ) from error
        if status < 500 and status != 429:
            raise ConfigError(f"the hub does not take {name} ({status}): {said}") from error
        raise ProviderError(f"the hub failed ({status}): {said}", hint="try again later") from error
    except errors.LocalTokenNotFoundError as error:
        raise ConfigError("there is no token of the Hugging Face hub", hint=_LOG_IN) from error
    # The HTTP library's own base class, which differs between versions of the hub's library.
    except (
        errors.HTTPError,  # pyright: ignore[reportPrivateImportUsage]
        OSError,
        ValueError,
        RuntimeError,
    ) as error:
        raise ProviderError(
            f"the Hugging Face hub cannot be reached: {type(error).__name__}: {_one_line(error)}",
            hint="is the network there? --dry-run DIR writes the same files and uploads nothing",
        ) from error


def _one_line(said: object) -> str:
    return shorten(_TOKEN.sub("***", str(said)), 200)
