"""The DLLs that a compiled module imports on Windows, and which of them are missing."""

from __future__ import annotations

import re

from doctor.host import Absent, Found, Reader, Reading, Unreadable
from doctor.probes.paths import join, parent, system32


def library_folders(host: Reader) -> list[str]:
    """The folders where conda keeps the DLLs of this environment; torch searches them too."""
    prefixes = dict.fromkeys((host.identity.prefix, host.identity.base_prefix))
    return [join(host, prefix, "Library", "bin") for prefix in prefixes]


def loadable_names(host: Reader, module: str, torch_lib: tuple[str, ...]) -> set[str]:
    """Return the file names that Windows finds for `module` after `import torch`, outside of System32, in lower case."""
    present = set(map(str.lower, torch_lib))
    for folder in (parent(host, module), host.identity.base_prefix, *library_folders(host)):
        listed = host.list_directory(folder)
        present |= set(map(str.lower, listed.value)) if isinstance(listed, Found) else set()
    return present


def missing_imports(
    host: Reader, module: str, torch_lib: Reading[tuple[str, ...]]
) -> Reading[tuple[str, ...]]:
    """Return the DLLs that `module` imports and that Windows would not find after `import torch`.

    Absent if the module does not exist. Only Windows modules have an import table.
    """
    binary = host.binary(module)
    if not isinstance(binary, Found):
        return binary
    if not isinstance(torch_lib, Found):
        return Unreadable("the libraries in torch/lib could not be listed")
    present = loadable_names(host, module, torch_lib.value)
    windows = system32(host)
    elsewhere = [name for name in binary.value.imports if name not in present and not _is_always_there(name)]
    in_windows = {name: host.binary(join(host, windows, name)) for name in elsewhere}
    missing = tuple(name for name, found in in_windows.items() if isinstance(found, Absent))
    unseen = [name for name, found in in_windows.items() if isinstance(found, Unreadable)]
    if unseen and not missing:
        return Unreadable(f"{', '.join(unseen)} in {windows} could not be read")
    return Found(missing)


def _is_always_there(name: str) -> bool:
    """Whether it is an API set, which Windows maps to a real DLL, or the library of the running Python."""
    return name.startswith(("api-ms-", "ext-ms-")) or re.fullmatch(r"python3\d*t?\.dll", name) is not None
