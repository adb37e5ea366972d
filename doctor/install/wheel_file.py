"""Read a wheel file: check it against its name and this Python; list its files and unpacked size."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.tags import Tag, parse_tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from doctor.bounded import open_regular
from doctor.host import Identity
from doctor.install.file_names import longest_name, why_not_a_path
from doctor.wheel_search.install_error import InstallError
from wheels.tags import accepts

LARGEST_METADATA = 4 << 20  # bytes; the largest METADATA on PyPI has about 1 MB


@dataclass(frozen=True)
class WheelFile:
    """A valid wheel. `entry_points`: the names of the scripts that pip creates for it."""

    path: Path
    name: str  # normalized
    version: str  # in its metadata; the file name may have a label in addition
    members: tuple[str, ...]
    unpacked_bytes: int
    entry_points: tuple[str, ...]
    contents: tuple[tuple[int, int], ...] = ()  # size and CRC-32 of each member

    @property
    def longest(self) -> str:
        """The longest path inside."""
        return max(self.members, key=len)


def read_wheel(path: Path, identity: Identity) -> WheelFile:
    """Read a wheel; check its tags against its name and this Python. Raises InstallError."""
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
        with open_regular(path) as file:
            if file.read(2) != b"PK":
                raise InstallError(_broken(path, "it is not a zip archive"))
        limit = longest_name(path.parent)
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            folder = _metadata_folder(path, [info.filename for info in infos])
            wheel = _headers(archive, f"{folder}/WHEEL").get_all("Tag", ())
            metadata = _headers(archive, f"{folder}/METADATA")
            programs = _programs(archive, folder)
            for name_inside in (
                *(info.filename for info in infos),
                *(f"bin/{program}" for program in programs),
            ):
                if why := why_not_a_path(name_inside, limit, windows=identity.os == "windows"):
                    raise InstallError(_broken(path, f"it contains {name_inside[:60]!r}, {why}"))
            if slashed := [program for program in programs if "/" in program]:
                raise InstallError(_broken(path, f"its program {slashed[0]!r} is a path, not a file name"))
    except InvalidWheelFilename as error:
        raise InstallError(_broken(path, str(error))) from error
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, NotImplementedError) as error:
        raise InstallError(_broken(path, str(error))) from error
    inside = frozenset(tag for text in wheel for tag in parse_tag(text))
    if not set(map(_kind, inside)) & set(map(_kind, tags)):
        raise InstallError(_broken(path, f"its name says {_listed(tags)}, its metadata {_listed(inside)}"))
    major, minor = map(int, identity.python.split(".")[:2])
    platform = identity.python_platform
    if not accepts((major, minor), identity.python_free_threaded, platform, map(str, inside)):
        this = f"this is Python {identity.python} on {platform}"
        raise InstallError(_broken(path, f"it is for {_listed(inside)}; {this}"))
    if canonicalize_name(metadata["Name"] or "") != name:
        raise InstallError(_broken(path, f"its metadata names {metadata['Name'] or 'no package'}"))
    return WheelFile(
        path,
        str(name),
        metadata["Version"] or str(version),
        tuple(info.filename for info in infos),
        sum(info.file_size for info in infos),
        programs,
        tuple((info.file_size, info.CRC) for info in infos),
    )


def _broken(path: Path, why: str) -> str:
    return f"{path.name} is not installed: {why}. Nothing was changed."


def _kind(tag: Tag) -> tuple[str, str, str]:
    """Drop the C library ("manylinux_2_28" -> "linux"): auditwheel renames a wheel without changing its metadata."""
    system, _, processor = tag.platform.partition("_")
    if "linux" in system:
        system, processor = "linux", re.sub(r"^\d+_\d+_", "", processor)
    return tag.interpreter, tag.abi, f"{system}_{processor}"


def _listed(tags: Iterable[Tag]) -> str:
    return ", ".join(sorted(map(str, tags))) or "no tag"


def _metadata_folder(path: Path, members: list[str]) -> str:
    # setuptools vendors the metadata of other wheels in subfolders
    top = [name for name in members if name.count("/") == 1]
    found = [name.partition("/")[0] for name in top if name.endswith(".dist-info/WHEEL")]
    if len(found) != 1:
        raise InstallError(_broken(path, "it has no .dist-info/WHEEL"))
    return found[0]


def _headers(archive: zipfile.ZipFile, member: str) -> Message:
    return HeaderParser().parsestr(_read(archive, member))


def _read(archive: zipfile.ZipFile, member: str) -> str:
    """The text of a member. Raises ValueError if it is larger than any metadata is."""
    if (size := archive.getinfo(member).file_size) > LARGEST_METADATA:
        raise ValueError(f"{member} has {size} bytes, more than {LARGEST_METADATA}")
    return archive.read(member).decode("utf-8")


def _programs(archive: zipfile.ZipFile, folder: str) -> tuple[str, ...]:
    """Return the names in [console_scripts] and [gui_scripts]."""
    try:
        text = _read(archive, f"{folder}/entry_points.txt")
    except KeyError:
        return ()
    found, inside = [], False
    for line in text.splitlines():
        if line.startswith("["):
            inside = line.strip() in ("[console_scripts]", "[gui_scripts]")
        elif inside and "=" in line:
            found.append(line.partition("=")[0].strip())
    return tuple(found)
