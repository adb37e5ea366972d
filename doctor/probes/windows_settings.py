"""Windows settings that affect Python programs: developer mode, Smart App Control and UTF-8 mode."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Reader, Reading, RegistryValue
from doctor.host.variables import inherited

DEVELOPER_KEY = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\AppModelUnlock"
DEVELOPER_VALUE = "AllowDevelopmentWithoutDevLicense"
POLICY_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\CI\Policy"
POLICY_VALUE = "VerifiedAndReputablePolicyState"
COPIES_ACCEPTED = "HF_HUB_DISABLE_SYMLINKS_WARNING"


@dataclass(frozen=True)
class LinkFacts:
    """Whether programs may create symbolic links, and whether Hugging Face's warning about copies is switched off."""

    developer_mode: Reading[RegistryValue]
    copies_accepted: str | None


def _links(host: Reader) -> LinkFacts:
    setting = host.registry_value(DEVELOPER_KEY, DEVELOPER_VALUE)
    return LinkFacts(setting, host.variable(COPIES_ACCEPTED))


def _smart_app_control(host: Reader) -> Reading[RegistryValue]:
    return host.registry_value(POLICY_KEY, POLICY_VALUE)


@dataclass(frozen=True)
class EncodingFacts:
    """Python's UTF-8 mode, and the paths whose letters matter for it.

    Attributes:
        process: PYTHONUTF8 in this terminal.
        desktop: PYTHONUTF8 for programs started from the desktop.
        paths: by what they are: "your user folder" -> "C:\\\\Users\\\\user".
    """

    process: str | None
    desktop: str | None
    paths: dict[str, str]


def _encoding(host: Reader) -> EncodingFacts:
    paths = {
        "your user folder": host.variable("USERPROFILE") or host.identity.home,
        "this environment": host.identity.prefix,
        "TEMP": host.variable("TEMP") or "",
    }
    return EncodingFacts(host.variable("PYTHONUTF8"), inherited(host, "PYTHONUTF8"), paths)


LINKS = Probe("symbolic-links", _links)
SMART_APP_CONTROL = Probe("smart-app-control", _smart_app_control)
ENCODING = Probe("encoding", _encoding)
