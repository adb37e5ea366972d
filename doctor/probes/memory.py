"""Memory, and the page files that Windows may use beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Host, Memory, Reading, Unreadable

MEMORY_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management"
PAGE_FILES = "PagingFiles"


@dataclass(frozen=True)
class PageFile:
    """One that Windows is told to keep. `maximum_bytes` None: Windows chooses."""

    path: str
    maximum_bytes: int | None


@dataclass(frozen=True)
class MemoryFacts:
    memory: Reading[Memory]
    page_files: Reading[tuple[PageFile, ...]]  # Absent on other systems, and where Windows is told nothing


def parse_page_files(lines: tuple[str, ...]) -> Reading[tuple[PageFile, ...]]:
    """The value PagingFiles: "C:\\pagefile.sys 1024 4096" in megabytes; 0 or nothing: Windows chooses."""
    page_files = []
    for line in filter(str.strip, lines):
        match = re.fullmatch(r"(.+?)(?:\s+(\d{1,9})(?:\s+(\d{1,9}))?)?\s*", line)
        if not match:
            return Unreadable(f"{PAGE_FILES} holds {line[:60]!r}")
        path, initial, maximum = match.groups()
        megabytes = int(maximum or initial or 0)
        chosen = path.startswith("?") or not megabytes
        page_files.append(PageFile(path.strip(), None if chosen else megabytes * 2**20))
    return Found(tuple(page_files))


def _memory(host: Host) -> MemoryFacts:
    memory = host.memory()
    if host.identity.os != "windows":
        return MemoryFacts(memory, Absent())
    told = host.registry_value(MEMORY_KEY, PAGE_FILES)
    if not isinstance(told, Found):
        return MemoryFacts(memory, told)
    lines = told.value.value
    return MemoryFacts(memory, parse_page_files(lines if isinstance(lines, tuple) else (str(lines),)))


MEMORY = Probe("memory", _memory)
