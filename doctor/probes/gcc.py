"""The C++ compiler that nvcc calls on Linux."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading, Unreadable
from doctor.host.completed import first_line

# In the order of their priority: nvcc's own variable, torch's, and nvcc's default
VARIABLES = ("NVCC_CCBIN", "CC")


@dataclass(frozen=True)
class GccFacts:
    """The compiler.

    Attributes:
        named_by: the variable that names it; None: nvcc's default, gcc on PATH.
        name: how it is called.
        version: its version, such as (13, 3); Absent if there is none, or if it is not gcc.
        flags: NVCC_PREPEND_FLAGS and NVCC_APPEND_FLAGS, which may name another one or accept any.
    """

    named_by: str | None
    name: str
    version: Reading[tuple[int, int]]
    flags: str


def _version(host: Reader, name: str) -> Reading[tuple[int, int]]:
    program = host.find_program(name)
    if not isinstance(program, Found):
        return program
    if not re.fullmatch(r"(?:.*[-/])?g(?:cc|\+\+)(?:-\d+)?", name):
        return Absent()
    ran = host.run([program.value, "-dumpfullversion", "-dumpversion"], timeout=10.0)
    if not isinstance(ran, Found):
        return ran
    match = re.match(r"(\d{1,3})(?:\.(\d{1,3}))?", ran.value.stdout)
    return (
        Found((int(match[1]), int(match[2] or 0)))
        if match
        else Unreadable(f"it printed {first_line(ran.value)!r}")
    )


def _gcc(host: Reader) -> GccFacts:
    flags = " ".join(host.variable(name) or "" for name in ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"))
    named_by = next((name for name in VARIABLES if host.variable(name)), None)
    name = (host.variable(named_by) if named_by else None) or "gcc"
    return GccFacts(named_by, name, _version(host, name), flags.strip())


GCC = Probe("gcc", _gcc, timeout=15.0)
