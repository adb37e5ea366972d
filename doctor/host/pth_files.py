"""The folders that .pth files add to the search path of a Python. Lines with code are not executed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from doctor.bounded import read_beginning

CODE = ("import ", "import\t")
LARGEST = 64 * 1024  # bytes


def with_pth_files(folders: Iterable[str]) -> tuple[str, ...]:
    """Return the folders of packages, each followed by the existing folders that its .pth files name."""
    found: dict[str, None] = {}
    for folder in folders:
        found.setdefault(folder)
        for added in _added_by(Path(folder)):
            found.setdefault(added)
    return tuple(found)


def _added_by(folder: Path) -> Iterator[str]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix == ".pth" and file.name[0] != ".")
    except OSError:  # it does not exist, or cannot be listed
        return
    for file in files:
        try:
            text = read_beginning(file, LARGEST).decode("utf-8-sig", errors="replace")
        except OSError:
            continue
        for line in map(str.rstrip, text.splitlines()):
            if line.strip() and not line.startswith(("#", *CODE)) and "\0" not in line:
                path = folder / line
                if path.exists():
                    yield str(path)
