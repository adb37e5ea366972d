"""Memory, and on Windows the configured page files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Memory, Reader, Reading, Unreadable

MEMORY_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management"
PAGE_FILES = "PagingFiles"


@dataclass(frozen=True)
class PageFile:
    """A configured page file. `maximum_bytes` is None if Windows manages its size."""

    path: str
    maximum_bytes: int | None


@dataclass(frozen=True)
class MemoryFacts:
    """`page_files` is Absent on other systems, and where Windows has no setting for them."""

    memory: Reading[Memory]
    page_files: Reading[tuple[PageFile, ...]]


def parse_page_files(lines: tuple[str, ...]) -> Reading[tuple[PageFile, ...]]:
    """Parse the value PagingFiles: "C:\\pagefile.sys 1024 4096", in megabytes. With 0 or no size, Windows manages it."""
    page_files = []
    for line in filter(str.strip, lines):
        match = re.fullmatch(r"(.+?)(?:\s+(\d{1,9})(?:\s+(\d{1,9}))?)?\s*", line)
        if not match:
            return Unreadable(f"{PAGE_FILES} contains {line[:60]!r}")
        path, initial, maximum = match.groups()
        megabytes = int(maximum or initial or 0)
        managed = path.startswith("?") or not megabytes
        page_files.append(PageFile(path.strip(), None if managed else megabytes * 2**20))
    return Found(tuple(page_files))


def _memory(host: Reader) -> MemoryFacts:
    memory = host.memory()
    if host.identity.os != "windows":
        return MemoryFacts(memory, Absent())
    setting = host.registry_value(MEMORY_KEY, PAGE_FILES)
    if not isinstance(setting, Found):
        return MemoryFacts(memory, setting)
    lines = setting.value.value
    return MemoryFacts(memory, parse_page_files(lines if isinstance(lines, tuple) else (str(lines),)))


MEMORY = Probe("memory", _memory)
