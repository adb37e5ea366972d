from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import jsonschema
import pytest

from doctor.capability import (
    BACKENDS,
    BackendCapability,
    Capability,
    CapabilityProblem,
    Device,
    Fingerprint,
    current_fingerprint,
    default_path,
    fingerprint,
    read,
    stale,
    write,
)
from doctor.checks import CHECKS, select
from doctor.diagnosis import ProbeFailure, diagnose
from doctor.ownership import ForeignFileError
from doctor.probes.backends import BackendFacts
from doctor.runs.proven_backends import has_all_proofs, proven_capability
from tests.doctor.fake_machine import identity

NOW = datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc)
CPU = Device(type="cpu", index=0, name="a processor", compute_capability=None, total_memory_bytes=1)
GPU = Device(type="cuda", index=0, name="a GPU", compute_capability=(8, 9), total_memory_bytes=1)
PRINT = Fingerprint(
    python="3.12.4",
    platform="win_amd64",
    torch="2.13.0+cu130",
    cuda="13.0",
    driver="581.80",
    flash_attn=None,
    xformers="0.0.35",
    triton=None,
    gpus=("NVIDIA GeForce RTX 4090",),
)
SCHEMA = Path(__file__).parents[2] / "doctor" / "schemas" / "capability.schema.json"


def facts(**proofs: object) -> dict[str, object]:
    dead = BackendFacts(BackendCapability(status="unavailable", reasons=("not installed",)))
    return {f"backend:{backend}": proofs.get(backend, dead) for backend in BACKENDS}


def runs_on(*devices: Device) -> BackendFacts:
    names = tuple("cpu" if d.type == "cpu" else f"cuda:{d.index}" for d in devices)
    return BackendFacts(BackendCapability(status="available", devices=names), (CPU, GPU))


def capability() -> Capability:
    return proven_capability(
        facts(sdpa=runs_on(CPU, GPU), manual=runs_on(CPU), xformers=runs_on(GPU)), PRINT, NOW
    )


def test_each_device_gets_the_first_backend_that_ran_on_it() -> None:
    assert capability().recommended == {"cpu": "sdpa", "cuda:0": "xformers"}
    assert capability().devices == (CPU, GPU)


def test_a_proof_that_did_not_finish_is_unknown_with_its_reason() -> None:
    hung = ProbeFailure("the probe 'backend:sdpa' did not answer within 130 seconds")
    made = proven_capability(facts(sdpa=hung, manual=runs_on(CPU)), PRINT, NOW)
    assert (made.backends["sdpa"].status, made.backends["sdpa"].reasons) == ("unknown", (hung.reason,))
    assert made.recommended == {"cpu": "manual"}


def test_without_torch_every_backend_is_unavailable_with_the_reason(machine) -> None:
    host = machine(distributions={"torch": None, "flash-attn": None, "xformers": None})
    made = proven_capability(diagnose(host, select(CHECKS, ["backend-*"])).facts, fingerprint(host), NOW)
    assert {one.status for one in made.backends.values()} == {"unavailable"}
    assert all("torch package not installed" in one.reasons[0] for one in made.backends.values())
    assert (made.devices, made.recommended, made.fingerprint.torch) == ((), {}, None)


def test_all_four_proofs_are_needed() -> None:
    assert has_all_proofs(facts())
    assert not has_all_proofs({name: fact for name, fact in facts().items() if name != "backend:manual"})


def test_the_written_file_validates_and_is_read_back(tmp_path) -> None:
    path = tmp_path / "Zoë B" / "capability.json"
    write(path, capability())
    assert read(path) == capability()
    jsonschema.validate(
        json.loads(path.read_text(encoding="utf-8")), json.loads(SCHEMA.read_text(encoding="utf-8"))
    )
    assert [file.name for file in path.parent.iterdir()] == ["capability.json"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        (b"", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"schema_version": 1}', "is damaged"),
        (b'{"schema_version": 2}', "has schema version 2"),
    ],
)
def test_an_invalid_file_gives_a_short_reason(tmp_path, content, reason) -> None:
    path = tmp_path / "capability.json"
    if content is not None:
        path.write_bytes(content)
    problem = read(path)
    assert isinstance(problem, CapabilityProblem)
    assert problem.reason.startswith(reason)
    assert "\n" not in problem.reason


def test_a_file_truncated_anywhere_is_damaged(tmp_path) -> None:
    path = tmp_path / "capability.json"
    write(path, capability())
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        assert isinstance(read(path), CapabilityProblem), length


def test_a_folder_at_the_path_of_the_file_is_reported(tmp_path) -> None:
    problem = read(tmp_path)
    assert isinstance(problem, CapabilityProblem) and problem.reason.startswith("cannot be read")


def test_a_missing_backend_makes_the_file_invalid(tmp_path) -> None:
    partial = capability()
    del partial.backends["manual"]
    write(tmp_path / "c.json", partial)
    assert read(tmp_path / "c.json") == CapabilityProblem("has no entry for manual")


def test_stale_names_what_changed() -> None:
    made = capability()
    assert stale(made, PRINT) is None
    now = PRINT.model_copy(update={"torch": "2.12.0", "xformers": None, "gpus": ()})
    assert stale(made, now) == (
        "torch was 2.13.0+cu130 and is now 2.12.0; xformers was 0.0.35 and is now absent; "
        "gpus was NVIDIA GeForce RTX 4090 and is now absent"
    )


def test_the_fingerprint_is_read_and_not_imported(machine) -> None:
    location = "C:\\site"
    host = machine(
        distributions={
            "torch": {"name": "torch", "version": "2.13.0", "location": location},
            "triton-windows": {"name": "triton-windows", "version": "3.5.0", "location": location},
        },
        files={
            "C:\\site\\torch\\version.py": {"text": "__version__ = '2.13.0+cu130'\ncuda: str = '13.0'\n"},
        },
        nvml={
            "driver_version": "581.80",
            "cuda_version": (13, 0),
            "gpus": [{"index": 0, "name": "RTX", "compute_capability": (8, 9), "total_memory_bytes": 1}],
        },
    )
    seen = fingerprint(host)
    assert (seen.torch, seen.cuda, seen.triton) == ("2.13.0+cu130", "13.0", "3.5.0")
    assert (seen.driver, seen.gpus, seen.python) == ("581.80", ("RTX",), identity().python)


def test_this_machines_fingerprint_is_stable() -> None:
    assert current_fingerprint() == current_fingerprint()


def test_the_default_path_of_the_file(machine, tmp_path) -> None:
    host = machine(environment={"AIOS_HOME": str(tmp_path)})
    assert default_path(host=host) == tmp_path / "capability.json"
    host.set_variable("AIOS_CAPABILITY_FILE", str(tmp_path / "other.json"))
    assert default_path(host=host) == tmp_path / "other.json"
    assert default_path(tmp_path / "named.json", host) == tmp_path / "named.json"


@pytest.mark.parametrize("content", [b"notes\n", bytes(99), b'{"name": "a model"}'])
def test_only_a_capability_file_is_replaced_except_in_the_state_folder(
    tmp_path, monkeypatch, content
) -> None:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AIOS_CAPABILITY_FILE", raising=False)
    named, own = tmp_path / "named", default_path()
    own.parent.mkdir(parents=True)
    for path in (named, own):
        path.write_bytes(content)
    with pytest.raises(ForeignFileError, match="is not a capability file"):
        write(named, capability())
    assert named.read_bytes() == content
    write(own, capability())
    assert read(own) == capability()
