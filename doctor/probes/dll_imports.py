"""The DLLs that a compiled module loads on Windows, and which of them are nowhere."""

from __future__ import annotations

import re

from doctor.host import Absent, Found, Host, Reading, Unreadable
from doctor.probes.paths import join, parent, system32


def library_folders(host: Host) -> list[str]:
    """Where conda keeps the DLLs of this environment; torch looks there, too."""
    prefixes = dict.fromkeys((host.identity.prefix, host.identity.base_prefix))
    return [join(host, prefix, "Library", "bin") for prefix in prefixes]


def missing_imports(host: Host, module: str, torch_lib: Reading[tuple[str, ...]]) -> Reading[tuple[str, ...]]:
    """The DLLs that a compiled module needs and that are nowhere where Windows looks once torch is imported.

    Absent: there is no such module. Only Windows has such a table.
    """
    binary = host.binary(module)
    if not isinstance(binary, Found):
        return binary
    if not isinstance(torch_lib, Found):
        return Unreadable("the libraries inside torch cannot be seen")
    present = set(map(str.lower, torch_lib.value))
    for folder in (parent(host, module), host.identity.base_prefix, *library_folders(host)):
        listed = host.list_directory(folder)
        present |= set(map(str.lower, listed.value)) if isinstance(listed, Found) else set()
    windows = system32(host)
    elsewhere = [name for name in binary.value.imports if name not in present and not _is_always_there(name)]
    in_windows = {name: host.binary(join(host, windows, name)) for name in elsewhere}
    missing = tuple(name for name, found in in_windows.items() if isinstance(found, Absent))
    unseen = [name for name, found in in_windows.items() if isinstance(found, Unreadable)]
    if unseen and not missing:
        return Unreadable(f"{', '.join(unseen)} in {windows} cannot be seen")
    return Found(missing)


def _is_always_there(name: str) -> bool:
    """Names that Windows maps to something else, and the library of the Python that is running."""
    return name.startswith(("api-ms-", "ext-ms-")) or re.fullmatch(r"python3\d*t?\.dll", name) is not None
