"""Conda packages of the Python that runs the tests, and environments made of them with rattler, as pixi does.

conda itself is not on a package index; rattler writes the same `conda-meta` and links files from the same packages.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import rattler
import rattler.index

from tests.doctor.install import stand_ins

PLATFORM: Literal["linux-64"] = "linux-64"
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "__pycache__"}
PACKAGES_OF_PYTHON = {"site-packages", "dist-packages"}


def make_channel(folder: Path) -> None:
    """Python, pip, a CPU build of torch, and the `condabin` folder that marks the base environment."""
    version = ".".join(map(str, sys.version_info[:3]))
    _package(folder, "python", version, _python())
    _package(folder, "pip", "1.0", _pip(), depends=["python"], noarch=True)
    torch = stand_ins.torch(folder.with_name("wheels"), "2.12.0", None, requires=[])
    _package(folder, "pytorch", "2.12.0", _unpacked(torch), depends=["python"], noarch=True)
    script = b"#!/bin/sh\nexit 1\n"
    _package(folder, "conda", "26.0", {"condabin/conda": script, "bin/conda": script}, depends=["python"])
    asyncio.run(rattler.index.index_fs(folder))


def make_environment(channel: Path, prefix: Path, *packages: str) -> None:
    """Make the environment that `conda create --prefix PREFIX PACKAGE...` would make."""

    async def make() -> None:
        records = await rattler.solve([channel.as_uri()], packages, platforms=[PLATFORM, "noarch"])
        cache = channel.with_name("cache")
        await rattler.install(records, prefix, cache_dir=cache, show_progress=False, requested_specs=[])

    asyncio.run(make())


def _python() -> dict[str, Path | bytes | str]:
    """The Python that runs the tests in conda's layout; a link is given as its target."""
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    standard = Path(sysconfig.get_path("stdlib"))
    files: dict[str, Path | bytes | str] = {
        f"bin/{minor}": Path(sys.executable).resolve(),
        "bin/python3": minor,
        "bin/python": minor,
    }
    for path in standard.rglob("*"):
        inside = path.relative_to(standard)
        if path.is_file() and not LEFT_OUT.union(PACKAGES_OF_PYTHON).intersection(inside.parts):
            files[f"lib/{minor}/{inside.as_posix()}"] = path
    return files


def _pip() -> dict[str, Path | bytes | str]:
    return {f"site-packages/{name}": path for name, path in stand_ins.files_of("pip").items()}


def _unpacked(wheel: Path) -> dict[str, Path | bytes | str]:
    with zipfile.ZipFile(wheel) as archive:
        return {f"site-packages/{name}": archive.read(name) for name in archive.namelist()}


def _package(
    channel: Path,
    name: str,
    version: str,
    files: Mapping[str, Path | bytes | str],
    depends: Collection[str] = (),
    noarch: bool = False,
) -> None:
    """A package in conda-build's format: the files, and their description in `info`."""
    subdir = "noarch" if noarch else PLATFORM
    index: dict[str, Any] = {
        "name": name, "version": version, "build": "0", "build_number": 0, "depends": list(depends), "subdir": subdir,
    }  # fmt: skip
    info: dict[str, Any] = {"index.json": index, "paths.json": {"paths": [], "paths_version": 1}}
    if noarch:
        index["noarch"] = "python"
        info["link.json"] = {"noarch": {"type": "python"}, "package_metadata_version": 1}
    path = channel / subdir / f"{name}-{version}-0.tar.bz2"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:bz2", compresslevel=1) as archive:
        for member, content in files.items():
            entry = tarfile.TarInfo(member)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
                file: dict[str, str | int] = {"_path": member, "path_type": "softlink"}
            else:
                data = content.read_bytes() if isinstance(content, Path) else content
                entry.size = len(data)
                entry.mode = 0o755 if member.startswith(("bin/", "condabin/")) else 0o644
                archive.addfile(entry, io.BytesIO(data))
                digest = hashlib.sha256(data).hexdigest()
                file = {
                    "_path": member,
                    "path_type": "hardlink",
                    "sha256": digest,
                    "size_in_bytes": len(data),
                }
            info["paths.json"]["paths"].append(file)
        for description, what in info.items():
            data = json.dumps(what).encode()
            entry = tarfile.TarInfo(f"info/{description}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
