"""Network addresses that may be shown: those of public services. Of any other, only what the checks need is kept.

A private index, mirror or proxy names an organization, and a token can be a part of its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HIDDEN = "<secret>"
PUBLIC = (
    "example", "example.com", "example.net", "example.org",  # reserved by RFC 2606
    "anaconda.com", "anaconda.org", "aka.ms", "astral.sh", "conda.io", "debian.org", "git-scm.com", "github.com",
    "github.io", "githubusercontent.com", "hf.co", "huggingface.co", "json-schema.org", "kernel.org", "microsoft.com",
    "nvidia.com", "nvidia.custhelp.com", "numpy.org", "prefix.dev", "pypa.io", "pypi.org", "python.org", "pythonhosted.org",
    "pytorch.org", "readthedocs.io", "tuna.tsinghua.edu.cn", "ubuntu.com", "windows.com",
)  # fmt: skip
# A part of a path that is kept on any host
KNOWN_PART = re.compile(
    r"simple|whl|cu\d+|cpu|xpu|rocm[\d.]*|nightly|test|stable|pypi|index|packages?|wheels?|releases?|downloads?|repository|api|"
    r"v?\d+(\.\d+)*|(html|torch)[\w.+-]*\.html|\w+(-[\w.+!%]+){2,5}\.whl|",
    re.IGNORECASE,
)
TOKEN_OF_CONDA = re.compile(
    r"/t/[^/]+"
)  # https://docs.anaconda.com/anacondaorg/user-guide/work-with-accounts
ADDRESS = re.compile(
    r"\b(?!file:)([a-z][a-z0-9+.-]{1,20}://)([^/\s\"'<>|?#\\]*)([^\s\"'<>|?#\\]*)(\?[^\s\"'<>|#\\]+)?(#[^\s\"'<>|\\]+)?",
    re.IGNORECASE,
)
OVER_SSH = re.compile(r"\b[\w.-]+@([\w-]+(?:\.[\w-]+)+):[^\s\"'<>|]+")  # git@HOST:PATH
HOST = re.compile(r"(?<![\w-])(?!\d+\.\d+\.)[a-z0-9*][\w*-]*(?:\.[\w-]+)*", re.IGNORECASE)
# Settings whose values are hosts without a scheme: of pip, uv and the proxies
NAMES_HOSTS = re.compile(r"(TRUSTED|INSECURE)[-_]HOST|PROXY", re.IGNORECASE)
NO_HOSTS = ("http", "https", "ftp", "socks", "localhost", "direct", "true", "false")

Disguise = Callable[[str], str]


def is_public(host: str) -> bool:
    """Whether a host, perhaps with a port, is of a public service or of this machine."""
    name = host.partition(":")[0].casefold()
    own = name in ("", "localhost") or re.fullmatch(r"[\d.]+", name) is not None
    return own or any(name == public or name.endswith(f".{public}") for public in PUBLIC)


def redact(text: str, disguise: Disguise) -> str:
    """Return a text whose addresses are public, or have a disguised host and only the known parts of their paths."""

    def shown(match: re.Match[str]) -> str:
        scheme, host, path, query, fragment = match.groups("")
        if is_public(host):
            return f"{scheme}{host}{TOKEN_OF_CONDA.sub(f'/t/{HIDDEN}', path)}{query}{fragment}"
        parts = (part if KNOWN_PART.fullmatch(part) else HIDDEN for part in path.split("/"))
        return f"{scheme}{_host(host, disguise)}{'/'.join(parts)}{query and f'?{HIDDEN}'}"

    def shown_over_ssh(match: re.Match[str]) -> str:
        return match[0] if is_public(match[1]) else HIDDEN

    return OVER_SSH.sub(shown_over_ssh, ADDRESS.sub(shown, text))


def redact_hosts(value: str, disguise: Disguise) -> str:
    """Return the value of a setting that names hosts, with those disguised that are not public."""

    def shown(match: re.Match[str]) -> str:
        return (
            match[0] if match[0].casefold() in NO_HOSTS or match[0].isdigit() else _host(match[0], disguise)
        )

    return HOST.sub(shown, value)


def _host(host: str, disguise: Disguise) -> str:
    name, colon, port = host.partition(":")
    return f"{name if is_public(name) else disguise(name)}{colon}{port}"
