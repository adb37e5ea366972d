"""The trainer's capability file: loaded if it is valid, otherwise the doctor proves the backends again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from doctor.capability import BACKENDS, BackendCapability, Capability, current_fingerprint, write
from trainer.capability import CapabilityError, load


def file_for(fingerprint, version="fresh") -> Capability:
    backend = BackendCapability(status="unavailable", reasons=("none",))
    return Capability(
        written_at="2026-11-21T00:00:00Z",
        aios_version=version,
        fingerprint=fingerprint,
        devices=(),
        backends=dict.fromkeys(BACKENDS, backend),
        recommended={},
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Zoë's folder" / "capability.json"


@pytest.fixture
def doctor(monkeypatch, path):
    """Replaces the child process: writes a valid file unless configured otherwise, and records its calls."""

    class Doctor:
        def __init__(self):
            self.commands = []
            self.writes = True
            self.says = b""

        def run(self, command, **options):
            assert options["timeout"] > 60
            self.commands.append(command)
            if self.writes:
                write(path, file_for(current_fingerprint()))
            return subprocess.CompletedProcess(command, 0, b"", self.says)

    stand_in = Doctor()
    monkeypatch.setattr("trainer.capability.subprocess.run", stand_in.run)
    return stand_in


def spoil(path, how):
    """Make `path` a missing, damaged, foreign or stale file. Returns a part of the message about it."""
    path.parent.mkdir(exist_ok=True)
    stale = file_for(current_fingerprint().model_copy(update={"torch": "1.0"}), "stale")
    if how == "missing":
        return "does not exist"
    if how == "damaged":
        path.write_bytes(b'{"schema_version": 1, \xff')
        return "is damaged"
    if how == "foreign":
        path.write_text(
            stale.model_dump_json().replace('"schema_version":1', '"schema_version":9'), encoding="utf-8"
        )
        return "schema version 9"
    write(path, stale)
    return "is out of date (torch was 1.0"


@pytest.mark.parametrize("how", ["missing", "damaged", "foreign", "stale"])
def test_an_unusable_file_gives_one_line_and_a_new_proof(how, path, doctor):
    says = spoil(path, how)
    lines: list[str] = []
    known = load(path, say=lines.append)
    assert known is not None and known.aios_version == "fresh"
    assert len(lines) == 1 and says in lines[0] and str(path) in lines[0]
    (command,) = doctor.commands
    assert command[:4] == [sys.executable, "-m", "aios", "doctor"]
    assert command[-2:] == ["--capability-file", str(path)]
    assert [command[i + 1] for i, part in enumerate(command) if part == "--only"] == [
        "backend-flash-attn-2",
        "backend-flash-attn-4",
        "backend-hub-kernels",
        "backend-xformers",
        "backend-sdpa",
        "backend-manual",
    ]


@pytest.mark.parametrize("how", ["missing", "damaged", "foreign", "stale"])
def test_if_the_doctor_writes_nothing_that_is_reported_and_the_old_file_is_not_used(how, path, doctor):
    spoil(path, how)
    doctor.writes, doctor.says = False, b"log\ncannot write \xff it\n"
    lines: list[str] = []
    assert load(path, say=lines.append) is None
    assert len(lines) == 2 and "cannot write \\xff it" in lines[1]


def test_a_doctor_that_cannot_be_started_is_reported(path, monkeypatch):
    def refuse(command, **options):
        raise subprocess.TimeoutExpired(command, 600)

    monkeypatch.setattr("trainer.capability.subprocess.run", refuse)
    lines: list[str] = []
    assert load(path, say=lines.append) is None
    assert "timed out after 600 seconds" in lines[1]


def test_a_valid_file_is_used_unchanged(path, doctor):
    write(path, file_for(current_fingerprint()))
    assert load(path, say=pytest.fail) == file_for(current_fingerprint())
    assert doctor.commands == []


@pytest.mark.parametrize("how", ["missing", "damaged", "foreign", "stale"])
def test_strict_raises_without_starting_the_doctor(how, path, doctor):
    says = spoil(path, how)
    with pytest.raises(CapabilityError) as error:
        load(path, strict=True, say=pytest.fail)
    assert says in str(error.value) and "aios doctor" in str(error.value)
    assert doctor.commands == []


@pytest.mark.slow
def test_the_doctor_proves_the_backends_of_this_machine(path):
    lines: list[str] = []
    known = load(path, say=lines.append)
    assert known is not None and len(lines) == 1
    assert known.backends["sdpa"].status == known.backends["manual"].status == "available"
    assert load(path, say=pytest.fail) == known
