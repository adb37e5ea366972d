"""A machine whose names are not valid UTF-8: the doctor can still diagnose and record it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are bytes only there")

ROOT = Path(__file__).parents[3]


@pytest.fixture
def environment(tmp_path: Path) -> dict[bytes, bytes]:
    """An environment whose home folder, PATH and other folders contain a byte that is not valid UTF-8."""
    odd = os.fsencode(tmp_path) + b"/odd\xff"
    os.makedirs(odd + b"/bin")  # noqa: PTH103 - pathlib takes no bytes
    with open(odd + b"/bin/git", "wb") as git:  # noqa: PTH123
        git.write(b"#!/bin/sh\necho git version 2.47.\xff\n")
    os.chmod(odd + b"/bin/git", 0o755)  # noqa: PTH101
    variables = {os.fsencode(name): os.fsencode(value) for name, value in os.environ.items()}
    variables[b"PATH"] = odd + b"/bin:" + variables[b"PATH"]
    variables[b"AIOS_HOME"] = os.fsencode(tmp_path / "state")
    names = (
        b"HOME",
        b"TMPDIR",
        b"CUDA_HOME",
        b"VIRTUAL_ENV",
        b"HF_HOME",
        b"PIP_CACHE_DIR",
        b"USER",
        b"K\xff",
    )
    return variables | dict.fromkeys(names, odd) | {b"LC_ALL": b"C"}


def aios(environment: dict[bytes, bytes], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "aios", "doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)


@pytest.mark.parametrize("form", ["--json", "--markdown", "--verbose"])
def test_it_is_diagnosed(environment: dict[bytes, bytes], form: str) -> None:
    done = aios(environment, form, "--offline", "--skip", "backend-*")
    assert done.stderr == b""
    assert done.returncode in (0, 1, 3)
    assert b"raised" not in done.stdout
    assert done.stdout.decode("utf-8")


def test_it_can_be_recorded_and_the_recording_diagnosed(
    environment: dict[bytes, bytes], tmp_path: Path
) -> None:
    file = tmp_path / "machine.json"
    done = aios(environment, "record", str(file))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"odd" not in file.read_bytes()
    again = aios(environment, "--json", "--machine", str(file))
    assert json.loads(again.stdout)["findings"]
