"""The doctor's advice and the installer agree on every recorded machine: the same build, the same file, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from doctor.checks.gpu import driver_supports_cuda
from doctor.checks.packages import flash_attn, torch, torch_cuda_build, triton, xformers
from doctor.diagnosis import diagnose
from doctor.host import Host
from doctor.host.machine import RecordedMachine, load_machine
from doctor.host.recorded import RecordedHost
from doctor.install.environment_facts import read_facts
from doctor.models import Finding
from doctor.wheel_search.candidates import candidates
from doctor.wheel_search.install_error import InstallError
from tests.doctor.checks.cases import MACHINES, all_cases, patched
from wheels.catalogue import Catalogue
from wheels.choice import Choice
from wheels.machine import Machine
from wheels.packages import PACKAGES
from wheels.resolve import resolve

CHECKS = (torch, torch_cuda_build, driver_supports_cuda, flash_attn, xformers, triton)
CHECKS_OF_TORCH = ("torch", "torch-cuda-build", "driver-supports-cuda")
WHOLE = ("windows-rtx4090", "windows-cpu", "linux-h100", "linux-cpu")
NO_TORCH = {"distributions": {"torch": None}}
MUSL = {"identity": {"glibc": None}}


def machines(one_in: int) -> Iterator[tuple[str, RecordedMachine]]:
    """All whole and failed machines, and one in so many of the cases of the checks."""
    for name in WHOLE:
        yield name, load_machine(MACHINES / f"{name}.json")
        for package in ("torch", "flash-attn", "xformers", "triton-windows"):
            yield f"{name} without {package}", patched(name, {"distributions": {package: None}})
    for name in ("linux-h100", "linux-cpu"):
        yield f"{name} on musl", patched(name, MUSL)
        yield f"{name} on musl without torch", patched(name, MUSL | NO_TORCH)
    for path in sorted((MACHINES / "failures").glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        yield path.stem, patched(row["machine"], row["patch"], row.get("renamed"))
    for case in all_cases()[::one_in]:
        yield str(case), case.machine


def advised(findings: dict[str, Finding]) -> dict[str, tuple[str, ...]]:
    """The packages that findings advise to install with `aios install`, each with its pip commands."""
    found = {}
    for fix in filter(None, (finding.fix for finding in findings.values())):
        for command in fix.commands:
            if command.startswith("aios install "):
                found[command.removeprefix("aios install ")] = fix.by_hand
    return found


def is_named_in(choice: Choice, lines: tuple[str, ...]) -> bool:
    """Whether these pip commands name the file, or the requirement and index, that the installer would use."""
    item = choice.item
    if item is None:
        return False
    source = item.wheel.url if item.wheel and item.wheel.url else item.requirement
    index = f" --index-url {item.index}" if item.index else ""
    return any(line.endswith(f'"{source}"{index}') for line in lines)


@dataclass(frozen=True)
class Comparison:
    """The advice of the checks and the installer's choice for one machine. `machine` None: the installer refuses it."""

    findings: dict[str, Finding]
    advice: dict[str, tuple[str, ...]]
    machine: Machine | None
    catalogue: Catalogue

    @classmethod
    def of(cls, host: Host) -> Comparison:
        findings = {each.check: each for each in diagnose(host, [module.CHECK for module in CHECKS]).findings}
        machine = None
        with suppress(InstallError):
            machine = read_facts(host).machine
        return cls(findings, advised(findings), machine, candidates(host))

    @property
    def is_damaged(self) -> bool:
        """Whether torch is the right build with missing files; the advice is then to reinstall that build."""
        fix = self.findings["torch-cuda-build"].fix
        return bool(fix and "--force-reinstall" in fix.commands[0])

    def differences(self) -> Iterator[str]:
        if self.machine is None:
            yield from (f"advised {package}, and the installer refuses" for package in self.advice)
            return
        for package, lines in self.advice.items():
            (choice,) = resolve(self.machine, self.catalogue, [package]).choices
            if not is_named_in(choice, lines):
                yield f"advised {lines}; the installer takes {choice.item}"
        (torch,) = resolve(self.machine, self.catalogue, ["torch"]).choices
        statuses = {self.findings[check].status for check in CHECKS_OF_TORCH if check in self.findings}
        if "error" in statuses and torch.kept and not self.is_damaged:
            yield f"torch is found not to fit, and the installer keeps it: {torch.reasons}"
        fits = statuses == {"ok"} or (self.machine.has_no_gpu and statuses <= {"ok", "skipped"})
        if fits and self.machine.torch and not torch.kept:
            yield f"torch is found to fit, and the installer replaces it: {torch.reasons}"


@pytest.mark.parametrize("one_in", [5, pytest.param(1, marks=pytest.mark.long)])
def test_the_advice_of_a_check_is_what_the_installer_would_do(one_in: int) -> None:
    compared = {name: Comparison.of(RecordedHost(machine)) for name, machine in machines(one_in)}
    assert {name: found for name, each in compared.items() if (found := list(each.differences()))} == {}
    assert {package for each in compared.values() for package in each.advice} == set(PACKAGES)


def torch_advice(machine: RecordedMachine) -> Finding:
    (finding,) = [f for f in diagnose(RecordedHost(machine), [torch.CHECK]).findings if f.check == "torch"]
    return finding


def test_the_cpu_build_is_advised_on_linux_without_a_gpu() -> None:
    """There, a plain `pip install torch` would download gigabytes of CUDA libraries."""
    finding = torch_advice(patched("linux-cpu", NO_TORCH))
    assert finding.fix
    assert finding.fix.commands[0] == "aios install torch"
    assert finding.fix.by_hand[0].endswith("--index-url https://download.pytorch.org/whl/cpu")


def test_a_glibc_wheel_is_not_advised_on_musl_linux() -> None:
    machine = patched("linux-h100", MUSL | NO_TORCH)
    finding = torch_advice(machine)
    assert "PyTorch publishes no CUDA build for musllinux_1_2_x86_64" in finding.hint
    assert finding.fix is None
    assert read_facts(RecordedHost(machine)).machine.platform == "musllinux_1_2_x86_64"


def test_a_cpu_build_of_torch_that_is_too_old_is_replaced() -> None:
    location = load_machine(MACHINES / "linux-cpu.json").distributions["torch"]
    assert location is not None
    site = location.location  # type: ignore[union-attr]
    text = "__version__ = '2.5.0+cpu'\ncuda: Optional[str] = None\n"
    machine = patched("linux-cpu", {"files": {f"{site}/torch/version.py": {"text": text}}})
    assert torch_advice(machine).status == "error"
    host = RecordedHost(machine)
    (choice,) = resolve(read_facts(host).machine, candidates(host), ["torch"]).choices
    assert (
        choice.item and choice.reasons[-1] == "instead of torch 2.5.0 for the CPU: aios supports 2.6 or newer"
    )
