"""Prints lines of the trainer's commands. Text from configurations, data and models cannot control the terminal."""

from __future__ import annotations

import sys

import typer

from doctor.visible import visible_lines


def echo(text: str, err: bool = False) -> None:
    """Print a line, or several."""
    typer.echo(visible_lines(text), err=err)


def write_generated(text: str) -> None:
    """Write and flush part of a generated text: unchanged to a file or pipe, with control characters escaped on a terminal."""
    sys.stdout.write(visible_lines(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
