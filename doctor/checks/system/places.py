"""What several checks say about folders in the same words."""

from __future__ import annotations

from doctor.host import Absent, Found, Reading, RegistryValue, Unreadable
from doctor.probes.places import Place

LONGEST_PATH = 259  # characters, where long paths are off
WITHOUT_LINKS_OR_RIGHTS = ("FAT", "FAT32", "EXFAT")


def are_long_paths_on(setting: Reading[RegistryValue]) -> bool | None:
    """None where nobody can tell. A value that is missing means off."""
    if isinstance(setting, Unreadable):
        return None
    return isinstance(setting, Found) and setting.value == RegistryValue(type="REG_DWORD", value=1)


def trouble_with_volume(place: Place) -> str | None:
    """What is wrong with where a folder lies, as a clause: "it lies in OneDrive"."""
    if isinstance(place.onedrive, Found):
        return f"lies in OneDrive ({place.onedrive.value})"
    if place.path.startswith("\\\\"):
        return "is a network path, where cmd.exe cannot go"
    if isinstance(place.volume, Absent):
        return "is on a drive that is not there"
    if isinstance(place.volume, Found):
        if place.volume.value.kind == "network":
            return f"is on a network drive ({place.volume.value.root})"
        if place.volume.value.file_system.upper() in WITHOUT_LINKS_OR_RIGHTS:
            return f"is on a volume formatted as {place.volume.value.file_system}"
    return None


def why_unseen(place: Place) -> str | None:
    """Why nobody can tell where a folder lies."""
    for reading in (place.volume, place.onedrive):
        if isinstance(reading, Unreadable):
            return reading.reason
    return None


def with_kept_type(before: Reading[RegistryValue], value: str) -> RegistryValue:
    """A variable's new value, in the type that it has."""
    kept = isinstance(before, Found) and before.value.type == "REG_EXPAND_SZ"
    return RegistryValue(type="REG_EXPAND_SZ" if kept else "REG_SZ", value=value)
