"""An installation from the files to the end: fetched, held to its hashes, tried out, kept, installed, verified, or put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from doctor.aios_home import state_folder
from doctor.failures.log import read
from doctor.failures.match import find
from doctor.failures.order import arrange
from doctor.failures.table import failures
from doctor.files import sha256_of
from doctor.host import Found, Host
from doctor.install.backup import keep, put_back, supersede
from doctor.install.download import discard, download
from doctor.install.dry_run_check import also_needed
from doctor.install.environment_facts import Facts
from doctor.install.install_plan import Installation, Target, Wishes
from doctor.install.install_record import Installed, installations, tell
from doctor.install.pip import Pip, Resolved, Sources
from doctor.install.preconditions import why_too_long
from doctor.install.verification import verify
from doctor.install.wheel_file import WheelFile, read_wheel
from doctor.runs.run_folders import new_run_folder
from doctor.wheel_search.install_error import InstallError

GIBIBYTE = 2**30
Say = Callable[[str], None]
Progress = Callable[[str, int, int | None], None]  # a file's name, bytes so far, of how many


@dataclass(frozen=True)
class Fetched:
    """A file that was checked, and the line by which pip installs it."""

    wheel: WheelFile
    line: str


@dataclass(frozen=True)
class Done:
    """What became of an installation. `trouble` None: it stands, and every package was seen to work."""

    run: Installed
    also: tuple[Resolved, ...]
    trouble: str | None = None


def repair(host: Host) -> tuple[Installed, ...]:
    """Put back what runs left that were ended in the middle; gives them. Raises OSError."""
    broken = tuple(run for run in installations(host) if not run.is_whole)
    for run in broken:
        put_back(run)
    return broken


def undo(host: Host) -> Installed | None:
    """Put back what the newest standing installation replaced; None: there is none. Raises InstallError, OSError."""
    run = next(iter(installations(host)), None)
    if run is None or not run.stands:
        return None
    if not Path(run.record.store).is_dir():
        raise InstallError(f"What was there before is gone: {run.record.store}")
    for change in run.record.changes:
        now = host.distribution(change.name)
        version = now.value.version if isinstance(now, Found) else None
        if version != change.after:
            raise InstallError(
                f"Somebody changed {change.name} since: the installation left {change.after}, now it is "
                f"{version or 'not there'}. Nothing was undone."
            )
    _nobody_uses(host)
    put_back(run)
    return run


def carry_out(
    host: Host,
    facts: Facts,
    installation: Installation,
    wishes: Wishes,
    pip: Pip,
    say: Say,
    progress: Progress,
) -> Done:
    """Install what was planned. Raises InstallError and OSError where nothing was changed."""
    store = state_folder(host) / "downloads"
    _nobody_uses(host)
    _enough_room(host, str(store), sum(t.size or 0 for t in installation.targets if not t.file))
    sources = _sources(installation, wishes)
    fetched = [_fetch(target, store, host, pip, wishes, progress) for target in installation.targets]
    say("Asking pip what else that would change")
    torch = facts.machine.torch if "torch" in facts.installed else None
    reported = pip.try_out([f"{each.wheel.name} @ {each.wheel.path.as_uri()}" for each in fetched], sources)
    brings_triton = facts.machine.system == "linux"
    also = also_needed(reported, installation.targets, torch, brings_triton)
    if also:
        say(f"They need besides: {', '.join(f'{each.name} {each.version}' for each in also)}")
        pip.fetch([f"{each.name}=={each.version}" for each in also], store, sources)
    others = [_fetched(each, store, host) for each in also]
    wheels = [each.wheel for each in (*fetched, *others)]
    for wheel in wheels:
        if too_long := why_too_long(facts, wheel.path.name, len(wheel.longest)):
            raise InstallError(too_long)
    _enough_room(host, host.identity.site_packages, sum(wheel.unpacked_bytes for wheel in wheels))
    folder = new_run_folder(host, datetime.now(timezone.utc))
    came_to_an_end = False
    try:
        run = keep(host, folder, wheels, facts.installed, installation.superseded)
        done = _install(host, facts, installation, [*fetched, *others], run, pip, say)
        came_to_an_end = True
    finally:  # Ctrl-C, a full disk: nothing is left half done
        if not came_to_an_end:
            repair(host)
    if done is None:
        tell(folder, "installed")
        run = Installed(folder=folder, record=run.record, event="installed")
        supersede(run)
        discard(store)
    return Done(run, also, done)


def _install(
    host: Host,
    facts: Facts,
    installation: Installation,
    fetched: Sequence[Fetched],
    run: Installed,
    pip: Pip,
    say: Say,
) -> str | None:
    """Install and verify; what does not stand is put back. Gives why, None: it stands. Raises OSError."""
    try:
        say("Installing")
        pip.uninstall(installation.superseded)
        folders = sorted({each.wheel.path.parent for each in fetched})
        pip.install([each.line for each in fetched], folders)
        versions = {each.wheel.name: each.wheel.version for each in fetched}
        for target in installation.targets:
            say(f"Trying {target.name}")
            build = installation.plan.torch
            gpu = bool(facts.machine.compute_capabilities) and bool(build and build.cuda_tag)
            if found := verify(host, target.name, versions[target.name], gpu=gpu):
                raise InstallError(
                    f"{target.name} {versions[target.name]} does not work here: {found[0]}", found[1]
                )
    except InstallError as error:
        put_back(run.model_copy(update={"reason": str(error)}))
        return f"{error}{cause_of(error.log)}"
    return None


def cause_of(log: str) -> str:
    """What the table of known failures says of a log, as sentences behind others."""
    table = failures()
    found = arrange(find(read(log.encode("utf-8", "backslashreplace")), table), table)
    certain = [placed.sighting.failure for placed in found if placed.certain and not placed.sighting.harmless]
    return f" {certain[0].title}: {certain[0].cause} {certain[0].fix}" if certain else ""


def _sources(installation: Installation, wishes: Wishes) -> Sources:
    """Where what the targets need may come from: the user's index, and PyTorch's own where torch comes from there."""
    indexes = [target.index for target in installation.targets if target.index]
    folders = (str(wishes.folder.absolute()),) if wishes.folder else ()
    return Sources(next(iter(indexes), None), folders, wishes.offline)


def _fetch(target: Target, store: Path, host: Host, pip: Pip, wishes: Wishes, progress: Progress) -> Fetched:
    path = target.file or store / target.filename
    if target.url is None:
        path = pip.fetch_one(f"{target.name}=={target.version}", store)
    elif not target.file:
        if target.sha256 is None:
            raise InstallError(f"{target.url}: no hash is known that it could be checked against")
        download(
            target.url, path, target.size, target.sha256, lambda done, of: progress(target.filename, done, of)
        )
    return _checked(path, target.sha256, host, labelled=target.labelled)


def _fetched(resolved: Resolved, store: Path, host: Host) -> Fetched:
    """What pip fetched of the rest, or found in the folder of wheels."""
    path = store / resolved.filename
    return _checked(path, resolved.sha256, host, labelled=False)


def _checked(path: Path, sha256: str | None, host: Host, *, labelled: bool) -> Fetched:
    found = sha256_of(path)
    if sha256 not in (None, found):
        discard(path)
        raise InstallError(
            f"{path.name} is not the file that was published: its SHA-256 should be {sha256}, and is {found}. "
            "Nothing was installed."
        )
    wheel = read_wheel(path, host.identity)
    pinned = f"{wheel.name} @ {path.as_uri()}" if labelled else f"{wheel.name}=={wheel.version}"
    return Fetched(wheel, f"{pinned} --hash=sha256:{found}")


def _enough_room(host: Host, folder: str, needed: int) -> None:
    volume = host.volume(folder)
    if isinstance(volume, Found) and volume.value.free_bytes < needed:
        raise InstallError(
            f"{volume.value.root} has {volume.value.free_bytes / GIBIBYTE:.1f} GiB free; "
            f"{needed / GIBIBYTE:.1f} GiB are needed for {folder}. Make room, or move it (AIOS_HOME)."
        )


def _nobody_uses(host: Host) -> None:
    """What another program has loaded cannot be replaced on Windows, and changes under its feet elsewhere."""
    using = host.programs_using(host.identity.site_packages)
    if isinstance(using, Found) and using.value:
        named = ", ".join(f"{program.name} (process {program.pid})" for program in using.value)
        raise InstallError(f"Programs use this environment: {named}. End them, then run this again.")
