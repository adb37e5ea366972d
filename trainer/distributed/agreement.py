"""What all processes of a run must agree on before it starts, and that they see the same folder."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from doctor.bounded import parse_json
from trainer.distributed.processes import Processes
from trainer.errors import UserError

PATIENCE = 10.0  # seconds; a network drive shows a new file after a moment
SHOWN = 3  # differences in a message


def check_same(processes: Processes, what: str, own: Mapping[str, object]) -> None:
    """Check that all processes have the same figures.

    Args:
        what: what they describe, for the message.
        own: those of this process, by name.

    Raises:
        UserError: one has others; it names the process, the figure, and both values.
    """
    if processes.count == 1:
        return
    mine = {"process": processes.name, **{name: str(value) for name, value in own.items()}}
    first, *others = [parse_json(text) for text in processes.all_texts(json.dumps(mine))]
    for other in others:
        names = [name for name in {**first, **other} if name != "process"]
        different = [name for name in names if first.get(name) != other.get(name)]
        if different:
            listed = ", ".join(
                f"{name} = {other.get(name, 'missing')} instead of {first.get(name, 'missing')}"
                for name in different[:SHOWN]
            )
            more = f", and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
            raise UserError(
                f"The processes of this run differ in {what}: {other['process']} has {listed}{more} (as {first['process']} "
                "has). Make them the same on all machines."
            )


def check_shared_folder(processes: Processes, folder: Path, key: str) -> None:
    """Check that all processes see the files that the first one writes to a folder.

    Args:
        key: how the folder is configured, for the message.

    Raises:
        UserError: a process does not see them.
    """
    if processes.count == 1:
        return
    problem = ""
    with shared_mark(processes, folder) as mark:
        if not appears(mark):
            found = (
                "does not see what the first process writes there"
                if folder.is_dir()
                else "has no such folder"
            )
            problem = f"{processes.name} {found}"
        problems = [text for text in processes.all_texts(problem) if text]
    if problems:
        raise UserError(
            f"{folder.absolute()} is not the same folder for all processes: {'; '.join(problems[:SHOWN])}. Checkpoints and "
            f"records need a folder that all machines share, under the same path: a network drive. Set it with {key}."
        )


@contextmanager
def shared_mark(processes: Processes, folder: Path) -> Iterator[Path]:
    """The path of a file in a folder, which the first process writes, and deletes afterwards. All processes take part."""
    mark = folder / processes.all_texts(f".shared-{secrets.token_hex(4)}")[0]
    try:
        if processes.first:
            with suppress(OSError):  # then no process sees it
                folder.mkdir(parents=True, exist_ok=True)
                mark.write_text("seen by all processes?\n", encoding="utf-8", newline="\n")
        processes.sum(0)
        yield mark
    finally:
        if processes.first:
            mark.unlink(missing_ok=True)


def appears(path: Path) -> bool:
    """Whether a file is there, or soon will be."""
    end = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True
