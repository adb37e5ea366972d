"""Prints lines of the trainer's commands. Text from configurations, data and models cannot control the terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys

import typer

from doctor.visible import visible_lines
from trainer.text_lines import shown


def echo(text: str, err: bool = False) -> None:
    """Print a line, or several, wrapped on a terminal."""
    stream = sys.stderr if err else sys.stdout
    typer.echo(shown(text, shutil.get_terminal_size().columns if stream.isatty() else None), err=err)


def echo_error(text: str) -> None:
    """Print an error on stderr; its first word is red on a terminal that shows colours."""
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        typer.secho("Error", fg="red", bold=True, nl=False, err=True)
        width = shutil.get_terminal_size().columns
        typer.echo(shown(f"Error: {text}", width).removeprefix("Error"), err=True)
    else:
        echo(f"Error: {text}", err=True)


def echo_json(document: object) -> None:
    """Print a JSON document in ASCII, which every pipe shows."""
    typer.echo(json.dumps(document, indent=2))


def write_generated(text: str) -> None:
    """Write and flush part of a generated text: unchanged to a file or pipe, with control characters escaped on a terminal."""
    sys.stdout.write(visible_lines(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
