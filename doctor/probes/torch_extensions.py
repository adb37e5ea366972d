"""torch's cache of extensions compiled at run time, and the locks in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading, Unreadable
from doctor.probes.paths import join, user_cache

LOCK = "lock"  # file name, from torch.utils.file_baton


@dataclass(frozen=True)
class TorchExtensionsFacts:
    """`root` is the cache folder; `locked` are the extension folders with a lock file, Absent if there is no cache."""

    root: str
    locked: Reading[tuple[str, ...]]


def _default_root(host: Reader) -> str:
    """torch._appdirs.user_cache_dir("torch_extensions")."""
    folder = join(host, user_cache(host), "torch_extensions")
    return join(host, folder, "torch_extensions", "Cache") if host.identity.os == "windows" else folder


def _folders(host: Reader, root: str, pattern: str) -> Reading[tuple[str, ...]]:
    names = host.list_directory(root)
    if not isinstance(names, Found):
        return names
    return Found(tuple(join(host, root, name) for name in names.value if re.fullmatch(pattern, name)))


def _torch_extensions(host: Reader) -> TorchExtensionsFacts:
    named = host.variable("TORCH_EXTENSIONS_DIR")
    root = named or _default_root(host)
    # The default root has one folder per Python and accelerator: py312_cu130
    parents = Found((root,)) if named else _folders(host, root, r"py\d+t?_\w+")
    if not isinstance(parents, Found):
        return TorchExtensionsFacts(root, parents)
    locked = []
    for parent in parents.value:
        extensions = _folders(host, parent, r"\w[\w-]*")
        if isinstance(extensions, Unreadable) or (named and isinstance(extensions, Absent)):
            return TorchExtensionsFacts(root, extensions)
        for extension in extensions.value if isinstance(extensions, Found) else ():
            names = host.list_directory(extension)
            if isinstance(names, Found) and LOCK in names.value:
                locked.append(extension)
    return TorchExtensionsFacts(root, Found(tuple(locked)))


TORCH_EXTENSIONS = Probe("torch-extensions", _torch_extensions)
