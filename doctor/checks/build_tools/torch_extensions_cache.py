"""Has a build of a torch extension left a lock behind?"""

from __future__ import annotations

from doctor.actions import MoveFolder
from doctor.check import Check
from doctor.checks.shared import could_not_look, path_of
from doctor.host import Absent, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.system import IDENTITY
from doctor.probes.torch_extensions import LOCK, TORCH_EXTENSIONS, TorchExtensionsFacts

LINK = "https://docs.pytorch.org/docs/stable/cpp_extension.html"


def judge(extensions: TorchExtensionsFacts, identity: Identity) -> Finding:
    if isinstance(extensions.locked, Unreadable):
        return could_not_look(CHECK.id, extensions.root, extensions.locked.reason)
    locked = () if isinstance(extensions.locked, Absent) else extensions.locked.value
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="No extension build is running or stuck",
        measured=", ".join(locked) or "no locks",
        expected=f"no file named {LOCK}, unless a build is running",
        evidence=(Evidence(source="file", name=f"locks in {extensions.root}", value=list(locked)),),
    )
    if not locked:
        return finding
    moves = tuple(MoveFolder(path=path, aside=_aside(path, extensions.root)) for path in locked)
    separator = "\\" if identity.os == "windows" else "/"
    remove = "del" if identity.os == "windows" else "rm"
    return finding.but(
        status="warning",
        summary=f"A lock in {locked[0]}: programs that load this extension wait until the build ends, forever if none is running",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,),
        fix=Fix(
            id="move-locked-extensions",
            applicability="unsafe",  # a build may be running
            commands=tuple(f"{remove} {path_of(identity, path + separator + LOCK)}" for path in locked),
            actions=moves,
        ),
    )


def _aside(path: str, root: str) -> str:
    """Return a path beside the cache, where torch does not look: ".../Cache/py312_cu130/ext" -> ".../Cache-py312_cu130-ext"."""
    below = path[len(root) :].strip("\\/").replace("\\", "-").replace("/", "-")
    return f"{root.rstrip(chr(92) + '/')}-{below}"


CHECK = Check(
    id="torch-extensions-cache",
    group="build-tools",
    looks_at="Folders with a lock file in torch's cache of extensions (TORCH_EXTENSIONS_DIR, or its default).",
    why="A build that was killed leaves its lock behind, and every program that needs the extension waits for it without any message.",
    by_hand="Make sure that no build is running, then delete the file named lock in that folder.",
    probes=(TORCH_EXTENSIONS, IDENTITY),
    judge=judge,
)
