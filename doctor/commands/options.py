"""Options that several commands share. This module imports nothing of the doctor, so that `--help` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

PythonOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--python",
        metavar="PATH",
        help="Use this Python instead of the one that runs aios: an interpreter, or the folder of an environment "
        "or an application.",
    ),
]
