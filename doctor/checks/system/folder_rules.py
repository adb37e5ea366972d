"""Rules for folders that several checks share: the limits of path lengths, and volumes that packages cannot use."""

from __future__ import annotations

from packaging.version import Version

from doctor.checks.shared import cannot_tell
from doctor.host import Absent, Found, Identity, Reading, RegistryValue, Unreadable
from doctor.models import Finding
from doctor.probes.folders import Folder
from doctor.probes.packages import TorchFacts
from wheels.compatibility import newest_torch, parse_version, torch_longest_path

LONGEST_PATH = 259  # characters with long paths off; cl.exe and ninja always have this limit
PIP_FOLDERS = 66  # below TEMP: \pip-install-xxxxxxxx\flash-attn_<32 hexadecimal digits>\ and similar
LONG_PATHS_ON = RegistryValue(type="REG_DWORD", value=1)
USUAL_CUDA = "cu130"  # the tag with builds for the most Python versions
WITHOUT_LINKS_OR_RIGHTS = ("FAT", "FAT32", "EXFAT")


def are_long_paths_on(setting: Reading[RegistryValue]) -> bool | None:
    """Whether long paths are enabled; None if unknown. A missing value means off."""
    if isinstance(setting, Unreadable):
        return None
    return isinstance(setting, Found) and setting.value == LONG_PATHS_ON


def cannot_tell_whether_too_long(check: str, path: str) -> Finding:
    return cannot_tell(check, f"whether {path} is too long", "the setting for long paths could not be read")


def longest_name_in_torch(torch: TorchFacts, identity: Identity) -> tuple[Version, int] | None:
    """Return the installed torch, or the newest one for this Python, and its longest path below site-packages."""
    if isinstance(torch.distribution, Found):
        release: str | None = torch.distribution.value.version
    else:
        release = None if torch.installed else newest_torch(USUAL_CUDA, identity.python_minor)
    version = parse_version(release or "")
    longest = torch_longest_path(version) if version else None
    return (version, longest) if version and longest else None


def why_unsuitable(folder: Folder) -> str | None:
    """Return what is wrong with the folder's location, as a clause: "is in OneDrive"."""
    if isinstance(folder.onedrive, Found):
        return f"is in OneDrive ({folder.onedrive.value})"
    if folder.path.startswith("\\\\"):
        return "is a network path, which cmd.exe cannot work in"
    if isinstance(folder.volume, Absent):
        return "is on a drive that does not exist"
    if isinstance(folder.volume, Found):
        if folder.volume.value.kind == "network":
            return f"is on a network drive ({folder.volume.value.root})"
        if folder.volume.value.file_system.upper() in WITHOUT_LINKS_OR_RIGHTS:
            return f"is on a volume formatted as {folder.volume.value.file_system}"
    return None


def why_unreadable(folder: Folder) -> str | None:
    """Return why the folder's location is unknown."""
    for reading in (folder.volume, folder.onedrive):
        if isinstance(reading, Unreadable):
            return reading.reason
    return None


def with_kept_type(before: Reading[RegistryValue], value: str) -> RegistryValue:
    """Return a variable's new registry value, with the type of its old one."""
    kept = isinstance(before, Found) and before.value.type == "REG_EXPAND_SZ"
    return RegistryValue(type="REG_EXPAND_SZ" if kept else "REG_SZ", value=value)
