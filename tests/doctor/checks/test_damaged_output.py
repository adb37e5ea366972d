"""Whatever a program prints or a file holds, the doctor judges it and does not fall over it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.checks import CHECKS
from doctor.diagnosis import ProbeFailure, diagnose
from doctor.host.machine import FileContent, RecordedMachine
from doctor.host.programs import decode
from doctor.host.recorded import RecordedHost
from doctor.probes.cuda import parse_nvcc
from doctor.probes.msvc import parse_vswhere
from doctor.probes.nvidia import parse_smi
from doctor.probes.packages import parse_cpp_lib, parse_torch_version

MACHINE: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "machines" / "windows-rtx4090.json").read_text(encoding="utf-8")
)
# In this machine nvidia-smi is asked, too: NVML is missing.
PROGRAMS = sorted(MACHINE["runs"])
FILES = sorted(path for path, file in MACHINE["files"].items() if file)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Nothing of it, a part of it, some of its bytes changed, or something else entirely."""
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


def assert_judged(machine: dict[str, Any]) -> None:
    diagnosis = diagnose(RecordedHost(RecordedMachine.model_validate(machine)), CHECKS)
    assert [facts for facts in diagnosis.facts.values() if isinstance(facts, ProbeFailure)] == []
    assert [f for f in diagnosis.findings if "raised" in f.summary] == []
    assert len(diagnosis.findings) == len(CHECKS)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_damaged_program_output_is_judged(data: st.DataObject) -> None:
    program = data.draw(st.sampled_from(PROGRAMS))
    run = MACHINE["runs"][program]
    output = decode(data.draw(damaged(run["stdout"].encode())), code_page=437)
    exit_code = data.draw(st.sampled_from([0, 0, 1, 0xC0000005]))
    changed = {**run, "stdout": output, "exit_code": exit_code}
    assert_judged({**MACHINE, "nvml": None, "runs": {**MACHINE["runs"], program: changed}})


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_judged(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(FILES))
    content = FileContent.of(data.draw(damaged(MACHINE["files"][path]["text"].encode())))
    assert_judged({**MACHINE, "files": {**MACHINE["files"], path: content}})


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["torch", "flash-attn", "xformers", "triton-windows"]), st.text(max_size=30))
def test_strange_versions_are_judged(package: str, version: str) -> None:
    known = MACHINE["distributions"]
    assert_judged({**MACHINE, "distributions": {**known, package: {**known[package], "version": version}}})


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["os_build", "python", "python_platform", "architecture"]), st.text(max_size=20))
def test_strange_identities_are_judged(field: str, value: str) -> None:
    assert_judged({**MACHINE, "identity": {**MACHINE["identity"], field: value}})


@pytest.mark.parametrize("parse", [parse_smi, parse_nvcc, parse_vswhere, parse_torch_version])
@given(text=st.text())
def test_parsers_take_any_text(parse: Any, text: str) -> None:
    assert repr(parse(text))


@given(
    st.binary()
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_cpp_lib_may_be_anything(content: bytes) -> None:
    assert repr(parse_cpp_lib(content))


@pytest.mark.parametrize("number", ["1e999", "-1", "true", '"1208"', "[]", "12080000000000000000000000"])
def test_cpp_lib_with_a_strange_cuda(number: str) -> None:
    assert repr(parse_cpp_lib(b'{"version": {"torch": "2.8.0", "cuda": %s}}' % number.encode()))
