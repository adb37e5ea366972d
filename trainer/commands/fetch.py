"""`aios fetch`: downloads a model. torch is not imported."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from trainer import fetch as fetching
from trainer.commands.explanation import report_errors
from trainer.commands.output import echo
from trainer.errors import UserError
from trainer.fetch import RemoteModel, gib
from trainer.models import hub

SCHEMA_VERSION = 1

fetch = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@fetch.command()
def run_fetch(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Hugging Face id, such as Qwen/Qwen3-4B-Base, or id@revision."),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Download without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON. Downloads only with --yes.")] = False,
) -> None:
    """Download a model for training, after showing its size and licence.

    Only safetensors, the configuration and the tokenizer. An interrupted download continues.
    """
    with report_errors():
        found = fetching.look_up(model)
        absent = fetching.missing(found)
        if not as_json:
            show(found, absent)
        fetching.check_space(absent)
        wanted = yes or (not as_json and (not absent or _confirmed()))
        if wanted:
            fetching.download(found, absent, lambda text: echo(text, err=True))
        if as_json:
            echo(json.dumps(_document(found, absent, wanted), indent=2))
        elif wanted:
            echo(
                f"{model} is in {fetching.snapshot(found)}\nTrain it: aios train --name {model} --dataset-file TEXT"
            )


def offer(model: str) -> None:
    """Ask whether a model that is not on this computer may be downloaded, and download it then. Does nothing without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or Path(model).exists():
        return
    with contextlib.suppress(UserError):
        hub.local_copy(model, "--name")
        return
    found = fetching.look_up(model)
    absent = fetching.missing(found)
    show(found, absent)
    fetching.check_space(absent)
    if _confirmed():
        fetching.download(found, absent, lambda text: echo(text, err=True))


def show(model: RemoteModel, absent: tuple[fetching.RemoteFile, ...]) -> None:
    echo(f"{model.name} at {model.commit}")
    echo(f"Licence: {model.licence or 'not stated'}")
    size = sum(file.size for file in absent)
    echo(f"Size: {gib(model.size)}, {len(model.files)} files; to download: {gib(size)}")


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise UserError("Downloading needs a confirmation, but stdin is not a terminal. Use --yes.")
    return typer.confirm("Download?", default=True)


def _document(
    model: RemoteModel, absent: tuple[fetching.RemoteFile, ...], downloaded: bool
) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model.name,
        "revision": model.revision,
        "commit": model.commit,
        "licence": model.licence,
        "bytes": model.size,
        "bytes_to_download": sum(file.size for file in absent),
        "files": [{"name": file.name, "bytes": file.size, "sha256": file.sha256} for file in model.files],
        "downloaded": downloaded,
        "folder": str(fetching.snapshot(model)) if downloaded or not absent else None,
    }
