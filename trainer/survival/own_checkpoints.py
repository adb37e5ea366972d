"""What aios wrote in a folder of checkpoints, and its deletion. Notes of the user, other folders and links stay. Imports no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path, PurePosixPath

from doctor.bounded import read_json

CHECKSUMS = "checksums.json"
STATE = "state.json"
LATEST = "latest"
BEST = "best"
STEP = re.compile(r"step-\d+")
PARTIAL = re.compile(r"step-\d+(\.\d+)?(\.old)?\.partial")
# The files of a checkpoint whose checksums are not written yet, or are damaged. README.md: of peft
WRITTEN = re.compile(
    r"(checksums|state|config|generation_config|adapter_config|base/config|tokenizer|tokenizer_config)\.json"
    r"|(special_tokens_map|added_tokens|vocab|preprocessor_config)\.json|vocab\.txt|merges\.txt|README\.md"
    r"|(tokenizer|spiece|sentencepiece\.bpe)\.model|(additional_chat_templates/)?\w+\.jinja"
    r"|(model|adapter_model|training_state)([-.]\w+)*\.safetensors(\.index\.json)?"
    r"|shards/(shard-[^/]*\.safetensors|\.metadata|model\.safetensors\.index\.json)"
)


def own_files(checkpoint: Path) -> list[Path]:
    """Return the files in a checkpoint that aios wrote: those in its checksums, or those with names that aios gives.

    A folder that is a link, or has neither checksums nor state, is not a checkpoint of aios and has none.
    """
    if checkpoint.is_symlink() or not checkpoint.is_dir():
        return []
    listed = _listed(checkpoint)
    if listed is not None:
        return [file for name, file in _regular_files(checkpoint).items() if name in listed]
    is_own = PARTIAL.fullmatch(checkpoint.name) or (checkpoint / STATE).is_file()
    return written_files(checkpoint) if is_own else []


def written_files(folder: Path) -> list[Path]:
    """Return the files in a folder whose names are those of a checkpoint's files."""
    return [file for name, file in _regular_files(folder).items() if WRITTEN.fullmatch(name)]


def others_in(checkpoint: Path) -> list[Path]:
    """Return what else is in a checkpoint: files of the user, links, and empty folders."""
    own = {*own_files(checkpoint)}
    own |= {parent for file in own for parent in file.parents}
    return sorted(path for path in checkpoint.rglob("*") if path not in own)


def delete(checkpoint: Path) -> None:
    """Delete the files of aios in a checkpoint, and the folders that are then empty.

    The state is last: what a kill leaves is still known as a checkpoint, and as a damaged one. On Windows, files that are
    open elsewhere remain, and the next save retries.
    """
    files = own_files(checkpoint)
    if checkpoint.is_symlink():
        return
    order = {CHECKSUMS: -1, STATE: 1}
    delete_files(sorted(files, key=lambda file: order.get(file.name, 0)), checkpoint)
    if PARTIAL.fullmatch(checkpoint.name):  # a kill may have left them without files
        for folder in (checkpoint / "shards", checkpoint / "base", checkpoint):
            with suppress(OSError):
                folder.rmdir()


def partial_of(checkpoint: Path) -> Path:
    """Return the path to write a checkpoint at before it is renamed. What a killed run left there is deleted."""
    for number in count(1):
        more = "" if number == 1 else f".{number}"
        path = checkpoint.with_name(f"{checkpoint.name}{more}.partial")
        delete(path)
        if not os.path.lexists(path):
            break
    return path


def files_in(folder: Path) -> list[Path]:
    """Return the files that aios wrote in the folder of a run's checkpoints."""
    named = [path for path in folder.glob("step-*") if STEP.fullmatch(path.name)]
    partial = [path for path in folder.glob("*.partial") if PARTIAL.fullmatch(path.name)]
    notes = [folder / name for name in (LATEST, BEST) if (folder / name).is_file()]
    return [*(file for path in (*named, *partial) for file in own_files(path)), *notes]


def delete_files(files: Iterable[Path], root: Path) -> None:
    """Delete files below a folder, then the folders that held them, and the root, if they are empty."""
    parents = set()
    for file in files:
        with suppress(OSError):
            file.unlink()
        parents |= {parent for parent in file.parents if parent.is_relative_to(root)}
    for folder in sorted(parents, key=lambda folder: -len(folder.parts)):
        with suppress(OSError):
            folder.rmdir()


def _listed(checkpoint: Path) -> set[str] | None:
    """The names in a checkpoint's checksums, with those themselves; None if they cannot be read."""
    try:
        sums = read_json(checkpoint / CHECKSUMS)
    except (OSError, ValueError):
        return None
    if not isinstance(sums, dict) or STATE not in sums:
        return None
    return {*(str(PurePosixPath(name)) for name in sums), CHECKSUMS}


def _regular_files(folder: Path) -> dict[str, Path]:
    """Every regular file below a folder, by its name; links are neither files nor followed."""
    found = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return {
        file.relative_to(folder).as_posix(): file
        for file in found
        if file.is_file() and not file.is_symlink()
    }
