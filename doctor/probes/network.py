"""Whether the servers of packages and models answer, and which proxy pip would use."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading, RegistryValue
from doctor.host.base import Reached
from doctor.probes.package_index import index_facts

SERVERS = {
    "PyTorch": "https://download.pytorch.org",
    "GitHub": "https://github.com",
    "Hugging Face": "https://huggingface.co",
}
PACKAGE_INDEX = "the package index"
TIMEOUT = 6.0  # seconds for one server; all are contacted at once
INTERNET_SETTINGS = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings"
PROXY_VARIABLES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY")


@dataclass(frozen=True)
class NetworkFacts:
    """Which servers answered, and the proxy and certificate settings in effect.

    Attributes:
        servers: by purpose: the address without path and credentials, and the answer.
        has_mirror: whether pip is configured to use another index than its default.
        proxy: the first proxy variable of this process that applies to https.
        pip_proxy: the proxy in pip's own configuration.
        pip_certificates: the certificate file in pip's own configuration.
        certificates: SSL_CERT_FILE, which replaces the system's trusted certificates.
        windows: ProxyEnable, ProxyServer and AutoConfigURL from Windows' settings; Absent on other systems.
    """

    servers: dict[str, tuple[str, Reading[Reached]]]
    has_mirror: bool
    proxy: str | None
    pip_proxy: str | None
    pip_certificates: str | None
    certificates: str | None
    windows: dict[str, Reading[RegistryValue]]


def origin(url: str) -> str | None:
    """Reduce a URL to its origin: "https://user:secret@host:8443/simple" -> "https://host:8443". None if not https."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    return f"https://{parts.hostname}{port}" if parts.scheme == "https" and parts.hostname else None


def _network(host: Reader) -> NetworkFacts:
    index = index_facts(host)
    named = [variable.value for variable in index.variables if variable.name == "PIP_INDEX_URL"]
    usual = index.pip_index.value if isinstance(index.pip_index, Found) else ""
    mirror = next(filter(None, (*named, index.setting("index-url"))), None)
    package_index = origin(mirror or usual)
    addresses = {**({PACKAGE_INDEX: package_index} if package_index else {}), **SERVERS}
    lower = (name.lower() for name in PROXY_VARIABLES)
    return NetworkFacts(
        servers=_ask(host, addresses),
        has_mirror=mirror is not None,
        proxy=next(filter(None, map(host.variable, (*PROXY_VARIABLES, *lower))), None),
        pip_proxy=host.variable("PIP_PROXY") or index.setting("proxy"),
        pip_certificates=host.variable("PIP_CERT") or index.setting("cert"),
        certificates=host.variable("SSL_CERT_FILE"),
        windows=_windows_proxy(host),
    )


def _windows_proxy(host: Reader) -> dict[str, Reading[RegistryValue]]:
    names = ("ProxyEnable", "ProxyServer", "AutoConfigURL")
    if host.identity.os != "windows":
        return dict.fromkeys(names, Absent())
    return {name: host.registry_value(INTERNET_SETTINGS, name) for name in names}


def _ask(host: Reader, addresses: dict[str, str]) -> dict[str, tuple[str, Reading[Reached]]]:
    answers: dict[str, tuple[str, Reading[Reached]]] = {
        name: (url, Absent()) for name, url in addresses.items()
    }

    def ask(name: str, url: str) -> None:
        answers[name] = (url, host.reach(url, TIMEOUT))

    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in addresses.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


NETWORK = Probe("network", _network)
