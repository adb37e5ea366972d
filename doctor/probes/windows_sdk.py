"""The Windows SDKs: the headers and libraries of Windows and the C runtime, which every C++ build needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader, Reading, Unreadable
from doctor.probes.paths import join

# The SDK's installer is a 32-bit program; this is its key as 64-bit programs see it
SDK_KEY = r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Microsoft SDKs\Windows\v10.0"
FOLDER_VALUE = "InstallationFolder"
# Files that must exist, by the folder (with the version inserted after its first part)
PARTS = {
    ("Include", "ucrt"): "stdlib.h",
    ("Lib", "ucrt", "x64"): "ucrt.lib",
}


@dataclass(frozen=True)
class WindowsSdk:
    """One version, such as "10.0.22621.0". `missing` are the files a build would not find."""

    version: str
    missing: Reading[tuple[str, ...]]


@dataclass(frozen=True)
class WindowsSdkFacts:
    """`folder` is Absent if no SDK is registered. `sdks` are the versions with headers, unordered."""

    folder: Reading[str]
    sdks: Reading[tuple[WindowsSdk, ...]]


def _missing(host: Reader, folder: str, version: str) -> Reading[tuple[str, ...]]:
    missing = []
    for (kind, *below), name in PARTS.items():
        subfolder = join(host, folder, kind, version, *below)
        names = host.list_directory(subfolder)
        if isinstance(names, Unreadable):
            return names
        if not isinstance(names, Found) or name not in {known.casefold() for known in names.value}:
            missing.append(join(host, subfolder, name))
    return Found(tuple(missing))


def _windows_sdk(host: Reader) -> WindowsSdkFacts:
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
