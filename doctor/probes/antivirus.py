"""The antivirus products that Windows knows, and Controlled folder access, from the registry."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader, Reading, RegistryValue
from doctor.probes.paths import join

PRODUCTS = r"HKLM\SOFTWARE\Microsoft\Security Center\Provider\Av"
CONTROLLED = (
    r"HKLM\SOFTWARE\Microsoft\Windows Defender\Windows Defender Exploit Guard\Controlled Folder Access"
)
POLICY = r"HKLM\SOFTWARE\Policies\Microsoft\Windows Defender\Windows Defender Exploit Guard\Controlled Folder Access"
SETTING = "EnableControlledFolderAccess"
# Folders in the user's folder that are protected by default
PROTECTED = ("Documents", "Desktop", "Pictures", "Music", "Videos", "Favorites")


@dataclass(frozen=True)
class AntivirusFacts:
    """What may keep Python from writing files.

    Attributes:
        products: the names of the registered products other than Microsoft's.
        controlled: the setting of Controlled folder access: 1 blocks, 2 only records.
        allowed: whether this Python is among its allowed programs.
        protected: the folders that it protects by default.
        remains: the folders that pip renamed ("~orch") and could not remove.
    """

    products: tuple[str, ...]
    controlled: Reading[RegistryValue]
    allowed: bool
    protected: tuple[str, ...]
    remains: tuple[str, ...]


def _products(host: Reader) -> tuple[str, ...]:
    keys = host.registry_subkeys(PRODUCTS)
    named = (
        host.registry_value(f"{PRODUCTS}\\{key}", "DISPLAYNAME")
        for key in (keys.value if isinstance(keys, Found) else ())
    )
    names = dict.fromkeys(str(each.value.value) for each in named if isinstance(each, Found))
    return tuple(name for name in names if not name.startswith(("Windows Defender", "Microsoft Defender")))


def _controlled(host: Reader) -> Reading[RegistryValue]:
    policy = host.registry_value(POLICY, SETTING)
    return policy if isinstance(policy, Found) else host.registry_value(CONTROLLED, SETTING)


def _antivirus(host: Reader) -> AntivirusFacts:
    allowed = host.registry_value(f"{CONTROLLED}\\AllowedApplications", host.identity.executable)
    names = host.list_directory(host.identity.site_packages)
    return AntivirusFacts(
        products=_products(host),
        controlled=_controlled(host),
        allowed=isinstance(allowed, Found),
        protected=tuple(join(host, host.identity.home, name) for name in PROTECTED),
        remains=tuple(name for name in names.value if name.startswith("~"))
        if isinstance(names, Found)
        else (),
    )


ANTIVIRUS = Probe("antivirus", _antivirus)
