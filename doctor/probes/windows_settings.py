"""What Windows permits by policy: symbolic links for everybody, programs that nobody signed."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Host, Reading, RegistryValue
from doctor.host.variables import inherited

DEVELOPER_KEY = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\AppModelUnlock"
DEVELOPER_VALUE = "AllowDevelopmentWithoutDevLicense"
POLICY_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\CI\Policy"
POLICY_VALUE = "VerifiedAndReputablePolicyState"
COPIES_ACCEPTED = "HF_HUB_DISABLE_SYMLINKS_WARNING"


@dataclass(frozen=True)
class LinkFacts:
    """May this user make symbolic links, and has he accepted to do without?"""

    developer_mode: Reading[RegistryValue]
    copies_accepted: str | None


def _links(host: Host) -> LinkFacts:
    setting = host.registry_value(DEVELOPER_KEY, DEVELOPER_VALUE)
    return LinkFacts(setting, host.variable(COPIES_ACCEPTED))


def _smart_app_control(host: Host) -> Reading[RegistryValue]:
    return host.registry_value(POLICY_KEY, POLICY_VALUE)


@dataclass(frozen=True)
class EncodingFacts:
    """How this user's Python programs read and write text, and the paths that they must get right."""

    process: str | None  # PYTHONUTF8 in this terminal
    desktop: str | None  # PYTHONUTF8 of programs from the desktop
    paths: dict[str, str]  # "the user folder" -> "C:\\Users\\user"


def _encoding(host: Host) -> EncodingFacts:
    paths = {
        "your user folder": host.variable("USERPROFILE") or host.identity.home,
        "this environment": host.identity.prefix,
        "TEMP": host.variable("TEMP") or "",
    }
    return EncodingFacts(host.variable("PYTHONUTF8"), inherited(host, "PYTHONUTF8"), paths)


LINKS = Probe("symbolic-links", _links)
SMART_APP_CONTROL = Probe("smart-app-control", _smart_app_control)
ENCODING = Probe("encoding", _encoding)
