"""Runs in the Windows Python: starts the elevated line as ShellExecute would, in a hostile folder. Prints the exit status."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from typing import Any

from doctor.host.base import RegistryValue
from doctor.host.elevated_command import RegistryChange, elevated_command

folder = ctypes.create_unicode_buffer(260)
ctypes.windll.kernel32.GetSystemDirectoryW(folder, 260)  # type: ignore[attr-defined]
given: list[list[Any]] = json.loads(sys.argv[1])
changes: list[RegistryChange] = [
    (key, name, None if data is None else RegistryValue(type="REG_DWORD", value=data))
    for key, name, data in given
]
program, parameters = elevated_command(folder.value, changes)
sys.stdout.write(str(subprocess.run(f'"{program}" {parameters}', cwd=sys.argv[2]).returncode))
