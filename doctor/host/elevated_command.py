"""The command line that changes registry values with administrator rights: Windows' own programs and typed constants.

The elevated process is cmd.exe, which starts reg.exe once for each value, both by their full paths in the system folder. It reads
no file, variable or setting that a program without administrator rights can write. So nothing in the user's folders (a Python package, a
`.pth` file, a journal, a link) influences it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from doctor.host.base import RegistryValue

RegistryChange = tuple[str, str, RegistryValue | None]  # key below HKLM, name, value; None removes the value

# Without characters that cmd.exe or the C runtime treats in a special way: " % ^ & | < > ( ) ! and a backslash at the end
KEY = re.compile(r"HKLM(?:\\[A-Za-z0-9 _.-]+)+", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9 _.-]+", re.ASCII)
FOLDER = re.compile(r"[A-Za-z]:(?:\\[A-Za-z0-9 _.-]+)+", re.ASCII)
LARGEST_DWORD = 0xFFFFFFFF
LONGEST_LINE = 8000  # characters; cmd.exe allows 8,191


def why_not_elevated(change: RegistryChange) -> str | None:
    """Why a change cannot be written as a constant, as a clause about it. None: it can."""
    key, name, value = change
    if not KEY.fullmatch(key) or not NAME.fullmatch(name):
        return "its name has characters that are special on a command line"
    if value is not None and (value.type != "REG_DWORD" or not _is_number(value.value)):
        return f"it is a {value.type}; only numbers (REG_DWORD) are written with administrator rights"
    return None


def elevated_command(system_folder: str, changes: Sequence[RegistryChange]) -> tuple[str, str]:
    """Return the program, by its full path, and its parameters. Raises ValueError unless all are plain constants."""
    if not FOLDER.fullmatch(system_folder):
        raise ValueError(f"{system_folder!r} is not a plain system folder")
    if not changes:
        raise ValueError("nothing to change")
    # Where the process shares this one's output, as under Wine, it must not write into a report
    commands = " & ".join(f'"{system_folder}\\reg.exe" {_parameters(change)} >nul 2>&1' for change in changes)
    # /d: no AutoRun commands of the user's; /v:off: no "!"; /s: remove only the outer quotation marks
    line = f'/d /v:off /s /c "{commands}"'
    if len(line) > LONGEST_LINE:
        raise ValueError(f"{len(changes)} changes do not fit into one command line")
    return f"{system_folder}\\cmd.exe", line


def _parameters(change: RegistryChange) -> str:
    key, name, value = change
    if why := why_not_elevated(change):
        raise ValueError(f"{key}\\{name}: {why}")
    if value is None:
        return f'delete "{key}" /v "{name}" /f /reg:64'
    return f'add "{key}" /v "{name}" /t REG_DWORD /d {value.value} /f /reg:64'


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_DWORD
