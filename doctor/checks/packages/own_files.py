"""Has another distribution replaced files of aios?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.requires import present
from doctor.checks.shared import for_this_python, path_of, several, value_of
from doctor.host import Identity, OwnFiles, Reading
from doctor.models import Evidence, Finding
from doctor.probes.own_files import OWN_FILES
from doctor.probes.system import IDENTITY
from doctor.quoting import in_text

LINK = "https://packaging.python.org/en/latest/specifications/recording-installed-packages/"
SHOWN = 2  # file names in a summary
EVIDENCE = 20  # file names in a row of evidence


def judge(reading: Reading[OwnFiles], identity: Identity) -> Finding:
    own = value_of(reading)
    problem = _problem(own)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="aios' own files are as installed",
        measured=problem or f"{own.recorded} files compared, none changed",
        expected="no changed file, and no other distribution with the same import packages",
        evidence=_evidence(own),
    )
    if not problem:
        return finding
    overwritten = own.changed or own.elsewhere
    return finding.but(
        status="error" if overwritten else "warning",
        summary=problem,
        impact=CHECK.why,
        hint=_hint(own, identity),
        links=(LINK,),
    )


def _problem(own: OwnFiles) -> str:
    """Return what is wrong, naming the distributions that took the files; "" if nothing is."""
    others = " and ".join(own.claims)
    files = several(own.changed, SHOWN)
    if own.changed and others:
        return f"{others} has overwritten files of aios: {files}"
    if own.changed:
        return f"Files of aios are not as installed: {files}"
    if own.elsewhere:
        name, path = next(iter(own.elsewhere.items()))
        owner = f", from {others}," if others else ""
        return f"Python imports {name} from {path}{owner} instead of aios' own"
    if others:
        files = several(next(iter(own.claims.values())), SHOWN)
        return f"{others} claims files of aios' packages: {files}"
    return ""


def _hint(own: OwnFiles, identity: Identity) -> str:
    source = own.installed.direct_url if own.installed else None
    again = f"install --force-reinstall --no-deps {path_of(identity, source or 'aios-doctor')}"
    reinstall = in_text(for_this_python(identity, "pip", again))
    if not own.claims:
        if own.changed:
            return f"Reinstall aios: {reinstall}"
        return "Rename that file or folder, or run aios from another folder."
    names = " ".join(claim.partition(" ")[0] for claim in own.claims)
    uninstall = in_text(for_this_python(identity, "pip", f"uninstall {names}"))
    then = f". Then reinstall aios: {reinstall}" if own.recorded else ""
    return f"Keep aios in an environment of its own. Here, uninstall {names}: {uninstall}{then}"


def _evidence(own: OwnFiles) -> tuple[Evidence, ...]:
    rows = {
        "files that differ from aios' RECORD": own.changed,
        "packages imported from elsewhere": tuple(f"{name}: {path}" for name, path in own.elsewhere.items()),
        **{f"files in the RECORD of {other}": files for other, files in own.claims.items()},
    }
    return tuple(
        Evidence(source="file", name=name, value=list(files[:EVIDENCE]))
        for name, files in rows.items()
        if files
    )


CHECK = Check(
    id="own-files",
    group="packages",
    looks_at="The files of aios itself: their hashes against its RECORD, the folders that Python would import them from, and other distributions that install into the same import packages.",
    why="Other projects on PyPI also use the import names trainer and doctor. Installed beside aios they overwrite its files, and uninstalling them deletes those files.",
    by_hand="Give aios an environment of its own. To repair this one, uninstall the other distribution, then reinstall aios with --force-reinstall.",
    probes=(OWN_FILES, IDENTITY),
    judge=judge,
    requires=(present(OWN_FILES, "the files of aios"),),
)
