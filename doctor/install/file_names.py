"""Names that a wheel must not contain: pip would write outside the environment, or the file system does not allow them."""

from __future__ import annotations

import os
import re
from pathlib import Path

LONGEST_NAME = 255  # of NTFS, ext4, APFS; ext4 counts bytes, NTFS UTF-16 units
# learn.microsoft.com/windows/win32/fileio/naming-a-file
FORBIDDEN_ON_WINDOWS = re.compile(r'[<>:"|?*\x00-\x1f]')
DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?:\.|$)", re.IGNORECASE)


def why_not_a_path(name: str, longest: int, *, windows: bool) -> str | None:
    """Why a wheel's member cannot be installed in a folder, as a clause. None: it can. Pure."""
    parts = name.split("/")
    if (
        name.startswith("/")
        or re.match("[A-Za-z]:", name)
        or "\\" in name
        or not {"", ".", ".."}.isdisjoint(parts)
    ):
        return "which is not a path inside the environment"
    if "\0" in name:
        return "which no file system can hold"
    for part in parts:
        length = len(part.encode("utf-16-le")) // 2 if windows else len(os.fsencode(part))
        if length > longest:
            return f"a name of {length} characters, more than the {longest} that are allowed here"
        if windows and (
            FORBIDDEN_ON_WINDOWS.search(part) or DEVICES.match(part) or part.endswith((" ", "."))
        ):
            return "a name that Windows does not allow"
    return None


def longest_name(folder: Path) -> int:
    """The number of characters, on POSIX of bytes, that a file name may have in a folder."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else LONGEST_NAME
    except (OSError, ValueError):
        return LONGEST_NAME
