"""The file system of a path, which need not exist yet; a drive that does not answer is given up after a time limit."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from doctor.host import Absent, Found, Host, Unreadable, Volume, live_base
from doctor.host.time_limit import with_time_limit

WINDOWS = sys.platform == "win32"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="how Linux lists its mounts")


def found(host: Host, path: Path) -> Volume:
    reading = host.volume(str(path))
    assert isinstance(reading, Found), reading
    return reading.value


def test_sizes_agree_with_what_python_says(host: Host, tmp_path: Path) -> None:
    volume, usage = found(host, tmp_path), shutil.disk_usage(tmp_path)
    assert volume.total_bytes == usage.total
    assert abs(volume.free_bytes - usage.free) < 2**30  # others write meanwhile
    assert tmp_path.resolve().is_relative_to(volume.root)
    assert volume.file_system


def test_a_path_that_does_not_exist_is_on_the_volume_of_its_parent(host: Host, tmp_path: Path) -> None:
    assert found(host, tmp_path / "not" / "there").root == found(host, tmp_path).root


def test_a_relative_path_has_no_volume(host: Host) -> None:
    assert isinstance(host.volume("relative"), Unreadable)


@on_linux
@pytest.mark.skipif(not shutil.which("df"), reason="there is no df here")
@pytest.mark.parametrize("path", ["/", "/dev/shm", "/proc", "/tmp"])
def test_root_and_file_system_agree_with_df(host: Host, path: str) -> None:
    command = ["df", "--block-size=1", "--output=target,fstype,size", path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-3:]
    volume = found(host, Path(path))
    assert [volume.root, volume.file_system, str(volume.total_bytes)] == [
        said[0],
        said[1],
        said[2].replace("-", "0"),
    ]


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose subfolders are fake mount points."""
    options = {"wsl": "rw,aname=drvfs;path=C:\\;uid=1000,trans=fd", "share": "rw,trans=virtio"}
    kinds = {"server": "nfs4", "wsl": "9p", "share": "9p", "key": "fuse.sshfs", "app": "fuse.AppImage"}
    kinds |= {"server/inner": "ext4", "twice": "tmpfs"}
    for name in (*kinds, "servers"):
        (tmp_path / name).mkdir()
    listed = [("", "ext4"), *kinds.items(), ("twice", "cifs")]
    partitions = [
        SimpleNamespace(mountpoint=str(tmp_path / name), fstype=kind, opts=options.get(name, "rw"))
        for name, kind in listed
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: partitions)
    return tmp_path


@on_linux
@pytest.mark.parametrize(
    ("path", "file_system", "kind"),
    [
        ("server/new", "nfs4", "network"),
        ("servers", "ext4", "fixed"),  # its name begins like a mount point's
        ("server/inner", "ext4", "fixed"),
        ("wsl", "drvfs", "unknown"),
        ("share", "9p", "unknown"),
        ("key", "fuse.sshfs", "network"),
        ("app", "fuse.AppImage", "unknown"),
        ("twice", "cifs", "network"),  # the one on top
    ],
)
def test_kinds_of_file_systems(host: Host, mounts: Path, path: str, file_system: str, kind: str) -> None:
    volume = found(host, mounts / path)
    assert (volume.file_system, volume.kind) == (file_system, kind)


@pytest.mark.skipif(not WINDOWS, reason="only Windows has drives")
def test_a_drive_that_is_not_there_is_absent(host: Host) -> None:
    there = {partition.device[0] for partition in psutil.disk_partitions(all=True)}
    missing = next(letter for letter in "QRSTUVWXY" if letter not in there)
    assert host.volume(f"{missing}:\\folder") == Absent()


def test_a_drive_that_does_not_answer_is_given_up_after_the_time_limit(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_base, "DRIVE_TIMEOUT", 0.2)
    answered = threading.Event()
    monkeypatch.setattr(Path, "exists", lambda path: answered.wait())
    assert host.volume(str(tmp_path)) == Unreadable("no answer within 0.2 s")
    answered.set()


def test_an_error_is_unreadable() -> None:
    def refuse() -> Found[int]:
        raise PermissionError(13, "Permission denied")

    assert with_time_limit(5, lambda: Found(1)) == Found(1)
    assert with_time_limit(5, refuse) == Unreadable("access denied")
