"""The C compiler with which Triton makes the launcher of its kernels: CC, its own, or one on PATH, in that order."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Host, Reading, RegistryValue
from doctor.host.base import USER_ENVIRONMENT
from doctor.probes.paths import join

COMPILERS = {True: ("cl", "gcc", "clang"), False: ("gcc", "clang")}  # on Windows? in the order tried


@dataclass(frozen=True)
class CompilerFacts:
    """What Triton would call.

    Attributes:
        cc: the variable CC.
        cc_found: the program that it names; Absent: there is none.
        user_cc: CC as this user's registry has it, where it is set at all.
        bundled: names in the folder of the compiler inside Triton; Absent: it has none.
        on_path: the compilers that Triton tries, by name.
    """

    cc: str | None
    cc_found: Reading[str]
    user_cc: Reading[RegistryValue]
    bundled: Reading[tuple[str, ...]]
    on_path: dict[str, Reading[str]]


def _program(host: Host, cc: str) -> Reading[str]:
    """The program that CC means; a path is believed where its file cannot be looked at."""
    if "/" not in cc and "\\" not in cc:
        return host.find_program(cc)
    if host.identity.os != "windows":
        return Found(cc)
    binary = host.binary(cc if cc.lower().endswith(".exe") else f"{cc}.exe")
    return Found(cc) if isinstance(binary, Found) else binary


def _compiler(host: Host) -> CompilerFacts:
    cc = host.variable("CC")
    windows = host.identity.os == "windows"
    return CompilerFacts(
        cc=cc,
        cc_found=_program(host, cc) if cc and ";" not in cc else Absent(),
        user_cc=host.registry_value(USER_ENVIRONMENT, "CC") if windows and cc else Absent(),
        bundled=host.list_directory(join(host, host.identity.site_packages, "triton", "runtime", "tcc")),
        on_path={name: host.find_program(name) for name in COMPILERS[windows]},
    )


TRITON_COMPILER = Probe("triton-compiler", _compiler)
