"""Memory that programs can use, within the limits of a container's control group and of the kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from doctor.host import Found, Host, Memory, Unreadable

GIB = 2**30
MEMINFO = """\
MemTotal:       16777216 kB
MemFree:         1048576 kB
MemAvailable:    8388608 kB
SwapTotal:       4194304 kB
SwapFree:        3145728 kB
CommitLimit:    12582912 kB
Committed_AS:    9437184 kB
HugePages_Total:       0
"""
WHOLE = Memory(
    total_bytes=16 * GIB,
    available_bytes=8 * GIB,
    commit_limit_bytes=20 * GIB,
    commit_available_bytes=11 * GIB,
)


def test_this_machine_s_memory_is_plausible(host: Host) -> None:
    reading = host.memory()
    assert isinstance(reading, Found)
    memory = reading.value
    assert 0 < memory.available_bytes <= memory.total_bytes <= psutil.virtual_memory().total
    assert 0 < memory.commit_available_bytes <= memory.commit_limit_bytes


if sys.platform == "linux":
    from doctor.host.memory import read_memory

    def machine(root: Path, **files: str) -> Memory:
        """The memory of a Linux with these files; in their names, __ stands for / and _dot_ for a dot."""
        for name, content in {"proc__meminfo": MEMINFO, **files}.items():
            path = root / name.replace("_dot_", ".").replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        reading = read_memory(root)
        assert isinstance(reading, Found)
        return reading.value

    def test_a_machine_without_limits(tmp_path: Path) -> None:
        assert machine(tmp_path) == WHOLE

    def test_a_kernel_without_overcommit(tmp_path: Path) -> None:
        memory = machine(tmp_path, proc__sys__vm__overcommit_memory="2\n")
        assert (memory.commit_limit_bytes, memory.commit_available_bytes) == (12 * GIB, 3 * GIB)
        assert machine(tmp_path, proc__sys__vm__overcommit_memory="1\n") == WHOLE

    def test_a_container_has_the_memory_left_in_its_control_group(tmp_path: Path) -> None:
        memory = machine(
            tmp_path,
            proc__self__cgroup="0::/user/job\n",
            sys__fs__cgroup__user__job__memory_dot_max=f"{4 * GIB}\n",
            sys__fs__cgroup__user__job__memory_dot_current=f"{3 * GIB}\n",
            sys__fs__cgroup__user__job__memory_dot_stat=f"anon 5\ninactive_file {2 * GIB}\n",
            sys__fs__cgroup__user__job__memory_dot_swap_dot_max="0\n",
        )
        assert memory == Memory(
            total_bytes=4 * GIB,
            available_bytes=3 * GIB,
            commit_limit_bytes=4 * GIB,
            commit_available_bytes=3 * GIB,
        )

    def test_the_limit_of_a_parent_group_applies(tmp_path: Path) -> None:
        memory = machine(
            tmp_path,
            proc__self__cgroup="0::/user/job\n",
            sys__fs__cgroup__user__memory_dot_max=f"{2 * GIB}\n",
            sys__fs__cgroup__user__job__memory_dot_max="max\n",
        )
        assert memory.total_bytes == memory.available_bytes == 2 * GIB

    def test_control_groups_of_version_1(tmp_path: Path) -> None:
        memory = machine(
            tmp_path,
            proc__self__cgroup="12:cpu,cpuacct:/x\n5:memory:/docker/1\n",
            sys__fs__cgroup__memory__docker__1__memory_dot_limit_in_bytes=f"{GIB}\n",
            sys__fs__cgroup__memory__memory_dot_limit_in_bytes="9223372036854771712\n",
        )
        assert memory.total_bytes == GIB

    def test_a_limit_above_the_memory_of_the_machine_is_ignored(tmp_path: Path) -> None:
        files = {
            "proc__self__cgroup": "0::/\n",
            "sys__fs__cgroup__memory_dot_max": f"{64 * GIB}\n",
            "sys__fs__cgroup__memory_dot_current": f"{15 * GIB}\n",
        }
        assert machine(tmp_path, **files) == WHOLE

    @pytest.mark.parametrize("content", ["", "garbage", "MemTotal: much kB\n"])
    def test_a_damaged_list_is_unreadable(
        host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
    ) -> None:
        import doctor.host.memory as module

        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/meminfo").write_text(content)
        monkeypatch.setattr(module, "read_memory", lambda: read_memory(tmp_path))
        assert isinstance(host.memory(), Unreadable)
