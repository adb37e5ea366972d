"""PATH: its value in this terminal, the user's and the system's registry values, and which folders are missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading, RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT
from doctor.host.variables import expanded
from doctor.probes.paths import windows_folder

VALUE = "Path"


@dataclass(frozen=True)
class Entry:
    """One entry of PATH, as written in the registry and as the folder programs get."""

    written: str
    folder: str

    @property
    def key(self) -> str:
        """A spelling-independent form of the folder, for comparison."""
        plain = self.folder.replace('"', "").replace("/", "\\").strip()
        return re.sub(r"(?<!^)\\+", r"\\", plain).rstrip("\\").casefold()


@dataclass(frozen=True)
class SearchPath:
    """One registry value of PATH and its entries, in order."""

    value: RegistryValue
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class SearchPathFacts:
    """PATH of this process, of the user and of the system; `missing` are folders in the latter two that do not exist."""

    process: str
    user: Reading[SearchPath]
    system: Reading[SearchPath]
    missing: tuple[str, ...]


def split_path(text: str) -> tuple[str, ...]:
    """Split at semicolons outside quotes. `";".join` of the result restores the text."""
    parts = re.split('([;"])', text)
    entries, quoted = [""], False
    for part in parts:
        quoted ^= part == '"'
        if part == ";" and not quoted:
            entries.append("")
        else:
            entries[-1] += part
    return tuple(entries)


def _search_path(host: Reader, key: str) -> Reading[SearchPath]:
    value = host.registry_value(key, VALUE)
    if not isinstance(value, Found):
        return value
    written = split_path(str(value.value.value))
    entries = (Entry(w, expanded(host, RegistryValue(type=value.value.type, value=w))) for w in written)
    return Found(SearchPath(value.value, tuple(entries)))


def _is_missing(host: Reader, entry: Entry) -> bool:
    """Whether the folder does not exist. Not tested: Windows' own folders (thousands of files) and network paths."""
    windows = windows_folder(host).casefold()
    if not entry.key or entry.key.startswith(("\\\\", windows)):
        return False
    return isinstance(host.list_directory(entry.folder.replace('"', "").strip()), Absent)


def _missing(host: Reader, parts: Sequence[Reading[SearchPath]]) -> tuple[str, ...]:
    entries = {e.key: e for part in parts if isinstance(part, Found) for e in part.value.entries}
    return tuple(entry.folder for entry in entries.values() if _is_missing(host, entry))


def _facts(host: Reader) -> SearchPathFacts:
    user, system = (_search_path(host, key) for key in (USER_ENVIRONMENT, SYSTEM_ENVIRONMENT))
    return SearchPathFacts(host.variable("PATH") or "", user, system, _missing(host, (system, user)))


SEARCH_PATH = Probe("search-path", _facts)
