"""Change registry values, then print the values of the keys that aios may change, as JSON. Runs in the Windows Python.

The argument is a JSON list of changes: [key, name, type, data]; the type null removes the value; the type "SDDL" sets the
security descriptor of the key to `data`.
"""

import contextlib
import ctypes
import json
import sys
import winreg

ROOTS = {"HKLM": winreg.HKEY_LOCAL_MACHINE, "HKCU": winreg.HKEY_CURRENT_USER}
TYPES = {"REG_SZ": 1, "REG_EXPAND_SZ": 2, "REG_BINARY": 3, "REG_DWORD": 4, "REG_MULTI_SZ": 7}
SHOWN = (
    r"HKCU\Environment",
    r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem",
    r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment",
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\AppModelUnlock",
    r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management",
)
WRITE_DAC = 0x40000
DACL_SECURITY_INFORMATION = 4


def open_key(key, access):
    root, _, path = key.partition("\\")
    return winreg.OpenKey(ROOTS[root], path, 0, access)


def values(key):
    try:
        with open_key(key, winreg.KEY_READ) as handle:
            found = [winreg.EnumValue(handle, index) for index in range(winreg.QueryInfoKey(handle)[1])]
    except PermissionError:
        return None
    except FileNotFoundError:
        return {}
    return {
        name: [number, data.hex() if isinstance(data, bytes) else data]
        for name, data, number in sorted(found)
    }


def change(key, name, kind, data):
    if kind == "SDDL":
        protect(key, data)
        return
    root, _, path = key.partition("\\")
    if kind is not None:
        with winreg.CreateKeyEx(ROOTS[root], path, 0, winreg.KEY_SET_VALUE) as handle:
            winreg.SetValueEx(handle, name, 0, TYPES[kind], data)
    else:
        with contextlib.suppress(FileNotFoundError), open_key(key, winreg.KEY_SET_VALUE) as handle:
            winreg.DeleteValue(handle, name)


def protect(key, sddl):
    advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    descriptor = ctypes.c_void_p()
    if not advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW(
        sddl, 1, ctypes.byref(descriptor), None
    ):
        raise ctypes.WinError(ctypes.get_last_error())
    with open_key(key, WRITE_DAC) as handle:
        failed = advapi32.RegSetKeySecurity(
            ctypes.c_void_p(handle.handle), DACL_SECURITY_INFORMATION, descriptor
        )
    if failed:
        raise ctypes.WinError(failed)


for arguments in json.loads(sys.argv[1]):
    change(*arguments)
sys.stdout.write(json.dumps({key: values(key) for key in SHOWN}))
