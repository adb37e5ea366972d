"""Print the registry of the machine and of the user, one JSON list per line and key. Runs in the Windows Python."""

import itertools
import json
import sys
import winreg


def numbered(read, handle):
    """Yield what `read` returns for 0, 1, 2 ... until it raises an OSError."""
    for index in itertools.count():
        try:
            yield read(handle, index)
        except OSError:
            return


def walk(root, path, name):
    try:
        with winreg.OpenKey(root, path, 0, winreg.KEY_READ) as handle:
            found = sorted(map(repr, numbered(winreg.EnumValue, handle)))
            below = list(numbered(winreg.EnumKey, handle))
    except OSError as error:
        found, below = [f"unreadable: {error}"], []
    sys.stdout.write(json.dumps([name, found]) + "\n")
    for key in below:
        walk(root, f"{path}\\{key}" if path else key, f"{name}\\{key}")


walk(winreg.HKEY_LOCAL_MACHINE, "SOFTWARE", "HKLM\\SOFTWARE")
walk(winreg.HKEY_LOCAL_MACHINE, "SYSTEM", "HKLM\\SYSTEM")
walk(winreg.HKEY_CURRENT_USER, "", "HKCU")
