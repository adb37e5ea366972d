"""Back up what an installation replaces, and restore it byte for byte, offline, after an interruption at any point."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from doctor.files import move
from doctor.host import Distribution, Host, Identity
from doctor.install.affected_files import (
    Scheme,
    destinations,
    files_of,
    files_written_by,
    folders_of,
    left_by_pip,
    require_below,
    with_bytecode,
)
from doctor.install.comparison import unfinished
from doctor.install.install_record import Change, InstallRun, Record, append_event, write_record
from doctor.install.wheel_file import WheelFile

# Errors of rmdir after which a folder stays: it is not empty, does not exist, or is in use
KEPT_FOLDERS = (
    errno.ENOTEMPTY,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EBUSY,
)
SET_ASIDE = "set-aside"  # folder in a run's folder
STORE = ".aios-kept"  # in the environment's folder, so on the same volume: hard links instead of copies


def back_up(
    host: Host,
    folder: Path,
    wheels: Collection[WheelFile],
    installed: Mapping[str, Distribution],
    to_uninstall: Collection[str] = (),
) -> InstallRun:
    """Back up the files that these wheels overwrite and those of the distributions `to_uninstall`, and record both.

    Raises OSError; nothing was changed then.
    """
    identity = host.identity
    scheme = Scheme.of(identity)
    names = (*(wheel.name for wheel in wheels), *to_uninstall)
    replaced = {name: found for name in names if (found := _replaced_by_pip(installed.get(name), identity))}
    roots = {scheme.prefix, *(Path(each.location) for each in replaced.values())}
    new = {wheel.name: files_written_by(wheel, scheme) for wheel in wheels}
    old = {name: files_of(distribution) for name, distribution in replaced.items()}
    written, theirs = (frozenset[Path]().union(*files.values()) for files in (new, old))
    files = {name: new.get(name, frozenset()) | old.get(name, frozenset()) for name in names}
    require_below(roots, files)
    kept = sorted(path for path in set(with_bytecode(written | theirs)) if os.path.lexists(path))
    folders = folders_of(written | theirs, roots)
    record = Record(
        prefix=identity.prefix,
        site_packages=identity.site_packages,
        roots=tuple(sorted(map(str, roots))),
        store=str(scheme.prefix / STORE / folder.name),
        changes=(
            *(_change(wheel.name, wheel.version, replaced, files) for wheel in wheels),
            *(_change(name, None, replaced, files) for name in to_uninstall),
        ),
        kept=tuple((str(path), str(number)) for number, path in enumerate(kept)),
        contents=tuple(
            (str(path), size, crc)
            for wheel in wheels
            for path, (size, crc) in zip(destinations(wheel, scheme), wheel.contents, strict=True)
            if path
        ),
        written=tuple(sorted(map(str, written | theirs))),
        folders=tuple(sorted(str(path) for path in folders if path.is_dir())),
        aside=tuple(sorted(map(str, left_by_pip(folders)))),
    )
    write_record(folder, record)
    store = Path(record.store)
    store.mkdir(parents=True)
    for path, name in record.kept:
        _link(Path(path), store / name)
    append_event(folder, "installing")
    return InstallRun(folder=folder, record=record, event="installing")


def restore(run: InstallRun, but: Collection[Change] = ()) -> None:
    """Restore the environment to its state before the run, except for the files of `but`. Raises OSError; may be retried."""
    record, store = run.record, Path(run.record.store)
    if run.event == "keeping":  # nothing was changed yet
        _delete_store(store)
        append_event(run.folder, "put back")
        return
    append_event(run.folder, "putting back", run.reason)
    others = {Path(path) for change in but for path in change.files}
    kept = {Path(path): store / name for path, name in record.kept if Path(path) not in others}
    written = [path for path in map(Path, record.written) if path not in others]
    _set_aside(
        run, [path for change in record.changes if change not in but for path in unfinished(run, change)]
    )
    folders = folders_of(written, [Path(root) for root in record.roots])
    metadata = {
        path
        for folder in folders
        if folder.name.endswith(".dist-info") and folder not in {other.parent for other in others}
        for path in folder.glob("*")
    }
    for path in {*with_bytecode(written), *metadata} - kept.keys():
        if not path.is_dir():
            path.unlink(missing_ok=True)
    for path, copy in kept.items():
        _restore(copy, path)
    for path in left_by_pip(folders) - set(map(Path, record.aside)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = set(map(Path, record.folders))
    for folder in sorted(folders - before, key=lambda path: len(path.parts), reverse=True):
        _remove_if_empty(folder)
    append_event(run.folder, "put back", run.reason)
    _delete_store(store)


def discard_older_backups(run: InstallRun) -> None:
    """Delete the backups of earlier runs in this environment: only the newest installation can be undone."""
    own = Path(run.record.store)
    with suppress(OSError):
        for store in own.parent.iterdir():
            if store != own:
                shutil.rmtree(store, ignore_errors=True)


def backup_size(run: InstallRun) -> int:
    """Return the disk space of the backup in bytes, without files that are still linked in the environment."""
    total = 0
    for _, name in run.record.kept:
        with suppress(OSError):
            stat = Path(run.record.store, name).stat()
            total += stat.st_size if stat.st_nlink == 1 else 0
    return total


def _replaced_by_pip(distribution: Distribution | None, identity: Identity) -> Distribution | None:
    """Return the distribution if pip uninstalls it for a new one: in a virtual environment only one inside it."""
    in_virtual_environment = identity.prefix != identity.base_prefix
    if distribution is None or (
        in_virtual_environment and not Path(distribution.location).is_relative_to(identity.prefix)
    ):
        return None
    return distribution


def _change(
    name: str,
    after: str | None,
    replaced: Mapping[str, Distribution],
    files: Mapping[str, frozenset[Path]],
) -> Change:
    before = replaced.get(name)
    return Change(
        name=name,
        before=before.version if before else None,
        after=after,
        files=tuple(sorted(map(str, files[name]))),
    )


def _set_aside(run: InstallRun, files: Collection[Path]) -> None:
    """Copy files that pip left incomplete, or the user changed, into the run's folder before they are replaced."""
    for number, path in enumerate(files):
        folder = run.folder / SET_ASIDE
        folder.mkdir(exist_ok=True)
        shutil.copy2(path, folder / f"{number}-{path.name}", follow_symlinks=False)


def _link(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy, follow_symlinks=False)
    except (OSError, NotImplementedError):  # the file system has no hard links
        shutil.copy2(path, copy, follow_symlinks=False)


def _restore(copy: Path, path: Path) -> None:
    """Write under a temporary name and rename, so that a kill leaves either the old or the complete new file."""
    with suppress(OSError):
        if path.samefile(copy):
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"~{path.name}.aios")
    temporary.unlink(missing_ok=True)
    _link(copy, temporary)
    move(temporary, path)


def discard_used_backup(run: InstallRun) -> None:
    """Delete the backup of a run that is restored: a kill may have prevented that."""
    if run.event == "put back":
        _delete_store(Path(run.record.store))


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder unless it is not empty, does not exist, or is in use. Raises other OSErrors: to be retried."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in KEPT_FOLDERS:
            raise


def _delete_store(store: Path) -> None:
    if store.parent.name != STORE:  # a record that was not written by aios
        return
    shutil.rmtree(store, ignore_errors=True)
    with suppress(OSError):
        store.parent.rmdir()
