"""The Windows SDKs: the headers and libraries of Windows and of the C runtime, without which no C++ compiles."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Host, Reading, Unreadable
from doctor.probes.paths import join

# As 64-bit programs see it; the SDK's installer is a 32-bit one
SDK_KEY = r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Microsoft SDKs\Windows\v10.0"
FOLDER_VALUE = "InstallationFolder"
PARTS = {
    ("Include", "ucrt"): "stdlib.h",
    ("Lib", "ucrt", "x64"): "ucrt.lib",
}  # below the version: what must be there


@dataclass(frozen=True)
class WindowsSdk:
    """One version: "10.0.22621.0". `missing` names the files that a build would not find."""

    version: str
    missing: Reading[tuple[str, ...]]


@dataclass(frozen=True)
class WindowsSdkFacts:
    """`folder` Absent: no SDK was ever installed. `sdks` are those with headers, in no order."""

    folder: Reading[str]
    sdks: Reading[tuple[WindowsSdk, ...]]


def _missing(host: Host, folder: str, version: str) -> Reading[tuple[str, ...]]:
    missing = []
    for (kind, *below), name in PARTS.items():
        place = join(host, folder, kind, version, *below)
        names = host.list_directory(place)
        if isinstance(names, Unreadable):
            return names
        if not isinstance(names, Found) or name not in {known.casefold() for known in names.value}:
            missing.append(join(host, place, name))
    return Found(tuple(missing))


def _windows_sdk(host: Host) -> WindowsSdkFacts:
    value = host.registry_value(SDK_KEY, FOLDER_VALUE)
    if not isinstance(value, Found):
        return WindowsSdkFacts(value, value)
    folder = str(value.value.value)
    names = host.list_directory(join(host, folder, "Include"))
    if not isinstance(names, Found):
        return WindowsSdkFacts(Found(folder), names)
    versions = [name for name in names.value if re.fullmatch(r"10\.0\.\d+\.\d+", name)]
    return WindowsSdkFacts(
        Found(folder), Found(tuple(WindowsSdk(v, _missing(host, folder, v)) for v in versions))
    )


WINDOWS_SDK = Probe("windows-sdk", _windows_sdk)
