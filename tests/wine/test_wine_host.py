"""The live host on Windows: its readings agree with other sources, and it leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.wine.windows_box import HERE, Aios, FakePrograms, Windows, Wine

pytestmark = pytest.mark.wine

HANGING_PROGRAMS = ("nvidia-smi", "nvcc", "cl", "vswhere", "git", "ninja", "uv", "wsl", "where")
HANGING_MODULES = ("pynvml", "torch", "flash_attn", "xformers", "triton")
TIMEOUT = 3  # seconds


@pytest.fixture(scope="module")
def readings(windows: Windows) -> dict[str, Any]:
    done = windows.run(["python", windows.path(HERE / "host_answers.py")])
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


@pytest.fixture
def answers(readings: dict[str, Any]) -> Any:
    return readings["answers"]


@pytest.fixture
def others(readings: dict[str, Any]) -> Any:
    return readings["others"]


def test_volumes(answers: Any, others: Any) -> None:
    kind, volume = answers["volumes"]["home"]
    assert kind == "Found"
    file_system, options = others["drives"][volume["root"]]
    assert (volume["file_system"], volume["kind"]) == (file_system, options.rpartition(",")[2])
    assert volume["total_bytes"] == others["disk"][0]
    assert abs(volume["free_bytes"] - others["disk"][1]) < 2**30
    assert answers["volumes"]["new"][1]["root"] == volume["root"]
    assert answers["volumes"]["none"] == ["Absent", None]


def test_memory_boot_time_and_processors(answers: Any, others: Any) -> None:
    kind, memory = answers["memory"]
    assert kind == "Found" and memory["total_bytes"] == others["memory"]
    assert 0 < memory["available_bytes"] <= memory["total_bytes"]
    assert 0 < memory["commit_available_bytes"] <= memory["commit_limit_bytes"]
    assert abs(answers["boot_time"][1] - others["boot_time"]) < 5
    assert answers["processors"] == others["processors"]


def test_the_boot_time_under_wine_is_that_of_the_host(windows: Windows, answers: Any) -> None:
    if not windows.is_wine:
        pytest.skip("Windows runs directly on this machine")
    assert abs(answers["boot_time"][1] - psutil.boot_time()) < 60


def test_versions_of_binaries_are_those_that_windows_reads(answers: Any, others: Any) -> None:
    versions = {path: reading[1]["version"] for path, reading in answers["binaries"].items()}
    assert versions == others["versions"]
    assert any(versions.values())


def test_imports_of_binaries_are_those_that_binutils_lists(windows: Windows, answers: Any) -> None:
    objdump = shutil.which("x86_64-w64-mingw32-objdump")
    if not objdump or not isinstance(windows, Wine):
        pytest.skip("there is no objdump for Windows programs here")
    for path, (_, binary) in answers["binaries"].items():
        file = windows.box.drive_c / path.partition("\\")[2].replace("\\", "/").replace(
            "Windows/", "windows/"
        )
        if not file.exists():
            file = file.parents[1] / "system32" / file.name
        said = subprocess.run([objdump, "-p", file], capture_output=True, text=True, errors="replace").stdout
        assert binary["imports"] == [name.lower() for name in re.findall(r"DLL Name: (.*)", said)]


def test_listing_programs_does_no_harm(answers: Any) -> None:
    """Under Wine, psutil cannot see other programs."""
    assert answers["programs_using"] == ["Found", []]


def test_damaged_registry_values_are_unreadable(answers: Any) -> None:
    kinds = {name: kind for name, (kind, _) in answers["damaged"].items()}
    whole = {"text without an end": "ab", "empty text": "", "whole": 1}
    assert {name for name, kind in kinds.items() if kind == "Found"} == set(whole)
    assert {kind for name, kind in kinds.items() if name not in whole} == {"Unreadable"}
    assert {name: answers["damaged"][name][1]["value"] for name in whole} == whole


# -- hanging programs


def running(name: str, folder: Path) -> list[psutil.Process]:
    """The programs with this name that were started from a folder of the box."""
    found = []
    for process in psutil.process_iter():
        try:
            program = next(iter(process.cmdline()), "")
            if program.endswith(name) and folder.name in program:
                found.append(process)
        except psutil.Error:  # it has ended, or belongs to another user
            continue
    return found


def nothing_runs(name: str, folder: Path) -> bool:
    """Whether the program has ended or ends soon."""
    for _ in range(600):
        if not running(name, folder):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def hanging(windows: Windows, workplace: Path, programs: FakePrograms) -> dict[str, str]:
    """The variables of a machine on which every program and every import hangs."""
    for name in HANGING_PROGRAMS:
        programs.add(name, end="hang")
    installer = workplace / "Microsoft Visual Studio" / "Installer"
    installer.mkdir(parents=True)
    for ending in ("exe", "out", "err", "end"):
        shutil.copy(programs.folder / f"vswhere.{ending}", installer)
    modules = workplace / "modules"
    modules.mkdir()
    for name in HANGING_MODULES:
        (modules / f"{name}.py").write_text("import time\ntime.sleep(3600)\n")
    path = os.pathsep if not windows.is_wine else ";"
    repository = windows.path(HERE.parents[1])
    return {
        "PYTHONPATH": f"{windows.path(modules)}{path}{repository}",
        "ProgramFiles(x86)": windows.path(workplace),
        "CUDA_PATH": windows.path(workplace),
    }


def test_a_machine_on_which_no_program_answers(
    aios: Aios, windows: Windows, workplace: Path, programs: FakePrograms, hanging: dict[str, str]
) -> None:
    arguments = ("doctor", "--json", "--offline", "--timeout", str(TIMEOUT))
    done = aios(*arguments, environment=hanging, programs=programs.folder)
    report = json.loads(done.stdout)
    found = {finding["check"]: finding for finding in report["findings"]}
    assert found["nvidia-driver"]["status"] == "unknown"
    assert "answer" in found["nvidia-driver"]["summary"]
    assert "No NVIDIA GPU" not in json.dumps(found)
    assert done.returncode in (1, 3)
    if windows.is_wine:
        assert nothing_runs(".exe", workplace)


def test_a_program_ends_with_a_doctor_that_is_killed(
    windows: Windows, workplace: Path, programs: FakePrograms
) -> None:
    if not windows.is_wine:
        pytest.skip("its programs are counted from outside the box")
    programs.add("slow", end="hang")
    note, slow = workplace / "ended", programs.folder / "slow.exe"
    command = ["python", *map(windows.path, (HERE / "keep_running.py", slow, note))]
    with ThreadPoolExecutor() as pool:
        done = pool.submit(windows.run, command)
        while not note.exists():
            assert not done.done()
            time.sleep(0.05)
        assert nothing_runs("slow.exe", workplace)
        assert not done.done()


# -- a recording


def test_a_recording_gives_the_same_findings_and_no_personal_names(
    aios: Aios, windows: Windows, workplace: Path
) -> None:
    file = workplace / "machine.json"
    secrets = {"HF_TOKEN": "hf_CanaryTokenValue", "HTTPS_PROXY": "http://me:CanaryPass@127.0.0.1:1"}
    done = aios("doctor", "record", windows.path(file), environment=secrets)
    assert done.returncode == 0, done.stderr
    recording = file.read_text(encoding="utf-8")
    for canary in (*windows.user_folder().name.split(), "CanaryToken", "CanaryPass"):
        assert canary.casefold() not in recording.casefold()
    patient = ("--timeout", "300")  # the programs of a busy machine answer late
    live = aios("doctor", "--json", "--offline", *patient, environment=secrets)
    again = aios("doctor", "--json", "--offline", "--machine", windows.path(file))
    judged = [
        {found["check"]: found["status"] for found in json.loads(done.stdout)["findings"]}
        for done in (live, again)
    ]
    assert judged[0] == judged[1]
