"""Which files an installation may write or take away: those of the wheels, and of the distributions that they replace."""

from __future__ import annotations

import csv
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from doctor.host import Distribution
from doctor.install.wheel_file import WheelFile

SCRIPT_ENDINGS = ("", ".exe", "-script.py", "-script.pyw")
ASIDE = "~"  # how pip begins the names of folders that it is about to remove


@dataclass(frozen=True)
class Scheme:
    """Where the parts of wheels go in the environment of this process."""

    prefix: Path
    packages: Path
    headers: Path
    scripts: Path

    @classmethod
    def of_this_environment(cls, prefix: str, site_packages: str) -> Scheme:
        paths = sysconfig.get_paths()
        version = f"python{sysconfig.get_python_version()}"
        headers = Path(prefix, "include", "site", version) if paths.get("include") else Path(prefix)
        return cls(Path(prefix), Path(site_packages), headers, Path(paths["scripts"]))


def written_by(wheel: WheelFile, scheme: Scheme) -> frozenset[Path]:
    """Where pip puts the files of a wheel, but for the metadata that it adds and the compiled code."""
    found = set()
    for member in map(PurePosixPath, wheel.members):
        if len(member.parts) > 2 and member.parts[0].endswith(".data"):
            roots = {
                "purelib": scheme.packages,
                "platlib": scheme.packages,
                "scripts": scheme.scripts,
                "data": scheme.prefix,
                "headers": scheme.headers / wheel.name,
            }
            if root := roots.get(member.parts[1]):
                found.add(root.joinpath(*member.parts[2:]))
        else:
            found.add(scheme.packages.joinpath(*member.parts))
    found |= {scheme.scripts / (name + ending) for name in wheel.entry_points for ending in SCRIPT_ENDINGS}
    return frozenset(found)


def written_for(distribution: Distribution) -> frozenset[Path]:
    """The files of an installed distribution, by its RECORD. Raises OSError."""
    folder = metadata_folder(distribution)
    location = Path(distribution.location)
    if folder is None:
        return frozenset()
    try:
        with (folder / "RECORD").open(encoding="utf-8", newline="") as file:
            names = [row[0] for row in csv.reader(file) if row]
    except FileNotFoundError:
        names = []
    files = {_tidied(location / name) for name in names}
    files |= {path for path in folder.rglob("*") if path.is_file()}
    return frozenset(files)


def metadata_folder(distribution: Distribution) -> Path | None:
    """Its .dist-info; None: it is not one that a wheel left."""
    stem = distribution.name.replace("-", "_").replace(".", "_").casefold()
    for folder in sorted(Path(distribution.location).glob("*.dist-info")):
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        same = name.replace("-", "_").replace(".", "_").casefold() == stem
        if same and version == distribution.version:
            return folder
    return None


def with_compiled(files: Iterable[Path]) -> Iterator[Path]:
    """The files, and what Python compiled of them and is there."""
    for path in files:
        yield path
        if path.suffix == ".py":
            yield from (path.parent / "__pycache__").glob(f"{_escaped(path.stem)}.*")


def put_aside(folders: Iterable[Path]) -> frozenset[Path]:
    """What pip renamed in these folders to remove it, and did not come to remove."""
    return frozenset(path for folder in folders if folder.is_dir() for path in folder.glob(f"{ASIDE}*"))


def folders_of(files: Iterable[Path], roots: Collection[Path]) -> frozenset[Path]:
    """The folders that hold them and what Python compiles of them, below the roots, and these."""
    found = set(roots)
    for path in files:
        for folder in path.parents:
            if folder in found or not any(map(folder.is_relative_to, roots)):
                break
            found.add(folder)
    return frozenset({*found, *(folder / "__pycache__" for folder in found)})


def _tidied(path: Path) -> Path:
    """Without the `..` by which a RECORD names programs."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def _escaped(stem: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)
