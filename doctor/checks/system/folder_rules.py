"""What several checks say about folders, and about paths that are too long, in the same words."""

from __future__ import annotations

from packaging.version import Version

from doctor.checks.shared import cannot_tell
from doctor.host import Absent, Found, Identity, Reading, RegistryValue, Unreadable
from doctor.models import Finding
from doctor.probes.folders import Folder
from doctor.probes.packages import TorchFacts
from wheels.compatibility import newest_torch, parse_version, torch_longest_path

LONGEST_PATH = 259  # characters, where long paths are off; for cl.exe and ninja at all times
PIP_FOLDERS = 66  # \pip-install-xxxxxxxx\flash-attn_<32 hexadecimal digits>\ and the like, below TEMP
LONG_PATHS_ON = RegistryValue(type="REG_DWORD", value=1)
USUAL_CUDA = "cu130"  # the tag with builds for the most Pythons
WITHOUT_LINKS_OR_RIGHTS = ("FAT", "FAT32", "EXFAT")


def are_long_paths_on(setting: Reading[RegistryValue]) -> bool | None:
    """None where nobody can tell. A value that is missing means off."""
    if isinstance(setting, Unreadable):
        return None
    return isinstance(setting, Found) and setting.value == LONG_PATHS_ON


def cannot_tell_whether_too_long(check: str, path: str) -> Finding:
    return cannot_tell(check, f"whether {path} is too long", "long paths may be on or off")


def longest_name_in_torch(torch: TorchFacts, identity: Identity) -> tuple[Version, int] | None:
    """The torch that is here, else the one to come, and the characters of its longest name below site-packages."""
    if isinstance(torch.distribution, Found):
        release: str | None = torch.distribution.value.version
    else:
        release = None if torch.installed else newest_torch(USUAL_CUDA, identity.python_minor)
    version = parse_version(release or "")
    longest = torch_longest_path(version) if version else None
    return (version, longest) if version and longest else None


def trouble_with_volume(folder: Folder) -> str | None:
    """What is wrong with where a folder lies, as a clause: "it lies in OneDrive"."""
    if isinstance(folder.onedrive, Found):
        return f"lies in OneDrive ({folder.onedrive.value})"
    if folder.path.startswith("\\\\"):
        return "is a network path, where cmd.exe cannot go"
    if isinstance(folder.volume, Absent):
        return "is on a drive that is not there"
    if isinstance(folder.volume, Found):
        if folder.volume.value.kind == "network":
            return f"is on a network drive ({folder.volume.value.root})"
        if folder.volume.value.file_system.upper() in WITHOUT_LINKS_OR_RIGHTS:
            return f"is on a volume formatted as {folder.volume.value.file_system}"
    return None


def why_unseen(folder: Folder) -> str | None:
    """Why nobody can tell where a folder lies."""
    for reading in (folder.volume, folder.onedrive):
        if isinstance(reading, Unreadable):
            return reading.reason
    return None


def with_kept_type(before: Reading[RegistryValue], value: str) -> RegistryValue:
    """A variable's new value, in the type that it has."""
    kept = isinstance(before, Found) and before.value.type == "REG_EXPAND_SZ"
    return RegistryValue(type="REG_EXPAND_SZ" if kept else "REG_SZ", value=value)
