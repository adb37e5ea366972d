"""Do the servers answer that packages and models come from?"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from doctor.check import Check
from doctor.checks.shared import could_not_look, shown
from doctor.host import Found, Reading, Unreadable
from doctor.host.base import NOT_TRUSTED, Reached
from doctor.models import Evidence, Finding, JsonValue
from doctor.probes.network import NETWORK, PACKAGE_INDEX, NetworkFacts

CERTIFICATES = "https://pip.pypa.io/en/stable/topics/https-certificates/"
PROXIES = "https://pip.pypa.io/en/stable/user_guide/#using-a-proxy-server"
NEEDED = (PACKAGE_INDEX, "PyTorch")  # without the others, there are other ways
# How a network that is not there, or not open, shows itself
NO_ANSWER = re.compile(
    r"no answer|refused|cut off|looked up|unreachable|no route|timed out|TLS connection", re.IGNORECASE
)


def judge(network: NetworkFacts) -> Finding:
    answers = {name: reading for name, (_, reading) in network.servers.items()}
    missing = {name: _why(reading) for name, reading in answers.items() if not isinstance(reading, Found)}
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"These answer: {', '.join(answers)}",
        measured="; ".join(f"{name}: {why}" for name, why in missing.items()) or "all answer",
        expected="an answer over TLS, with a certificate that this Python trusts",
        evidence=tuple(
            Evidence(source="system", name=url, value=_shown(reading))
            for url, reading in network.servers.values()
        ),
    )

    def found(status: str, summary: str, hint: str, link: str) -> Finding:
        update = {"status": status, "summary": summary, "impact": CHECK.why, "hint": hint, "links": (link,)}
        return ok.model_copy(update=update)

    if not missing:
        return ok
    who = ", ".join(missing)
    if distrusted := [name for name, why in missing.items() if why.startswith(NOT_TRUSTED)]:
        return found(
            "warning",
            f"Somebody opens TLS on the way: this Python does not trust the certificate of {', '.join(distrusted)}",
            _trust(network),
            CERTIFICATES,
        )
    if proxy := _proxy(network):
        summary = f"Packages come through the proxy {proxy}, which this check does not use"
        others = "Programs that are not pip learn of the proxy by the variables HTTPS_PROXY and HTTP_PROXY."
        return found("info", summary, others, PROXIES)
    if isinstance(network.windows["AutoConfigURL"], Found):
        return found(
            "warning",
            f"Windows finds its proxy by a script, which pip does not read; without one, these do not answer: {who}",
            "Ask for the proxy's address, and set the variables HTTPS_PROXY and HTTP_PROXY to it.",
            PROXIES,
        )
    for name, setting in network.windows.items():
        if isinstance(setting, Unreadable):
            return could_not_look(CHECK.id, f"Windows' proxy settings ({name})", setting.reason)
    if len(missing) == len(answers):
        unseen = [r.reason for r in answers.values() if isinstance(r, Unreadable)]
        if unclear := [reason for reason in unseen if not NO_ANSWER.search(reason)]:
            return could_not_look(CHECK.id, "the network", unclear[0])
        summary = "No network: packages and models have to come from folders of this machine"
        return ok.model_copy(update={"status": "info", "summary": summary})
    closed_on_purpose = network.has_mirror and PACKAGE_INDEX not in missing
    is_needed = any(name in NEEDED for name in missing) and not closed_on_purpose
    summary = f"The network is there, but not {who}: {next(iter(missing.values()))}"
    return found("warning" if is_needed else "info", summary, CHECK.by_hand, PROXIES)


def _trust(network: NetworkFacts) -> str:
    """How this Python comes to trust the certificate."""
    if network.certificates:
        return f"SSL_CERT_FILE is {network.certificates}: let it name a .pem file that is there and holds your company's or virus scanner's root certificate."
    ask = "Ask for your company's or virus scanner's root certificate as a .pem file, and set SSL_CERT_FILE to it"
    if network.pip_certificates:
        return f"{ask}; what pip is set to ({network.pip_certificates}) no other program reads."
    return f"{ask}; pip from 24.2 on trusts what the system trusts."


def _why(reading: Reading[Reached]) -> str:
    return reading.reason if isinstance(reading, Unreadable) else "no such name is known here"


def _shown(reading: Reading[Reached]) -> JsonValue:
    if isinstance(reading, Found):
        return f"certificate by {reading.value.issuer}"
    return reading.reason if isinstance(reading, Unreadable) else None


def _proxy(network: NetworkFacts) -> str | None:
    """The proxy that pip asks, without the name and the password that may be in it."""
    enabled = network.windows["ProxyEnable"]
    by_windows = (
        shown(network.windows["ProxyServer"])
        if isinstance(enabled, Found) and enabled.value.value == 1
        else None
    )
    proxy = network.proxy or network.pip_proxy or (str(by_windows) if by_windows else None)
    if proxy is None:
        return None
    try:
        parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "that is set"


CHECK = Check(
    id="network",
    group="system",
    looks_at="Whether the package index, PyTorch, GitHub and Hugging Face answer over TLS, and the proxies that variables, pip and Windows name.",
    why="Without an answer pip ends in 'SSLCertVerificationError', 'ProxyError' or a connection that was reset, often after minutes.",
    by_hand="Let these servers through the firewall, or set HTTPS_PROXY to your proxy; a wheel that a browser downloads can be installed as a file.",
    probes=(NETWORK,),
    judge=judge,
    online=True,
)
