"""A package index on loopback with what the installer needs: the packages that are installed for the tests, as wheels."""

from __future__ import annotations

import importlib.metadata
import zipfile
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def with_dependencies(*requirements: str) -> set[str]:
    """The names of these distributions and of all that they require here, extras included."""
    found: dict[tuple[str, str], None] = {}
    waiting = [Requirement(each) for each in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        for extra in ("", *wanted.extras):
            if (name, extra) in found:
                continue
            found[name, extra] = None
            for line in importlib.metadata.requires(name) or ():
                each = Requirement(line)
                if each.marker is None or each.marker.evaluate({"extra": extra}):
                    waiting.append(each)
    return {name for name, _ in found}


def repack(names: Iterable[str], folder: Path) -> None:
    """Write an uncompressed wheel of each distribution that is installed for the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        installed = importlib.metadata.distribution(name)
        file = f"{name.replace('-', '_')}-{installed.version}-{_tag(installed)}.whl"
        with zipfile.ZipFile(folder / file, "w") as archive:
            for each in installed.files or ():
                if ".." not in each.parts and each.suffix != ".pyc":
                    archive.write(str(each.locate()), each.as_posix())


def _tag(installed: importlib.metadata.Distribution) -> str:
    """The compressed tag of the wheel that a distribution was installed from."""
    lines = (installed.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in lines if line.startswith("Tag: ")]
    return "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))


def fill(folder: Path) -> None:
    """Fill the folder of a server with torch on PyTorch's own index, and the rest of aios' requirements on another."""
    needed = with_dependencies("aios-doctor[train]", "hatchling")
    repack(sorted(needed - {"aios-doctor", "torch"}), folder / "index")
    repack(["torch"], folder / "whl" / "cpu")
