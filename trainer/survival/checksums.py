"""The checksums of a checkpoint's files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from doctor.bounded import read_json
from doctor.files import flush, flush_folder, sha256_of
from trainer.distributed.processes import Processes
from trainer.survival.own_checkpoints import CHECKSUMS, STATE


def seal(folder: Path, written: Mapping[str, str]) -> None:
    """Write the checksums, then flush all files and folders to the disk; except those that were `written` already."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    names = {file.relative_to(folder).as_posix(): file for file in files}
    sums = {name: written.get(name) or sha256_of(file) for name, file in names.items()}
    if missing := [name for name in written if name not in names]:
        raise OSError(f"{missing[0]} is missing")
    write_json(folder / CHECKSUMS, sums)
    for file in (*(file for name, file in names.items() if name not in written), folder / CHECKSUMS):
        flush(file)
    for parent in {file.parent for file in files}:
        flush_folder(parent)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")


def shared_problems(checkpoint: Path, processes: Processes) -> list[str]:
    """What is wrong with a checkpoint's files, of which each process reads some."""
    if processes.count == 1:
        return problems_of(checkpoint)
    own = "\n".join(problems_of(checkpoint, rank=processes.rank, count=processes.count))
    found = "\n".join(filter(None, processes.all_texts(own)))
    return [*dict.fromkeys(found.split("\n"))] if found else []


def problems_of(checkpoint: Path, rank: int = 0, count: int = 1, but: Collection[str] = ()) -> list[str]:
    """What is wrong with a checkpoint's files; empty if all match their checksums.

    Args:
        rank, count: check only every `count`-th file, from this one on.
        but: names of files that are not checked.
    """
    try:
        sums = read_json(checkpoint / CHECKSUMS)
    except (OSError, ValueError):
        return [f"{CHECKSUMS} is missing or truncated"]
    if not isinstance(sums, dict) or STATE not in sums:
        return [f"{CHECKSUMS} does not list its files"]
    checked = [name for name in sums if name not in but][rank::count]
    return [problem for name in checked if (problem := _problem_of(checkpoint / name, sums[name]))]


def _problem_of(file: Path, expected: str) -> str | None:
    if not file.is_file():
        return f"{file.name} is missing"
    try:
        return None if sha256_of(file) == expected else f"{file.name} has changed since it was written"
    except OSError as error:
        return f"{file.name} cannot be read: {error}"
