"""The doctor judges any output of a program and any content of a file without crashing."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.checks import CHECKS
from doctor.diagnosis import ProbeFailure, diagnose
from doctor.host.base import Completed
from doctor.host.machine import FileContent, RecordedMachine
from doctor.host.programs import decode
from doctor.host.recorded import RecordedHost
from doctor.probes.cuda import parse_nvcc
from doctor.probes.msvc import parse_vswhere
from doctor.probes.nvidia_smi import parse_smi
from doctor.probes.packages import parse_cpp_lib, parse_torch_version
from tests.doctor.checks.cases import MACHINES, all_cases, machine_json, patched
from tests.doctor.failures.test_failure_machines import FAILURES

MACHINE = machine_json("windows-rtx4090")
Place = tuple[str, str, str]  # "runs" or "files", the command line or path, the stream of a program


@cache
def recorded() -> dict[tuple[Place, bytes], RecordedMachine]:
    """Every program output and file of the recorded machines, each content once, with a machine that contains it."""
    machines = [patched(path.stem, {}) for path in sorted(MACHINES.glob("*.json"))]
    machines += [case.machine for case in all_cases()] + [failure.machine for failure in FAILURES]
    found: dict[tuple[Place, bytes], RecordedMachine] = {}
    for machine in machines:
        for line, run in machine.runs.items():
            if isinstance(run, Completed):
                found.setdefault((("runs", line, "stdout"), run.stdout.encode()), machine)
                found.setdefault((("runs", line, "stderr"), run.stderr.encode()), machine)
        for path, file in machine.files.items():
            if isinstance(file, FileContent):
                found.setdefault((("files", path, ""), file.to_bytes()), machine)
    return {key: machine for key, machine in found.items() if key[1]}


def changed(machine: RecordedMachine, place: Place, content: bytes, exit_code: int | None) -> RecordedMachine:
    section, name, stream = place
    if section == "files":
        return machine.model_copy(update={"files": {**machine.files, name: FileContent.of(content)}})
    run = machine.runs[name]
    assert isinstance(run, Completed)
    update = {stream: decode(content, code_page=437)} | (
        {} if exit_code is None else {"exit_code": exit_code}
    )
    runs = {**machine.runs, name: run.model_copy(update=update)}
    return machine.model_copy(update={"runs": runs} | ({"nvml": None} if "nvidia-smi" in name else {}))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Empty, truncated, with some bytes changed, or replaced."""
    kind = draw(st.sampled_from(["cut", "changed", "other", "other text"]))
    if kind == "cut":
        return whole[: draw(st.integers(0, len(whole)))]
    if kind == "other":
        return draw(st.binary(max_size=200))
    if kind == "other text":
        return draw(st.text(max_size=200)).encode("utf-8", errors="surrogatepass")
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6)) if content else 0):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


def assert_judged(machine: RecordedMachine) -> None:
    diagnosis = diagnose(RecordedHost(machine), CHECKS)
    assert [facts for facts in diagnosis.facts.values() if isinstance(facts, ProbeFailure)] == []
    assert [f for f in diagnosis.findings if "raised" in f.summary] == []
    assert len(diagnosis.findings) == len(CHECKS)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_output_is_judged(data: st.DataObject) -> None:
    (place, content), machine = data.draw(st.sampled_from(list(recorded().items())))
    exit_code = data.draw(st.sampled_from([None, None, 1, 0xC0000005]))
    assert_judged(changed(machine, place, data.draw(damaged(content)), exit_code))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["torch", "flash-attn", "xformers", "triton-windows"]), st.text(max_size=30))
def test_strange_versions_are_judged(package: str, version: str) -> None:
    known = MACHINE["distributions"]
    strange = {**known, package: {**known[package], "version": version}}
    assert_judged(RecordedMachine.model_validate({**MACHINE, "distributions": strange}))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["os_build", "python", "python_platform", "architecture"]), st.text(max_size=20))
def test_strange_identities_are_judged(field: str, value: str) -> None:
    strange = {**MACHINE["identity"], field: value}
    assert_judged(RecordedMachine.model_validate({**MACHINE, "identity": strange}))


@pytest.mark.parametrize("parse", [parse_smi, parse_nvcc, parse_vswhere, parse_torch_version])
@given(text=st.text())
def test_parsers_take_any_text(parse: Any, text: str) -> None:
    assert repr(parse(text))


@given(
    st.binary()
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_cpp_lib_can_be_any_content(content: bytes) -> None:
    assert repr(parse_cpp_lib(content))


@pytest.mark.parametrize("number", ["1e999", "-1", "true", '"1208"', "[]", "12080000000000000000000000"])
def test_cpp_lib_with_a_strange_cuda(number: str) -> None:
    assert repr(parse_cpp_lib(b'{"version": {"torch": "2.8.0", "cuda": %s}}' % number.encode()))
