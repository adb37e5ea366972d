"""The environments on a machine, read from their files: Python, torch, attention packages and size.

`environment_places` lists the folders where they may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from doctor.host import Absent, Found, Reader, Reading, Unreadable
from doctor.probes.environment_places import Place, places
from doctor.probes.packages import parse_torch_version
from doctor.probes.paths import join
from doctor.probes.python import parse_settings
from doctor.probes.text_files import read_text
from wheels.machine import TorchBuild

NAMED = ("flash-attn", "xformers", "triton", "triton-windows", "sageattention")
METADATA = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[^-]+)\.(?:dist|egg)-info")
FOLDER = re.compile(r"python(\d\.\d+)t?")
LIBRARY = re.compile(r"python(\d)(\d+)t?\.dll", re.IGNORECASE)
CONDA_PYTHON = re.compile(r"python-(\d+\.\d+\.\d+)-.*\.json")


@dataclass(frozen=True)
class Environment:
    """One environment.

    Attributes:
        program: its interpreter; Absent if the folder has none.
        base: the interpreter's own folder, which pyvenv.cfg names; None outside of a virtual environment.
        base_exists: whether that folder exists.
        python: "3.12.4", or "3.12" if its files do not state more.
        torch: the installed torch.
        packages: the versions of the NAMED packages.
        size: bytes of its packages, as their RECORDs list them.
    """

    folder: str
    owner: str
    program: Reading[str]
    base: str | None
    base_exists: bool
    python: str | None
    torch: Reading[TorchBuild]
    packages: dict[str, str]
    size: int


def environments(host: Reader, here: str) -> Iterator[Environment]:
    """Yield the environments of this machine, each once. `here`: the current folder."""
    seen = set()
    for place in places(host, here):
        key = str(host.identity.path(place.folder)).rstrip("\\/")
        key = key.lower() if host.identity.os == "windows" else key
        if key not in seen:
            seen.add(key)
            if found := environment_at(host, place):
                yield found


def environment_at(host: Reader, place: Place) -> Environment | None:
    """Return the environment in a folder; None: there is none."""
    listed = host.list_directory(place.folder)
    if not isinstance(listed, Found):
        return None
    names = set(listed.value)
    program = _program(host, place.folder, names)
    settings = _settings(host, place.folder) if "pyvenv.cfg" in names else {}
    if isinstance(program, Absent) and not settings:
        return None
    packages = _package_folder(host, place.folder, names)
    distributions = dict(_distributions(host, packages)) if packages else {}
    base = settings.get("home")
    return Environment(
        folder=place.folder,
        owner=place.owner,
        program=program,
        base=base,
        base_exists=base is None or isinstance(host.list_directory(base), Found),
        python=settings.get("version_info", settings.get("version"))
        or _version(host, place.folder, names, packages),
        torch=_torch(host, packages, distributions),
        packages={name: distributions[name][0] for name in NAMED if name in distributions},
        size=sum(_size(host, packages, folder) for _, folder in distributions.values()) if packages else 0,
    )


def _program(host: Reader, folder: str, names: set[str]) -> Reading[str]:
    """The interpreter, if the folder is an environment or a Python."""
    windows = host.identity.os == "windows"
    if windows and "python.exe" in map(str.lower, names):
        return Found(join(host, folder, "python.exe"))
    programs = "Scripts" if windows else "bin"
    wanted = ("python.exe",) if windows else ("python3", "python")
    listed = host.list_directory(join(host, folder, programs)) if programs in names else Absent()
    if isinstance(listed, Found):
        for name in wanted:
            if name in listed.value:
                return Found(join(host, folder, programs, name))
    return Absent()


def _settings(host: Reader, folder: str) -> dict[str, str]:
    text = read_text(host, join(host, folder, "pyvenv.cfg"))
    return parse_settings(text.value) if isinstance(text, Found) else {}


def _package_folder(host: Reader, folder: str, names: set[str]) -> str | None:
    if host.identity.os == "windows":
        return join(host, folder, "Lib", "site-packages") if "Lib" in names or "lib" in names else None
    if "lib" not in names:
        return None
    lib = host.list_directory(join(host, folder, "lib"))
    pythons = [name for name in (lib.value if isinstance(lib, Found) else ()) if FOLDER.fullmatch(name)]
    return join(host, folder, "lib", pythons[-1], "site-packages") if pythons else None


def _version(host: Reader, folder: str, names: set[str], packages: str | None) -> str | None:
    if "conda-meta" in names:
        listed = host.list_directory(join(host, folder, "conda-meta"))
        found = map(CONDA_PYTHON.fullmatch, listed.value if isinstance(listed, Found) else ())
        if version := next((match[1] for match in found if match), None):
            return version
    libraries = sorted(
        (match for match in map(LIBRARY.fullmatch, names) if match), key=lambda match: len(match[0])
    )
    if libraries:
        return f"{libraries[-1][1]}.{libraries[-1][2]}"
    named = re.search(FOLDER, packages or "")
    return named[1] if named else None


def _distributions(host: Reader, packages: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the normalized name, the version and the metadata folder of each distribution."""
    listed = host.list_directory(packages)
    for name in listed.value if isinstance(listed, Found) else ():
        if match := METADATA.fullmatch(name):
            yield str(canonicalize_name(match["name"])), (match["version"], name)


def _torch(
    host: Reader, packages: str | None, distributions: dict[str, tuple[str, str]]
) -> Reading[TorchBuild]:
    if packages is None or "torch" not in distributions:
        return Absent()
    source = read_text(host, join(host, packages, "torch", "version.py"))
    if isinstance(source, Found):
        return parse_torch_version(source.value)
    return Unreadable(source.reason if isinstance(source, Unreadable) else "torch/version.py is missing")


def _size(host: Reader, packages: str | None, metadata: str) -> int:
    """The bytes of a distribution, as its RECORD lists them."""
    record = host.read_file(join(host, packages or "", metadata, "RECORD"))
    if not isinstance(record, Found):
        return 0
    sizes = (line.rpartition(b",")[2].strip() for line in record.value.splitlines())
    return sum(int(size) for size in sizes if size.isdigit())
