"""Hidden commands: the elevated child processes of `aios doctor fix` and `undo`."""

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
    """Apply the steps of a fix that need administrator rights. Started by `aios doctor fix`."""
    apply_elevated(this_machine(), selected(check, None), fixes, plan_hash, answer)


def undo(run_folder: Path, plan_hash: Annotated[str, PLAN_HASH], answer: Annotated[Path, ANSWER]) -> None:
    """Undo the steps of a run that need administrator rights. Started by `aios doctor undo`."""
    undo_elevated(this_machine(), known_checks(), run_folder, plan_hash, answer)
