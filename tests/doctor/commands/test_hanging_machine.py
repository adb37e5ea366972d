"""A machine on which no program answers: the doctor ends in time, says what it could not see, and leaves nothing running."""

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

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tests/wine has those of Windows")

ROOT = Path(__file__).parents[3]
HANG = "#!/bin/sh\nsleep 600 &\nsleep 600\n"
PROGRAMS = ("nvidia-smi", "nvcc", "git", "ninja", "gcc", "g++", "cc", "c++", "ldconfig", "lspci", "uv", "pip")
MODULES = ("pynvml", "torch", "flash_attn", "xformers", "triton")  # for the children that import them
TIMEOUT, MARGIN = 3, 5  # seconds
HANGING = 30  # seconds; a busy machine takes a while to start a Python


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a machine on which every program and every import hangs; what is left of them is ended."""
    for name in PROGRAMS:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(HANG)
        program.chmod(0o755)
    for name in MODULES:
        module = tmp_path / "modules" / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        module.write_text("import time\ntime.sleep(600)\n")
    mark = uuid.uuid4().hex
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    modules = f"{tmp_path / 'modules'}{os.pathsep}{ROOT}"
    state = str(tmp_path / "state")
    yield {**os.environ, "PATH": path, "PYTHONPATH": modules, "AIOS_HOME": state, "AIOS_TEST_MARK": mark}
    for process in marked(mark):
        process.kill()


def marked(mark: str) -> list[psutil.Process]:
    """The programs that have the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AIOS_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # ended meanwhile, or another user's
            continue
    return found


def nothing_is_left(environment: Mapping[str, str]) -> bool:
    for _ in range(40):
        if not marked(environment["AIOS_TEST_MARK"]):
            return True
        time.sleep(0.05)
    return False


def start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "aios", "doctor", "--offline", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_it_ends_in_time_and_says_what_it_could_not_see(hanging: dict[str, str]) -> None:
    begin = time.monotonic()
    with start(hanging, "--json", "--timeout", str(TIMEOUT)) as process:
        output, errors = process.communicate(timeout=60)
    assert time.monotonic() - begin < HANGING
    assert errors == b""
    report = json.loads(output)
    assert TIMEOUT <= report["duration_seconds"] < TIMEOUT + MARGIN
    found = {finding["check"]: finding for finding in report["findings"]}
    assert found["nvidia-driver"]["status"] == "unknown"
    assert "answer" in found["nvidia-driver"]["summary"]
    assert "No NVIDIA GPU" not in json.dumps(found)
    assert process.returncode in (1, 3)
    assert nothing_is_left(hanging)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_its_programs_end_with_it_when_it_is_ended(hanging: dict[str, str], number: int) -> None:
    with start(hanging, "--json") as process:
        while len(marked(hanging["AIOS_TEST_MARK"])) < 4:
            assert process.poll() is None
            time.sleep(0.05)
        begin = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=60)
    assert time.monotonic() - begin < HANGING
    assert process.returncode == 128 + number
    assert nothing_is_left(hanging)


def test_a_run_that_asks_nothing_of_them_waits_for_nothing(hanging: dict[str, str]) -> None:
    with start(hanging, "--json", "--only", "python-version", "--timeout", "60") as process:
        output, _ = process.communicate(timeout=60)
    report = json.loads(output)
    assert report["duration_seconds"] < MARGIN
    assert [finding["status"] for finding in report["findings"]] == ["ok"]
