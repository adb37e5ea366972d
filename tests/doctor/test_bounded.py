"""Files of other programs: pipes, devices, sizes and depths at every place where aios reads one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from doctor import bounded, capability
from doctor.chained_lines import read_chained
from doctor.host.distributions import read_distribution, read_distributions
from doctor.host.machine import MachineFileError, load_machine
from doctor.host.pth_files import with_pth_files
from doctor.host.readings import Found, Unreadable
from doctor.install.affected_files import files_of
from doctor.install.install_record import RECORD, read_install_run
from doctor.runs.history import read_plan, read_report
from trainer.config import yaml_file
from trainer.data.opening import Source
from trainer.errors import UserError
from trainer.models import hub
from trainer.records import reading
from wheels.catalogue import CatalogueError, read_catalogue

PIPES = pytest.mark.skipif(os.name == "nt", reason="pipes and devices are not files there")
DEEP = "[" * 100_000


@contextmanager
def not_for_ever() -> Iterator[None]:
    """Fail, rather than hang, while something is read."""

    def ended(*_: Any) -> None:
        raise AssertionError("reading did not end")

    before = signal.signal(signal.SIGALRM, ended)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def the_catalogue(path: Path) -> str:
    with pytest.raises(CatalogueError) as refused:
        read_catalogue(path, bounded.read_bytes)
    return str(refused.value)


def the_recording(path: Path) -> str:
    with pytest.raises(MachineFileError) as refused:
        load_machine(path)
    return str(refused.value)


def refused(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(UserError) as error:
        read(path)
    return str(error.value)


def named(name: str, path: Path) -> Path:
    """The folder of a link `name` to a path."""
    (path.parent / f"of {name}").mkdir()
    (path.parent / f"of {name}" / name).symlink_to(path)
    return path.parent / f"of {name}"


# What reads a file -> what it says about one that cannot be read; None: it is treated as if it were missing
PLACES: dict[str, Callable[[Path], str | None]] = {
    "journal": lambda path: read_chained(path).damage,
    "capability": lambda path: getattr(capability.read(path), "reason", None),
    "recording": the_recording,
    "catalogue": the_catalogue,
    "configuration": lambda path: refused(yaml_file.read, path),
    "data": lambda path: refused(lambda path: Source.of(path, "data"), path),
    "model": lambda path: refused(lambda path: hub.check_files([path]), path),
    "weights": lambda path: refused(lambda path: hub.check_files([path.rename(path.with_suffix(".bin"))]), path),
    "records": lambda path: refused(reading.find, path),
    "plan": lambda path: "empty" if not read_plan(named("plan.json", path)).fixes else None,
    "report": lambda path: "read" if read_report(named("report.json", path)) else None,
    "installation": lambda path: "read" if read_install_run(named(RECORD, path)) else None,
}  # fmt: skip
SILENT = {"report", "installation"}


@PIPES
@pytest.mark.parametrize("place", PLACES)
def test_a_pipe_is_said_and_does_not_block(tmp_path: Path, place: str) -> None:
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    with not_for_ever():
        said = PLACES[place](path)
    if place in SILENT:
        assert said is None
    elif place != "plan":
        assert "pipe" in str(said) or "not a regular file" in str(said)


@PIPES
@pytest.mark.parametrize("place", [place for place in PLACES if place != "weights"])
def test_an_endless_device_is_not_read(tmp_path: Path, place: str) -> None:
    path = tmp_path / "zero.json"
    path.symlink_to("/dev/zero")
    with not_for_ever():
        said = PLACES[place](path)
    if place in SILENT:
        assert said is None
    elif place != "plan":
        assert "device" in str(said) or "not a regular file" in str(said)


# Texts and weights may be as large as they are
@pytest.mark.parametrize("place", [p for p in PLACES if p not in ("data", "weights", "records", *SILENT)])
def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path, place: str) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse
    said = PLACES[place](path)
    assert place == "plan" or "too large" in str(said) or "zero bytes" in str(said)


@pytest.mark.parametrize("place", ["capability", "recording", "configuration", "model", "plan", "journal"])
def test_a_file_with_a_hundred_thousand_brackets_is_said(tmp_path: Path, place: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(DEEP + "\n", encoding="utf-8")
    assert PLACES[place](path)


def test_json_nested_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        bounded.parse_json(DEEP)


@pytest.mark.parametrize(
    ("content", "deep"),
    [
        (b"[" * 201, True),
        (b"[" * 200, False),
        (b'{"a": "' + b"[" * 999 + b'"}', False),
        (b'{"a\\"' + b"[" * 999 + b'": 1}', False),
        (b"[]" * 999, False),
        (json.dumps([[1]] * 500).encode(), False),
    ],
)
def test_depth_is_that_of_brackets_outside_of_strings(content: bytes, deep: bool) -> None:
    assert bounded.is_nested_deeply(content) is deep


def test_a_size_is_the_largest_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "five"
    path.write_bytes(b"12345")
    assert bounded.read_bytes(path, 5) == b"12345"
    assert bounded.read_beginning(path, 2) == b"12"
    with pytest.raises(bounded.UnreadableFileError, match="too large: more than 4 bytes"):
        bounded.read_bytes(path, 4)
    with pytest.raises(IsADirectoryError):
        bounded.read_bytes(tmp_path)


@PIPES
def test_metadata_that_is_a_pipe_is_damaged_and_does_not_block(tmp_path: Path) -> None:
    metadata = tmp_path / "torch-2.13.0.dist-info"
    metadata.mkdir()
    os.mkfifo(metadata / "METADATA")
    os.mkfifo(tmp_path / "more.pth")
    with not_for_ever():
        assert read_distributions([str(tmp_path)]) == Found(())
        one = read_distribution("torch", [str(tmp_path)])
        assert with_pth_files([str(tmp_path)]) == (str(tmp_path),)
    assert isinstance(one, Unreadable) and "pipe" in one.reason


@PIPES
def test_a_record_that_is_a_pipe_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    metadata = tmp_path / "torch-2.13.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: torch\nVersion: 2.13.0\n", encoding="utf-8")
    found = read_distribution("torch", [str(tmp_path)])
    assert isinstance(found, Found)
    os.mkfifo(metadata / "RECORD")
    with not_for_ever(), pytest.raises(OSError, match="pipe"):
        files_of(found.value)
