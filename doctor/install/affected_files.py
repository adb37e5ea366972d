"""The files that an installation may write or delete: those of the wheels and of the distributions that they replace."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from doctor.bounded import read_rows
from doctor.host import Distribution, Identity
from doctor.install.wheel_file import WheelFile
from doctor.wheel_search.install_error import InstallError

SCRIPT_ENDINGS = ("", ".exe", "-script.py", "-script.pyw")
ASIDE = "~"  # prefix of folders that pip renames before it deletes them


@dataclass(frozen=True)
class Scheme:
    """Where the parts of a wheel are installed in an environment."""

    prefix: Path
    packages: Path
    headers: Path
    scripts: Path

    @classmethod
    def of(cls, identity: Identity) -> Scheme:
        """The scheme of the environment of this Python."""
        prefix = Path(identity.prefix)
        usual = prefix / ("Scripts" if identity.os == "windows" else "bin")
        headers = prefix / "include" / "site" / f"python{identity.python_minor}"
        scripts = Path(identity.scripts) if identity.scripts else usual
        return cls(prefix, Path(identity.site_packages), headers, scripts)


def files_written_by(wheel: WheelFile, scheme: Scheme) -> frozenset[Path]:
    """Return where pip installs the files of a wheel, without the metadata that it adds and the bytecode."""
    found = {path for path in destinations(wheel, scheme) if path}
    found |= {scheme.scripts / (name + ending) for name in wheel.entry_points for ending in SCRIPT_ENDINGS}
    return frozenset(found)


def destinations(wheel: WheelFile, scheme: Scheme) -> Iterator[Path | None]:
    """Yield where pip installs each member of a wheel; None: nowhere."""
    for member in map(PurePosixPath, wheel.members):
        if len(member.parts) > 2 and member.parts[0].endswith(".data"):
            roots = {
                "purelib": scheme.packages,
                "platlib": scheme.packages,
                "scripts": scheme.scripts,
                "data": scheme.prefix,
                "headers": scheme.headers / wheel.name,
            }
            root = roots.get(member.parts[1])
            yield root.joinpath(*member.parts[2:]) if root else None
        else:
            yield scheme.packages.joinpath(*member.parts)


def files_of(distribution: Distribution) -> frozenset[Path]:
    """Return the files of an installed distribution from its RECORD. Raises OSError."""
    folder = metadata_folder(distribution)
    location = Path(distribution.location)
    if folder is None:
        return frozenset()
    try:
        names = [row[0] for row in read_rows(folder / "RECORD") if row]
    except FileNotFoundError:
        names = []
    files = {_without_dots(location / name) for name in names}
    files |= {path for path in folder.rglob("*") if path.is_file()}
    return frozenset(files)


def metadata_folder(distribution: Distribution) -> Path | None:
    """Return the .dist-info folder; None: it was not installed from a wheel."""
    stem = distribution.name.replace("-", "_").replace(".", "_").casefold()
    for folder in sorted(Path(distribution.location).glob("*.dist-info")):
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        same = name.replace("-", "_").replace(".", "_").casefold() == stem
        if same and version == distribution.version:
            return folder
    return None


def with_bytecode(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the files, and their bytecode files that exist."""
    for path in files:
        yield path
        if path.suffix == ".py":
            yield from (path.parent / "__pycache__").glob(f"{_escaped(path.stem)}.*")


def left_by_pip(folders: Iterable[Path]) -> frozenset[Path]:
    """Return what pip renamed in these folders in order to delete it, and did not delete."""
    found: set[Path] = set()
    for folder in folders:
        with suppress(OSError):
            found.update(folder / name for name in os.listdir(folder) if name.startswith(ASIDE))  # noqa: PTH208 - many folders
    return frozenset(found)


def folders_of(files: Iterable[Path], roots: Collection[Path]) -> frozenset[Path]:
    """Return the folders of these files and of their bytecode, below the roots, and the roots."""
    found = set(roots)
    for path in files:
        for folder in path.parents:
            if folder in found or not any(map(folder.is_relative_to, roots)):
                break
            found.add(folder)
    return frozenset({*found, *(folder / "__pycache__" for folder in found)})


def require_below(roots: Collection[Path], files: Mapping[str, Collection[Path]]) -> None:
    """Raise InstallError if a package has a file outside of the environment: nothing there is ours to replace or delete."""
    for name, paths in files.items():
        for path in sorted(paths):
            if not any(map(_without_dots(path).is_relative_to, roots)):
                raise InstallError(
                    f"{name} has a file outside of this environment: {_without_dots(path)}. Such a package is not installed, "
                    "replaced or removed. Nothing was changed."
                )


def _without_dots(path: Path) -> Path:
    """Resolve the `..` in a RECORD's paths of scripts, without following links."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def _escaped(stem: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)
