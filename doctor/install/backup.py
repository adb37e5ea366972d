"""Keeping what an installation replaces, and putting it back byte by byte, without a network, however far it came."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from doctor.files import move
from doctor.host import Distribution, Host, Identity
from doctor.install.affected_files import (
    Scheme,
    folders_of,
    put_aside,
    with_compiled,
    written_by,
    written_for,
)
from doctor.install.install_record import Change, Installed, Record, keep_record, tell
from doctor.install.wheel_file import WheelFile

STORE = ".aios-kept"  # in the environment's folder: on the same volume, a copy is a link


def keep(
    host: Host,
    folder: Path,
    wheels: Collection[WheelFile],
    installed: Mapping[str, Distribution],
    superseded: Collection[str] = (),
) -> Installed:
    """Record what these wheels will write over, and what is going to be uninstalled, and keep it.

    Raises OSError; then nothing was changed.
    """
    identity = host.identity
    scheme = Scheme.of_this_environment(identity.prefix, identity.site_packages)
    names = (*(wheel.name for wheel in wheels), *superseded)
    replaced = {name: found for name in names if (found := _own(installed.get(name), identity))}
    roots = {scheme.prefix, *(Path(each.location) for each in replaced.values())}
    written = frozenset[Path]().union(*(written_by(wheel, scheme) for wheel in wheels))
    theirs = frozenset[Path]().union(*map(written_for, replaced.values()))
    kept = sorted(path for path in set(with_compiled(written | theirs)) if os.path.lexists(path))
    folders = folders_of(written | theirs, roots)
    record = Record(
        prefix=identity.prefix,
        site_packages=identity.site_packages,
        roots=tuple(sorted(map(str, roots))),
        store=str(scheme.prefix / STORE / folder.name),
        changes=(
            *(_change(wheel.name, wheel.version, replaced) for wheel in wheels),
            *(_change(name, None, replaced) for name in superseded),
        ),
        kept=tuple((str(path), str(number)) for number, path in enumerate(kept)),
        written=tuple(sorted(map(str, written | theirs))),
        folders=tuple(sorted(str(path) for path in folders if path.is_dir())),
        aside=tuple(sorted(map(str, put_aside(folders)))),
    )
    keep_record(folder, record)
    store = Path(record.store)
    store.mkdir(parents=True)
    for path, name in record.kept:
        _link(Path(path), store / name)
    tell(folder, "installing")
    return Installed(folder=folder, record=record, event="installing")


def put_back(run: Installed) -> None:
    """Have the environment be as it was before the run. Raises OSError; may be called again then."""
    record, store = run.record, Path(run.record.store)
    if run.event == "keeping":  # nothing was touched yet
        _forget(store)
        tell(run.folder, "put back")
        return
    tell(run.folder, "putting back", run.reason)
    kept = {Path(path): store / name for path, name in record.kept}
    written = [Path(path) for path in record.written]
    folders = folders_of(written, [Path(root) for root in record.roots])
    metadata = {path for folder in folders if folder.name.endswith(".dist-info") for path in folder.glob("*")}
    for path in {*with_compiled(written), *metadata} - kept.keys():
        if not path.is_dir():
            path.unlink(missing_ok=True)
    for path, copy in kept.items():
        _restore(copy, path)
    for path in put_aside(folders) - set(map(Path, record.aside)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = set(map(Path, record.folders))
    for folder in sorted(folders - before, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # somebody put something there, or it is not there
            folder.rmdir()
    tell(run.folder, "put back", run.reason)
    _forget(store)


def supersede(run: Installed) -> None:
    """Let go of what earlier runs kept of this environment: `run` stands in their place."""
    own = Path(run.record.store)
    with suppress(OSError):
        for store in own.parent.iterdir():
            if store != own:
                shutil.rmtree(store, ignore_errors=True)


def bytes_kept(run: Installed) -> int:
    """The room that the copies take now that the files themselves were replaced."""
    total = 0
    for _, name in run.record.kept:
        with suppress(OSError):
            stat = Path(run.record.store, name).stat()
            total += stat.st_size if stat.st_nlink == 1 else 0
    return total


def _own(distribution: Distribution | None, identity: Identity) -> Distribution | None:
    """One that pip takes away for a new one: in a virtual environment what lies in it, elsewhere whatever Python finds."""
    in_virtual_environment = identity.prefix != identity.base_prefix
    if distribution is None or (
        in_virtual_environment and not Path(distribution.location).is_relative_to(identity.prefix)
    ):
        return None
    return distribution


def _change(name: str, after: str | None, replaced: Mapping[str, Distribution]) -> Change:
    before = replaced.get(name)
    return Change(name=name, before=before.version if before else None, after=after)


def _link(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without links
        shutil.copy2(path, copy, follow_symlinks=False)


def _restore(copy: Path, path: Path) -> None:
    """By way of a new name, so that a kill leaves the old file or the whole new one."""
    with suppress(OSError):
        if path.samefile(copy):
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"~{path.name}.aios")
    temporary.unlink(missing_ok=True)
    _link(copy, temporary)
    move(temporary, path)


def _forget(store: Path) -> None:
    shutil.rmtree(store, ignore_errors=True)
    with suppress(OSError):
        store.parent.rmdir()
