"""The file system of a path: its kind, size and free space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from doctor.bounded import read_bytes
from doctor.host.base import Volume
from doctor.host.readings import Absent, Found, Reading, as_unicode

Kind = Literal["fixed", "removable", "network", "memory", "unknown"]


def read_volume(path: str) -> Reading[Volume]:
    """Return the volume of a path, or of its nearest existing parent. Absent: no such drive. Raises OSError."""
    folders = (Path(path), *Path(path).parents)
    existing = next((folder for folder in folders if _exists(folder)), None)
    return Absent() if existing is None else Found(_volume(existing))


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except PermissionError:  # try the folder above it
        return False


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    LONGEST_PATH = 32768  # characters; a volume may be mounted deep in a folder
    DRIVE_KINDS: dict[int, Kind] = {2: "removable", 3: "fixed", 4: "network", 5: "removable", 6: "memory"}

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

    def _volume(folder: Path) -> Volume:
        root = ctypes.create_unicode_buffer(LONGEST_PATH)
        _check(kernel32.GetVolumePathNameW(str(folder), root, LONGEST_PATH))
        file_system = ctypes.create_unicode_buffer(261)
        nothing = (None, 0, None, None, None)
        _check(kernel32.GetVolumeInformationW(root, *nothing, file_system, len(file_system)))
        free, total = wintypes.ULARGE_INTEGER(), wintypes.ULARGE_INTEGER()
        _check(kernel32.GetDiskFreeSpaceExW(root, ctypes.byref(free), ctypes.byref(total), None))
        return Volume(
            root=root.value,
            kind=DRIVE_KINDS.get(kernel32.GetDriveTypeW(root), "unknown"),
            file_system=file_system.value,
            total_bytes=total.value,
            free_bytes=free.value,
        )

    def _check(succeeded: int) -> None:
        if not succeeded:
            raise ctypes.WinError(ctypes.get_last_error())

else:
    import os

    import psutil

    NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs"}
    NETWORK_BY_FUSE = {"sshfs", "glusterfs", "rclone", "s3fs", "gcsfuse", "davfs", "ceph"}
    MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
    WINDOWS_DRIVE = "drvfs"  # WSL 2 mounts it as 9p

    def _volume(folder: Path) -> Volume:
        real = folder.resolve()
        mounts = psutil.disk_partitions(all=True)
        holding = [mount for mount in mounts if real.is_relative_to(mount.mountpoint)]
        # If several are mounted at one place, the last one counts
        mount = max(reversed(holding), key=lambda mount: len(mount.mountpoint), default=None)
        size = os.statvfs(real)
        file_system = "" if mount is None else _file_system(mount.fstype, mount.opts)
        return Volume(
            root="/" if mount is None else as_unicode(mount.mountpoint),
            kind=_kind(file_system, real) if size.f_blocks else "unknown",
            file_system=file_system,
            total_bytes=size.f_frsize * size.f_blocks,
            free_bytes=size.f_frsize * size.f_bavail,
        )

    def _file_system(kind: str, options: str) -> str:
        return WINDOWS_DRIVE if kind == "9p" and f"aname={WINDOWS_DRIVE}" in options else kind

    def _kind(file_system: str, real: Path) -> Kind:
        by_fuse = file_system.removeprefix("fuse.")
        if file_system in NETWORK or (by_fuse != file_system and by_fuse in NETWORK_BY_FUSE):
            return "network"
        if file_system in MEMORY:
            return "memory"
        if by_fuse != file_system or file_system in ("", "9p", WINDOWS_DRIVE):
            return "unknown"
        return "removable" if _is_removable(real.stat().st_dev) else "fixed"

    def _is_removable(device: int) -> bool:
        block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
        # The flag of a partition is in the folder of its disk
        for flag in (block / "removable", block.resolve().parent / "removable"):
            if flag.is_file():
                return read_bytes(flag).strip() == b"1"
        return False
