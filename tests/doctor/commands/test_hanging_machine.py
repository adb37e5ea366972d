"""A machine on which no program answers: the doctor ends, reports what it could not check, and leaves nothing running.

The programs run for longer than a test may take: a doctor that waits for them fails its test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tests/wine has the tests for Windows")

ROOT = Path(__file__).parents[3]
HANG = '#!/bin/sh\n: > "$0.started"\nsleep 3600 &\nsleep 3600\n'
HANG_IN_PYTHON = "import time\nopen(__file__ + '.started', 'w').close()\ntime.sleep(3600)\n"
PROGRAMS = ("nvidia-smi", "nvcc", "git", "ninja", "gcc", "g++", "cc", "c++", "ldconfig", "lspci", "uv", "pip")
MODULES = ("pynvml", "torch", "flash_attn", "xformers", "triton")  # for the children that import them
TIMEOUT = 3  # seconds


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a machine on which every program and every import hangs. Programs still running are killed."""
    for name in PROGRAMS:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(HANG)
        program.chmod(0o755)
    for name in MODULES:
        module = tmp_path / "modules" / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        module.write_text(HANG_IN_PYTHON)
    mark = uuid.uuid4().hex
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    modules = f"{tmp_path / 'modules'}{os.pathsep}{ROOT}"
    state = str(tmp_path / "state")
    yield {**os.environ, "PATH": path, "PYTHONPATH": modules, "AIOS_HOME": state, "AIOS_TEST_MARK": mark}
    for process in marked(mark):
        process.kill()


def marked(mark: str) -> list[psutil.Process]:
    """The running programs with this mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AIOS_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # it has ended, or belongs to another user
            continue
    return found


def nothing_is_left(environment: Mapping[str, str]) -> bool:
    """Whether all programs have ended, or end soon."""
    for _ in range(600):
        if not marked(environment["AIOS_TEST_MARK"]):
            return True
        time.sleep(0.05)
    return False


def started(folder: Path) -> set[str]:
    """The names of the hanging programs and modules that were started."""
    return {path.name.removesuffix(".started") for path in folder.glob("*/*.started")}


def start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "aios", "doctor", "--offline", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_the_doctor_ends_and_reports_what_it_could_not_check(hanging: dict[str, str], tmp_path: Path) -> None:
    with start(hanging, "--json", "--timeout", str(TIMEOUT)) as process:
        output, errors = process.communicate()
    assert started(tmp_path)
    assert errors == b""
    report = json.loads(output)
    found = {finding["check"]: finding for finding in report["findings"]}
    assert found["nvidia-driver"]["status"] == "unknown"
    assert "answer" in found["nvidia-driver"]["summary"]
    assert "No NVIDIA GPU" not in json.dumps(found)
    assert process.returncode in (1, 3)
    assert nothing_is_left(hanging)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_ends_the_doctor_and_its_programs(hanging: dict[str, str], number: int) -> None:
    with start(hanging, "--json") as process:
        while len(marked(hanging["AIOS_TEST_MARK"])) < 4:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate()
    assert process.returncode == 128 + number
    assert nothing_is_left(hanging)


def test_a_check_that_needs_no_program_starts_none(hanging: dict[str, str], tmp_path: Path) -> None:
    with start(hanging, "--json", "--only", "python-version", "--timeout", "3600") as process:
        output, _ = process.communicate()
    report = json.loads(output)
    assert started(tmp_path) == set()
    assert [finding["status"] for finding in report["findings"]] == ["ok"]
