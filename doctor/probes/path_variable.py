"""PATH: what this terminal has, what the user and the system have set, and which of its folders are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Host, Reading, RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT
from doctor.host.variables import expanded
from doctor.probes.paths import windows_folder

VALUE = "Path"


@dataclass(frozen=True)
class Entry:
    """One folder of PATH, as it is written and as programs get it."""

    written: str
    folder: str

    @property
    def key(self) -> str:
        """The same for two spellings of one folder."""
        plain = self.folder.replace('"', "").replace("/", "\\").strip()
        return re.sub(r"(?<!^)\\+", r"\\", plain).rstrip("\\").casefold()


@dataclass(frozen=True)
class SearchPath:
    """The entries of one registry value, in their order."""

    value: RegistryValue
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class SearchPathFacts:
    process: str
    user: Reading[SearchPath]
    system: Reading[SearchPath]
    missing: tuple[str, ...]  # folders of either that are not there


def split_path(text: str) -> tuple[str, ...]:
    """What stands between semicolons that are not quoted. Joined by semicolons it is the text again."""
    parts = re.split('([;"])', text)
    entries, quoted = [""], False
    for part in parts:
        quoted ^= part == '"'
        if part == ";" and not quoted:
            entries.append("")
        else:
            entries[-1] += part
    return tuple(entries)


def _search_path(host: Host, key: str) -> Reading[SearchPath]:
    value = host.registry_value(key, VALUE)
    if not isinstance(value, Found):
        return value
    written = split_path(str(value.value.value))
    entries = (Entry(w, expanded(host, RegistryValue(type=value.value.type, value=w))) for w in written)
    return Found(SearchPath(value.value, tuple(entries)))


def _is_missing(host: Host, entry: Entry) -> bool:
    """Folders of Windows itself are taken as there, for they hold thousands of names; so are network paths."""
    windows = windows_folder(host).casefold()
    if not entry.key or entry.key.startswith(("\\\\", windows)):
        return False
    return isinstance(host.list_directory(entry.folder.replace('"', "").strip()), Absent)


def _missing(host: Host, parts: Sequence[Reading[SearchPath]]) -> tuple[str, ...]:
    entries = {e.key: e for part in parts if isinstance(part, Found) for e in part.value.entries}
    return tuple(entry.folder for entry in entries.values() if _is_missing(host, entry))


def _facts(host: Host) -> SearchPathFacts:
    user, system = (_search_path(host, key) for key in (USER_ENVIRONMENT, SYSTEM_ENVIRONMENT))
    return SearchPathFacts(host.variable("PATH") or "", user, system, _missing(host, (system, user)))


SEARCH_PATH = Probe("search-path", _facts)
