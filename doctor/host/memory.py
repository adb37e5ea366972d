"""The memory of this machine, and how much of it programs can allocate."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from doctor.host.base import Memory
from doctor.host.readings import Found, Reading

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class MemoryStatus(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = (
            ("dwLength", wintypes.DWORD),
            ("dwMemoryLoad", wintypes.DWORD),
            ("ullTotalPhys", ctypes.c_uint64),
            ("ullAvailPhys", ctypes.c_uint64),
            ("ullTotalPageFile", ctypes.c_uint64),  # despite its name, the commit limit
            ("ullAvailPageFile", ctypes.c_uint64),
            ("ullTotalVirtual", ctypes.c_uint64),
            ("ullAvailVirtual", ctypes.c_uint64),
            ("ullAvailExtendedVirtual", ctypes.c_uint64),
        )

    def read_memory() -> Reading[Memory]:
        """Return the memory of this machine. Raises OSError."""
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        status = MemoryStatus(dwLength=ctypes.sizeof(MemoryStatus))
        if not kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            raise ctypes.WinError(ctypes.get_last_error())
        return Found(
            Memory(
                total_bytes=status.ullTotalPhys,
                available_bytes=status.ullAvailPhys,
                commit_limit_bytes=status.ullTotalPageFile,
                commit_available_bytes=status.ullAvailPageFile,
            )
        )

elif sys.platform == "linux":
    from pathlib import Path, PurePosixPath

    STRICT_OVERCOMMIT = "2"  # sysctl vm.overcommit_memory: the kernel does not allocate beyond CommitLimit

    def read_memory(root: Path = Path("/")) -> Reading[Memory]:
        """Return the memory of this machine, limited by its control groups. `root` contains proc and sys. Raises OSError."""
        lines = (line.split() for line in (root / "proc/meminfo").read_text("utf-8").splitlines())
        kilobytes = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
        info = {name: 1024 * number for name, number in kilobytes.items()}
        if "MemTotal" not in info:
            raise ValueError("/proc/meminfo has no MemTotal")
        total, available = info["MemTotal"], info.get("MemAvailable", info.get("MemFree", 0))
        swap, swap_free = info.get("SwapTotal", 0), info.get("SwapFree", 0)
        for group in _control_groups(root):
            limit, used = _number(group, "memory.max", "memory.limit_in_bytes"), _used(group)
            swap_limit = _number(group, "memory.swap.max")
            if limit is not None and limit < info["MemTotal"]:
                total, available = min(total, limit), min(available, max(0, limit - used))
            if swap_limit is not None:
                swap, swap_free = min(swap, swap_limit), min(swap_free, swap_limit)
        commit, commit_available = total + swap, available + swap_free
        overcommit = root / "proc/sys/vm/overcommit_memory"
        if "CommitLimit" in info and _text(overcommit) == STRICT_OVERCOMMIT:
            commit = min(commit, info["CommitLimit"])
            committed = info.get("Committed_AS", 0)
            commit_available = min(commit_available, max(0, info["CommitLimit"] - committed))
        return Found(
            Memory(
                total_bytes=total,
                available_bytes=available,
                commit_limit_bytes=commit,
                commit_available_bytes=commit_available,
            )
        )

    def _control_groups(root: Path) -> Iterator[Path]:
        """The folders of this process's memory control group and of its parents, which limit it, too."""
        for line in (_text(root / "proc/self/cgroup") or "").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top = root / "sys/fs/cgroup" / ("memory" if controllers else "")  # cgroup version 1, version 2
            inner = PurePosixPath(path.lstrip("/"))
            yield from (top / folder for folder in (inner, *inner.parents))

    def _used(group: Path) -> int:
        """The memory that the group uses, without the file cache that can be reclaimed."""
        used = _number(group, "memory.current", "memory.usage_in_bytes") or 0
        for line in (_text(group / "memory.stat") or "").splitlines():
            name, _, number = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file") and number.isdigit():
                return max(0, used - int(number))
        return used

    def _number(group: Path, *names: str) -> int | None:
        """The number in the first of these files that has one; "max" is not a number."""
        texts = (_text(group / name) for name in names)
        return next((int(text) for text in texts if text and text.isdigit()), None)

    def _text(path: Path) -> str | None:
        try:
            return path.read_text("utf-8").strip()
        except OSError:
            return None

else:
    import psutil

    def read_memory() -> Reading[Memory]:
        """Return the memory of this machine."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return Found(
            Memory(
                total_bytes=memory.total,
                available_bytes=memory.available,
                commit_limit_bytes=memory.total + swap.total,
                commit_available_bytes=memory.available + swap.free,
            )
        )
