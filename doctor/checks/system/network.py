"""Do the servers of packages and models answer?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from doctor.check import Check
from doctor.checks.shared import could_not_look, shown
from doctor.host import Found, Reading, Unreadable
from doctor.host.base import NOT_TRUSTED, Reached
from doctor.models import Evidence, Finding, JsonValue, Status
from doctor.probes.network import NETWORK, PACKAGE_INDEX, NetworkFacts

CERTIFICATES = "https://pip.pypa.io/en/stable/topics/https-certificates/"
PROXIES = "https://pip.pypa.io/en/stable/user_guide/#using-a-proxy-server"
NEEDED = (PACKAGE_INDEX, "PyTorch")  # packages and models can be had without the others
# Reasons that mean: no network, or a closed one
NO_ANSWER = re.compile(
    r"no answer|refused|reset|cut off|resolved|looked up|unreachable|no route|timed out|TLS connection",
    re.IGNORECASE,
)


def judge(network: NetworkFacts) -> Finding:
    answers = {name: reading for name, (_, reading) in network.servers.items()}
    missing = {name: _why(reading) for name, reading in answers.items() if not isinstance(reading, Found)}
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"These servers answer: {', '.join(answers)}",
        measured="; ".join(f"{name}: {why}" for name, why in missing.items()) or "all answer",
        expected="an answer over TLS, with a certificate that this Python trusts",
        evidence=tuple(
            Evidence(source="system", name=url, value=_shown(reading))
            for url, reading in network.servers.values()
        ),
    )
    if not missing:
        return ok
    return (
        _not_trusted(ok, network, missing)
        or _behind_proxy(ok, network, missing)
        or _unreadable_proxy(network)
        or _offline(ok, answers, missing)
        or _unreachable(ok, network, missing)
    )


def _problem(ok: Finding, status: Status, summary: str, hint: str, link: str) -> Finding:
    return ok.but(status=status, summary=summary, impact=CHECK.why, hint=hint, links=(link,))


def _not_trusted(ok: Finding, network: NetworkFacts, missing: Mapping[str, str]) -> Finding | None:
    distrusted = [name for name, why in missing.items() if why.startswith(NOT_TRUSTED)]
    if not distrusted:
        return None
    summary = f"TLS is intercepted: this Python does not trust the certificate of {', '.join(distrusted)}"
    return _problem(ok, "warning", summary, _trust(network), CERTIFICATES)


def _behind_proxy(ok: Finding, network: NetworkFacts, missing: Mapping[str, str]) -> Finding | None:
    if proxy := _proxy(network):
        summary = f"pip uses the proxy {proxy}; this check does not test it"
        hint = "Other programs need the variables HTTPS_PROXY and HTTP_PROXY to use the proxy."
        return _problem(ok, "info", summary, hint, PROXIES)
    if isinstance(network.windows["AutoConfigURL"], Found):
        summary = f"Windows gets its proxy from a script, which pip does not read. Without a proxy there is no answer from {', '.join(missing)}"
        hint = "Ask your administrator for the proxy's address, and set HTTPS_PROXY and HTTP_PROXY to it."
        return _problem(ok, "warning", summary, hint, PROXIES)
    return None


def _unreadable_proxy(network: NetworkFacts) -> Finding | None:
    for name, setting in network.windows.items():
        if isinstance(setting, Unreadable):
            return could_not_look(CHECK.id, f"Windows' proxy settings ({name})", setting.reason)
    return None


def _offline(
    ok: Finding, answers: Mapping[str, Reading[Reached]], missing: Mapping[str, str]
) -> Finding | None:
    if len(missing) < len(answers):
        return None
    reasons = [reading.reason for reading in answers.values() if isinstance(reading, Unreadable)]
    if unclear := [reason for reason in reasons if not NO_ANSWER.search(reason)]:
        return could_not_look(CHECK.id, "the network", unclear[0])
    return ok.but(status="info", summary="No network: packages and models must come from local folders")


def _unreachable(ok: Finding, network: NetworkFacts, missing: Mapping[str, str]) -> Finding:
    names, reason = ", ".join(missing), next(iter(missing.values()))
    closed_on_purpose = network.has_mirror and PACKAGE_INDEX not in missing
    needed = any(name in NEEDED for name in missing) and not closed_on_purpose
    summary = f"Online, but cannot reach {names}: {reason}"
    return _problem(ok, "warning" if needed else "info", summary, CHECK.by_hand, PROXIES)


def _trust(network: NetworkFacts) -> str:
    """How to make this Python trust the certificate."""
    if network.certificates:
        return f"SSL_CERT_FILE is {network.certificates}: set it to an existing .pem file that contains your company's or virus scanner's root certificate."
    ask = "Ask for your company's or virus scanner's root certificate as a .pem file, and set SSL_CERT_FILE to it"
    if network.pip_certificates:
        return f"{ask}. Only pip reads its own setting ({network.pip_certificates})."
    return f"{ask}. pip 24.2 and newer trusts what the system trusts."


def _why(reading: Reading[Reached]) -> str:
    return reading.reason if isinstance(reading, Unreadable) else "the name does not resolve (DNS)"


def _shown(reading: Reading[Reached]) -> JsonValue:
    if isinstance(reading, Found):
        return f"certificate by {reading.value.issuer}"
    return reading.reason if isinstance(reading, Unreadable) else None


def _proxy(network: NetworkFacts) -> str | None:
    """The proxy that pip uses, without credentials."""
    enabled, server = network.windows["ProxyEnable"], None
    if isinstance(enabled, Found) and enabled.value.value == 1:
        server = shown(network.windows["ProxyServer"])
    proxy = network.proxy or network.pip_proxy or (str(server) if server else None)
    if proxy is None:
        return None
    try:
        parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "with an invalid address"


CHECK = Check(
    id="network",
    group="system",
    looks_at="Whether the package index, PyTorch, GitHub and Hugging Face answer over TLS, and the proxies set in variables, pip and Windows.",
    why="Without an answer pip fails with 'SSLCertVerificationError', 'ProxyError' or a reset connection, often after minutes.",
    by_hand="Allow these servers in the firewall, or set HTTPS_PROXY to your proxy. A wheel downloaded with a browser can be installed as a file.",
    probes=(NETWORK,),
    judge=judge,
    online=True,
)
