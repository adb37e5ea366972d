"""Back up the protected packages of an environment while another program changes it, compare, and restore them.

The backup consists of reflinks if the file system supports them, otherwise of hard links; metadata is copied. If a file is
overwritten in place, its hard link changes, too. Such a file is detected by its digest, and restored from a wheel.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from doctor.host import Distribution, Found, Host
from doctor.install.affected_files import files_of, folders_of, left_by_pip
from doctor.install.backup import STORE, restore
from doctor.install.install_record import (
    Change,
    InstallRun,
    Record,
    append_event,
    update_record,
    write_record,
)
from doctor.install.protected_files import (
    BYTECODE,
    Stamp,
    differs,
    existing,
    files_around,
    is_damaged,
    keep_files,
    recorded_files,
    stamp,
)
from doctor.probes.packages import TORCH
from wheels.machine import TorchBuild

PROTECTED = ("torch", "torchvision", "torchaudio", "flash-attn", "xformers", "triton", "triton-windows", "sageattention")  # fmt: skip
NEEDED = ("pip",)  # repairs need it


@dataclass(frozen=True)
class Kept:
    """The backup of the protected packages.

    Attributes:
        packages: the protected distributions and their dependencies, by normalized name.
        build: the installed torch.
        stamps: the state of each file in the backup.
        digests: the SHA-256 of each file, as the RECORDs list them (urlsafe base64).
        owners: the package of each file in a RECORD.
        around: every file in the folders of the protected packages.
        cloned: whether the copies are independent of the files, and not hard links.
    """

    run: InstallRun
    packages: Mapping[str, Distribution]
    build: TorchBuild | None
    stamps: Mapping[str, Stamp]
    digests: Mapping[str, str]
    owners: Mapping[str, str]
    around: frozenset[str]
    cloned: bool


@dataclass(frozen=True)
class Harm:
    """How a command changed the protected packages.

    Attributes:
        changes: a sentence for each package; empty: none changed.
        different: the files that are missing or have other content.
    """

    changes: tuple[str, ...]
    different: tuple[str, ...]


def installed_by_name(host: Host) -> dict[str, Distribution]:
    found = host.distributions()
    return (
        {str(canonicalize_name(each.name)): each for each in found.value} if isinstance(found, Found) else {}
    )


def keep(host: Host, folder: Path) -> Kept | None:
    """Back up the protected packages; None: none is installed. `folder`: the run folder. Raises OSError."""
    installed = installed_by_name(host)
    names = _with_needed([name for name in PROTECTED if name in installed], installed)
    packages = {name: installed[name] for name in names if _is_inside(installed[name], host)}
    if not any(name in packages for name in PROTECTED):
        return None
    recorded = tuple(recorded_files(packages))
    paths = [path for path, _, _ in recorded]
    around = files_around(packages, _locations(packages), paths)
    files = existing(paths, around)
    record = _record(host, folder, packages, files)
    write_record(folder, record)
    Path(record.store).mkdir(parents=True)
    cloned = keep_files(files, Path(record.store))
    torch = TORCH.collect(host)
    kept = Kept(
        InstallRun(folder=folder, record=record, event="installing"),
        packages,
        torch.build.value if isinstance(torch.build, Found) else None,
        {path: stamp(path) for path in files},
        {path: digest for path, digest, _ in recorded if digest},
        {path: owner for path, _, owner in recorded},
        around,
        cloned,
    )
    append_event(folder, "installing")
    return kept


def _record(host: Host, folder: Path, packages: Mapping[str, Distribution], files: Collection[str]) -> Record:
    roots = {Path(host.identity.prefix), *_locations(packages)}
    holding = {os.path.dirname(path) for path in files}  # noqa: PTH120 - many files
    folders = folders_of([Path(each, "x") for each in holding], roots)
    changes = (Change(name=name, before=each.version, after=each.version) for name, each in packages.items())
    return Record(
        prefix=host.identity.prefix,
        site_packages=host.identity.site_packages,
        roots=tuple(sorted(map(str, roots))),
        store=str(Path(host.identity.prefix, STORE, folder.name)),
        changes=tuple(changes),
        kept=tuple((path, str(number)) for number, path in enumerate(files)),
        written=tuple(files),
        folders=tuple(sorted(str(each) for each in folders if each.is_dir())),
        aside=tuple(sorted(map(str, left_by_pip(folders)))),
    )


def harm(host: Host, kept: Kept) -> Harm:
    """Compare the protected packages with their earlier state."""
    changes = _changed_versions(host, kept)
    digests = kept.digests
    different = [path for path, was in kept.stamps.items() if differs(path, was, digests.get(path))]
    if different and not changes:
        owners = ", ".join(sorted({kept.owners[path] for path in different if path in kept.owners}))
        shown = ", ".join(Path(path).name for path in different[:3])
        files = "1 file" if len(different) == 1 else f"{len(different)} files"
        changes.append(f"{files} of {owners} changed: {shown}")
    new = sorted(
        path for path in _around_now(kept, kept.packages) - kept.around if not path.endswith(BYTECODE)
    )
    if new and not changes:
        changes.append(f"{Path(new[0]).name} was added to their folders ({len(new)} new)")
    return Harm(tuple(changes), tuple(different))


def _changed_versions(host: Host, kept: Kept) -> list[str]:
    now = installed_by_name(host)
    changes: list[str] = []
    for name, before in kept.packages.items():
        after = now.get(name)
        if after is None:
            changes.append(f"{name} {before.version} is gone")
        elif after.version != before.version:
            changes.append(f"{name} {before.version} was replaced by {after.version}")
    torch = TORCH.collect(host)
    build = torch.build.value if isinstance(torch.build, Found) else None
    if kept.build and kept.build.cuda_tag and build and build.cuda_tag is None:
        changes.insert(0, f"torch lost CUDA: it was {kept.build}, now it is {build}")
    return changes


def put_back(host: Host, kept: Kept, harmed: Harm) -> tuple[str, ...]:
    """Restore the files; return those that are still damaged, because their hard links changed too. Raises OSError."""
    record = _after(host, kept)
    update_record(kept.run.folder, record)
    restore(
        InstallRun(folder=kept.run.folder, record=record, event="installing", reason="a command changed it")
    )
    return tuple(path for path in harmed.different if is_damaged(path, kept.digests.get(path)))


def leave(host: Host, kept: Kept) -> None:
    """Keep the changes, and record them so that `aios install --undo` can restore the backup. Raises OSError."""
    update_record(kept.run.folder, _after(host, kept))
    append_event(kept.run.folder, "installed")


def forget(kept: Kept) -> None:
    """Delete the backup: the command changed nothing."""
    store = Path(kept.run.record.store)
    shutil.rmtree(store, ignore_errors=True)
    with suppress(OSError):
        store.parent.rmdir()
    shutil.rmtree(kept.run.folder, ignore_errors=True)


def member_of(path: str, kept: Kept) -> tuple[str, str] | None:
    """Return the distribution of a file and its path in the wheel; None: it is not in a wheel."""
    owner = kept.owners.get(path)
    if owner is None:
        return None
    location, file = Path(kept.packages[owner].location), Path(path)
    return (owner, file.relative_to(location).as_posix()) if file.is_relative_to(location) else None


def _after(host: Host, kept: Kept) -> Record:
    """The record with what is installed now, which includes protected packages that were not installed before."""
    now = {
        name: each for name, each in installed_by_name(host).items() if name in {*kept.packages, *PROTECTED}
    }
    names = {*kept.packages, *now}
    others = {name: each for name, each in installed_by_name(host).items() if name not in names}
    # Other packages have files in the same folders, such as `nvidia`
    added = set(map(Path, _around_now(kept, names) - kept.around)) - _files(others)
    written = {*map(Path, kept.run.record.written), *_files(now), *added}
    changes = [
        Change(name=name, before=_version(kept.packages.get(name)), after=_version(now.get(name)))
        for name in dict.fromkeys([*kept.packages, *now])
    ]
    update = {"written": tuple(sorted(map(str, written))), "changes": tuple(changes)}
    return kept.run.record.model_copy(update=update)


def _version(distribution: Distribution | None) -> str | None:
    return distribution.version if distribution else None


def _around_now(kept: Kept, names: Collection[str]) -> frozenset[str]:
    return files_around(names, _locations(kept.packages), kept.owners)


def _locations(packages: Mapping[str, Distribution]) -> set[Path]:
    return {Path(each.location) for each in packages.values()}


def _files(packages: Mapping[str, Distribution]) -> set[Path]:
    return set().union(*(files_of(each) for each in packages.values()))


def _with_needed(names: Collection[str], installed: Mapping[str, Distribution]) -> list[str]:
    """The names, their installed dependencies, and pip."""
    found: dict[str, None] = {}
    todo = [*names, *(name for name in NEEDED if name in installed)]
    while todo:
        name = todo.pop()
        if name in found or name not in installed:
            continue
        found[name] = None
        for text in installed[name].requires:
            with suppress(InvalidRequirement):
                todo.append(str(canonicalize_name(Requirement(text).name)))
    return list(found)


def _is_inside(found: Distribution, host: Host) -> bool:
    return Path(found.location).is_relative_to(host.identity.prefix)
