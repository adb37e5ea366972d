"""The C compiler that Triton uses for its kernel launchers: CC, the bundled one, or one on PATH, in that order."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading, RegistryValue
from doctor.host.base import USER_ENVIRONMENT
from doctor.probes.paths import join

# In the order Triton tries them; the key is "on Windows"
COMPILERS = {True: ("cl", "gcc", "clang"), False: ("gcc", "clang")}


@dataclass(frozen=True)
class CompilerFacts:
    """The compilers available to Triton.

    Attributes:
        cc: the variable CC.
        cc_found: the program it names; Absent if there is none.
        user_cc: the user's registry value of CC, read only if CC is set.
        bundled: names in the folder of Triton's bundled compiler; Absent without one.
        on_path: the compilers Triton looks for on PATH, by name.
    """

    cc: str | None
    cc_found: Reading[str]
    user_cc: Reading[RegistryValue]
    bundled: Reading[tuple[str, ...]]
    on_path: dict[str, Reading[str]]


def _program(host: Reader, cc: str) -> Reading[str]:
    """Return the program CC names. Outside Windows a path is trusted, because there the file cannot be examined."""
    if "/" not in cc and "\\" not in cc:
        return host.find_program(cc)
    if host.identity.os != "windows":
        return Found(cc)
    binary = host.binary(cc if cc.lower().endswith(".exe") else f"{cc}.exe")
    return Found(cc) if isinstance(binary, Found) else binary


def _compiler(host: Reader) -> CompilerFacts:
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
