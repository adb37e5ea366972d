"""The elevated parts of a fix and of an undo: started by them, not by a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doctor.commands.common import known_checks, selected, this_machine
from doctor.fixes.elevated_child import apply_elevated, undo_elevated

PLAN_HASH = typer.Option("--plan-hash")
ANSWER = typer.Option("--answer")


def apply(
    fixes: list[str],
    check: Annotated[list[str], typer.Option()],
    plan_hash: Annotated[str, PLAN_HASH],
    answer: Annotated[Path, ANSWER],
) -> None:
    """The elevated part of a fix: started by it, not by a person."""
    apply_elevated(this_machine(), selected(check, None), fixes, plan_hash, answer)


def undo(run_folder: Path, plan_hash: Annotated[str, PLAN_HASH], answer: Annotated[Path, ANSWER]) -> None:
    """The elevated part of an undo: started by it, not by a person."""
    undo_elevated(this_machine(), known_checks(), run_folder, plan_hash, answer)
