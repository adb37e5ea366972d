"""Run an installation: download, check hashes, dry run, back up, install, verify; roll back if that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from doctor.aios_home import environment_folder
from doctor.failures.log import read
from doctor.failures.match import find
from doctor.failures.order import arrange
from doctor.failures.table import failures
from doctor.files import sha256_of
from doctor.host import Found, Host
from doctor.install.affected_files import Scheme
from doctor.install.backup import back_up, discard_older_backups, restore
from doctor.install.comparison import edited, lost_backup
from doctor.install.download import discard, download
from doctor.install.dry_run_check import additional_packages
from doctor.install.environment_facts import EnvironmentFacts
from doctor.install.install_plan import Installation, InstallRequest, Target
from doctor.install.install_record import InstallRun, append_event, installations
from doctor.install.interrupted import repair_interrupted
from doctor.install.overwritten_files import why_overwritten
from doctor.install.pip import Pip, Resolved, Sources
from doctor.install.preconditions import why_too_long
from doctor.install.verification import verify
from doctor.install.wheel_file import WheelFile, read_wheel
from doctor.runs.run_folders import new_run_folder
from doctor.wheel_search.install_error import InstallError

GIBIBYTE = 2**30
Say = Callable[[str], None]
Progress = Callable[[str, int, int | None], None]  # file name, bytes so far, total


@dataclass(frozen=True)
class Fetched:
    """A checked wheel, and the requirement line by which pip installs it."""

    wheel: WheelFile
    line: str


@dataclass(frozen=True)
class Outcome:
    """The result of an installation. `trouble` None: every package was installed and works."""

    run: InstallRun
    also: tuple[Resolved, ...]
    trouble: str | None = None


def undo(host: Host) -> InstallRun | None:
    """Undo the newest installation; None: there is none. Raises InstallError, OSError."""
    run = newest_in_effect(host)
    if run and run.event == "left" and run.reason.startswith("its "):
        raise InstallError(
            f"The installation {run.folder.name} cannot be undone: {run.reason}. Nothing was undone."
        )
    if run is None or not run.is_installed:
        return None
    if lost := lost_backup(run.record):
        raise InstallError(
            f"The installation {run.folder.name} cannot be undone: {lost}. Nothing was undone."
        )
    for change in run.record.changes:
        now = host.distribution(change.name)
        version = now.value.version if isinstance(now, Found) else None
        if version != change.after:
            raise InstallError(
                f"{change.name} has changed since the installation: it was {change.after or 'not installed'}, now it is "
                f"{version or 'not installed'}. Nothing was undone."
            )
    if path := edited(run.record):
        raise InstallError(
            f"{path} has changed since the installation. Nothing was undone. To undo it, first move that file elsewhere, "
            "or keep the installation as it is."
        )
    refuse_if_in_use(host)
    restore(run)
    return run


def newest_in_effect(host: Host) -> InstallRun | None:
    """Return the newest installation that was not restored since. None: there is none, or its backup was discarded.

    A later one that was installed and then undone has discarded the backup; one that was rolled back has not.
    """
    runs = installations(host)
    run = next((each for each in runs if each.event != "put back"), None)
    if run is None or (run is not runs[0] and not Path(run.record.store).is_dir()):
        return None
    return run


def install_packages(
    host: Host,
    facts: EnvironmentFacts,
    installation: Installation,
    request: InstallRequest,
    pip: Pip,
    say: Say,
    progress: Progress,
) -> Outcome:
    """Carry out a plan. Raises InstallError and OSError only if nothing was changed."""
    store = environment_folder(host) / "downloads"
    refuse_if_in_use(host)
    _enough_room(host, str(store), sum(t.size or 0 for t in installation.targets if not t.file))
    sources = _sources(installation, request)
    fetched = [_fetch(target, store, host, pip, request, progress) for target in installation.targets]
    say("Asking pip what else this would change")
    torch = facts.machine.torch if "torch" in facts.installed else None
    files = [f"{each.wheel.name} @ {each.wheel.path.as_uri()}" for each in fetched]
    also_required = [requirement for target in installation.targets for requirement in target.also]
    reported = pip.dry_run([*files, *also_required], sources)
    brings_triton = facts.machine.system == "linux"
    also = additional_packages(reported, installation.targets, torch, brings_triton)
    if also:
        say(f"Other dependencies: {', '.join(f'{each.name} {each.version}' for each in also)}")
        pip.fetch([f"{each.name}=={each.version}" for each in also], store, sources)
    others = [_check_dependency(each, store, host) for each in also]
    wheels = [each.wheel for each in (*fetched, *others)]
    for wheel in wheels:
        if too_long := why_too_long(facts, wheel.path.name, len(wheel.longest)):
            raise InstallError(too_long)
    scheme = Scheme.of(host.identity)
    if overwritten := why_overwritten(wheels, facts.installed, scheme):
        raise InstallError(overwritten)
    _enough_room(host, host.identity.site_packages, sum(wheel.unpacked_bytes for wheel in wheels))
    folder = new_run_folder(host, datetime.now(timezone.utc))
    completed = False
    try:
        run = back_up(host, folder, wheels, facts.installed, installation.to_uninstall)
        done = _install(host, facts, installation, [*fetched, *others], run, pip, say)
        completed = True
    finally:  # Ctrl-C, a full disk: restore the environment
        if not completed:
            repair_interrupted(host)
    if done is None:
        append_event(folder, "installed")
        run = InstallRun(folder=folder, record=run.record, event="installed")
        discard_older_backups(run)
        discard(store)
    return Outcome(run, also, done)


def _install(
    host: Host,
    facts: EnvironmentFacts,
    installation: Installation,
    fetched: Sequence[Fetched],
    run: InstallRun,
    pip: Pip,
    say: Say,
) -> str | None:
    """Install and verify; roll back on failure. Return the reason of a failure, or None. Raises OSError."""
    try:
        say("Installing")
        pip.uninstall(installation.to_uninstall)
        folders = sorted({each.wheel.path.parent for each in fetched})
        pip.install([each.line for each in fetched], folders)
        versions = {each.wheel.name: each.wheel.version for each in fetched}
        for target in installation.targets:
            say(f"Verifying {target.name}")
            build = installation.resolution.torch
            gpu = bool(facts.machine.compute_capabilities) and bool(build and build.cuda_tag)
            if found := verify(host, target.name, versions[target.name], gpu=gpu):
                raise InstallError(
                    f"{target.name} {versions[target.name]} does not work here: {found[0]}", found[1]
                )
    except InstallError as error:
        restore(run.model_copy(update={"reason": str(error)}))
        return f"{error}{cause_of(error.log)}"
    return None


def cause_of(log: str) -> str:
    """Return what the table of known failures says about a log, as sentences to append; "" if nothing."""
    table = failures()
    found = arrange(find(read(log.encode("utf-8", "backslashreplace")), table), table)
    certain = [placed.sighting.failure for placed in found if placed.certain and not placed.sighting.harmless]
    return f" {certain[0].title}: {certain[0].cause} {certain[0].fix}" if certain else ""


def _sources(installation: Installation, request: InstallRequest) -> Sources:
    """Return where dependencies may come from: the user's index, the folder, and PyTorch's index if torch does."""
    indexes = [target.index for target in installation.targets if target.index]
    folders = (str(request.folder.absolute()),) if request.folder else ()
    return Sources(next(iter(indexes), None), folders, request.offline)


def _fetch(
    target: Target, store: Path, host: Host, pip: Pip, request: InstallRequest, progress: Progress
) -> Fetched:
    path = target.file or store / target.filename
    if target.url is None:
        try:
            path = pip.fetch_one(f"{target.name}=={target.version}", store)
        except InstallError as error:
            if target.instead_of:
                raise InstallError(f"{target.instead_of}. Your package index: {error}", error.log) from error
            raise
    elif not target.file:
        if target.sha256 is None:
            raise InstallError(f"{target.url}: there is no hash to check it against")
        download(
            target.url, path, target.size, target.sha256, lambda done, of: progress(target.filename, done, of)
        )
    return _checked(path, target.sha256, host, store, labelled=target.labelled)


def _check_dependency(resolved: Resolved, store: Path, host: Host) -> Fetched:
    """Check a dependency that pip downloaded, or found in the folder of wheels."""
    path = store / resolved.filename
    return _checked(path, resolved.sha256, host, store, labelled=False)


def _checked(path: Path, sha256: str | None, host: Host, store: Path, *, labelled: bool) -> Fetched:
    found = sha256_of(path)
    if sha256 not in (None, found):
        if path.parent == store:  # a wheel of the user's own stays where it is
            discard(path)
        raise InstallError(
            f"{path.name} is not the published file: expected SHA-256 {sha256}, got {found}. Nothing was installed."
        )
    wheel = read_wheel(path, host.identity)
    pinned = f"{wheel.name} @ {path.as_uri()}" if labelled else f"{wheel.name}=={wheel.version}"
    return Fetched(wheel, f"{pinned} --hash=sha256:{found}")


def _enough_room(host: Host, folder: str, needed: int) -> None:
    volume = host.volume(folder)
    if isinstance(volume, Found) and volume.value.free_bytes < needed:
        raise InstallError(
            f"{volume.value.root} has {volume.value.free_bytes / GIBIBYTE:.1f} GiB free; "
            f"{needed / GIBIBYTE:.1f} GiB are needed in {folder}. Free disk space, or set AIOS_HOME to a folder elsewhere."
        )


def refuse_if_in_use(host: Host) -> None:
    """Raise InstallError if programs use this environment: Windows cannot replace files that they have loaded."""
    using = host.programs_using(host.identity.site_packages)
    if isinstance(using, Found) and using.value:
        named = ", ".join(f"{program.name} (process {program.pid})" for program in using.value)
        raise InstallError(f"Programs are using this environment: {named}. Close them, then run this again.")
