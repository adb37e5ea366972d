"""Restore single files of installed packages from their wheels, each checked against the digest in the package's RECORD."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from doctor.bounded import read_text
from doctor.files import write_atomically
from doctor.host import Distribution, Host
from doctor.install.affected_files import metadata_folder
from doctor.install.install_plan import pytorch_index
from doctor.install.pip import Sources, find_pip
from doctor.install.protected_files import has_digest
from doctor.install.protection import Kept, member_of
from doctor.wheel_search.install_error import InstallError
from wheels.choice import index_of


def restore_from_wheels(
    host: Host, kept: Kept, damaged: Collection[str], folder: Path | None, downloads: Path
) -> dict[str, str]:
    """Restore the damaged files; return those that could not be, each with the reason. Raises OSError.

    `folder`: the folder of wheels given with --wheel-dir; `downloads`: where wheels are downloaded to.
    """
    left: dict[str, str] = {}
    by_package: dict[str, dict[str, str]] = {}
    for path in damaged:
        if found := member_of(path, kept):
            by_package.setdefault(found[0], {})[path] = found[1]
        else:
            left[path] = "it is not in a wheel"
    for name, members in by_package.items():
        try:
            wheel = _wheel(host, kept, name, folder, downloads)
            left |= _restore(wheel, members, kept.digests)
        except InstallError as error:
            left |= dict.fromkeys(members, str(error))
    return left


def why_no_wheel(distribution: Distribution, folder: Path | None) -> str | None:
    """Return why there is no wheel to restore files from, as a clause; None: there may be one."""
    if _in_folder(distribution.name, distribution.version, folder):
        return None
    metadata = metadata_folder(distribution)
    if metadata is None:
        return "it was not installed from a wheel"
    with suppress(OSError):
        if read_text(metadata / "INSTALLER").strip() == "conda":
            return "conda installed it"
    if (distribution.direct_url or "").startswith("file:") and _local(distribution.direct_url or "") is None:
        return f"it was installed from {distribution.direct_url}, which no longer exists"
    return None


def _restore(wheel: Path, members: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    left: dict[str, str] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for path, member in members.items():
                try:
                    content = archive.read(member)
                except KeyError:
                    left[path] = f"{wheel.name} does not contain it"
                    continue
                if has_digest(content, digests[path]):
                    write_atomically(Path(path), content)
                else:
                    left[path] = f"{wheel.name} contains another file"
    except zipfile.BadZipFile as error:
        left |= dict.fromkeys(members, f"{wheel.name}: {error}")
    return left


def _wheel(host: Host, kept: Kept, name: str, folder: Path | None, downloads: Path) -> Path:
    """The wheel of an installed package: in the folder, where it was installed from, or from the index."""
    package = kept.packages[name]
    if found := _in_folder(package.name, package.version, folder) or _local(package.direct_url or ""):
        return found
    version = str(kept.build.version) if name == "torch" and kept.build else package.version
    index = pytorch_index(host, index_of(kept.build.cuda_tag)) if kept.build else None
    wanted = f"{name} @ {package.direct_url}" if package.direct_url else f"{name}=={version}"
    own = downloads / "restored" / name
    own.mkdir(parents=True, exist_ok=True)
    find_pip(host, folder).fetch([wanted], own, Sources(extra=index))
    found = next(own.glob("*.whl"), None)
    if found is None:
        raise InstallError(f"pip found no wheel of {name} {version}")
    return found


def _in_folder(name: str, version: str, folder: Path | None) -> Path | None:
    for wheel in folder.glob("*.whl") if folder else ():
        with suppress(InvalidWheelFilename, InvalidVersion):
            found, release, _, _ = parse_wheel_filename(wheel.name)
            if found == name.replace("_", "-").lower() and release.public == Version(version).public:
                return wheel
    return None


def _local(url: str) -> Path | None:
    path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    return path if path and path.suffix == ".whl" and path.is_file() else None
