"""Eleven machines on a real Windows Python: the root cause is the only finding, and its fix is offered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wine.pretended_machine import (
    PretendedMachine,
    compile_libraries,
    open_findings,
    removed_afterwards,
)
from tests.wine.windows_box import LONG_PATHS, REPOSITORY, FakePrograms, Registry, Windows, Wine

pytestmark = pytest.mark.wine

PAGE_FILES = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management"


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_libraries(tmp_path_factory.mktemp("libraries"))


@pytest.fixture
def machine(
    windows: Windows, workplace: Path, programs: FakePrograms, registry: Registry
) -> Iterator[PretendedMachine]:
    """A machine with long paths on, short temporary and cache folders, and an empty environment in a short folder."""
    if not isinstance(windows, Wine):
        pytest.skip("needs the Wine box: a real machine is not made to look like another")
    drive_c = windows.box.drive_c
    folders = (
        drive_c / "pretended",
        drive_c / "Program Files" / "NVIDIA GPU Computing Toolkit",
        drive_c / "Program Files (x86)" / "Microsoft Visual Studio",
        windows.box.python / "Include",
        windows.box.python / "libs",
    )
    with removed_afterwards(*folders):
        (folders[0] / "temp").mkdir(parents=True)
        variables = {"TEMP": "temp", "TMP": "temp", "HF_HOME": "hf"}
        variables |= {"TORCHINDUCTOR_CACHE_DIR": "ti", "TRITON_CACHE_DIR": "tc"}
        registry.change(
            (*LONG_PATHS, "REG_DWORD", 1),
            *(
                (r"HKCU\Environment", name, "REG_SZ", f"C:\\pretended\\{folder}")
                for name, folder in variables.items()
            ),
            (r"HKCU\Environment", "PYTHONUTF8", "REG_SZ", "1"),
            (PAGE_FILES, "PagingFiles", "REG_MULTI_SZ", [r"?:\pagefile.sys"]),
        )
        pretended = PretendedMachine(windows, folders[0] / "venv", programs)
        pretended.make_headers()
        git_settings = folders[0] / "gitconfig"
        git_settings.write_text("[core]\n\tlongpaths = true\n")
        pretended.environment["GIT_CONFIG_GLOBAL"] = windows.path(git_settings)
        pretended.environment["AIOS_HOME"] = windows.path(workplace / "state")
        yield pretended


def fitting(machine: PretendedMachine, libraries: Path, torch: str = "2.11.0+cu130") -> None:
    """A machine without a fault, with an RTX 4090."""
    machine.make_environment(REPOSITORY)
    machine.gpu("NVIDIA GeForce RTX 4090", "581.80", "8.9")
    machine.torch(torch, "13.0", libraries)
    machine.flash_attn("2.8.3+cu130torch2.11", libraries)
    machine.triton("3.6.0.post26")


def test_a_machine_without_a_fault_gets_no_warning(machine: PretendedMachine, libraries: Path) -> None:
    fitting(machine, libraries)
    assert open_findings(machine.findings()) == {}


def test_blackwell_with_an_old_driver_and_torch_for_cuda_12_6(
    machine: PretendedMachine, libraries: Path
) -> None:
    machine.make_environment(REPOSITORY)
    machine.gpu("NVIDIA GeForce RTX 5090", "572.16", "12.0", 32607)
    machine.torch("2.9.1+cu126", "12.6", libraries)
    machine.triton("3.5.1.post23")
    found = machine.findings()
    assert open_findings(found) == {"torch-cuda-build": "error"}
    assert "no code for NVIDIA GeForce RTX 5090" in found["torch-cuda-build"]["summary"]
    assert found["torch-cuda-build"]["fix"]["commands"] == ["aios install torch"]
    assert "cu128" in " ".join(found["torch-cuda-build"]["fix"]["by_hand"])


def test_a_gtx_1660_is_served_without_flash_attention(machine: PretendedMachine, libraries: Path) -> None:
    machine.make_environment(REPOSITORY)
    machine.gpu("NVIDIA GeForce GTX 1660", "581.80", "7.5", 6144)
    machine.torch("2.11.0+cu130", "13.0", libraries)
    machine.triton("3.6.0.post26")
    found = machine.findings()
    assert open_findings(found) == {}
    assert found["flash-attn"]["status"] == "info"
    assert "xformers and SDPA can run" in found["compute-capability"]["summary"]


def test_a_cpu_build_of_torch_with_a_gpu(machine: PretendedMachine, libraries: Path) -> None:
    machine.make_environment(REPOSITORY)
    machine.gpu("NVIDIA GeForce RTX 4090", "581.80", "8.9")
    machine.torch("2.11.0+cpu", None, libraries)
    machine.flash_attn("2.8.3+cu130torch2.11", libraries)
    found = machine.findings()
    assert open_findings(found) == {"torch-cuda-build": "error"}
    assert found["flash-attn"]["summary"].startswith("Because of torch-cuda-build")
    assert found["torch-cuda-build"]["fix"]["commands"] == ["aios install torch"]
    assert "cu130" in " ".join(found["torch-cuda-build"]["fix"]["by_hand"])


def test_a_toolkit_older_than_that_of_torch(machine: PretendedMachine, libraries: Path) -> None:
    fitting(machine, libraries)
    machine.toolkit("12.4", 1950)
    found = machine.findings()
    assert found["cuda-matches-torch"]["status"] in ("info", "warning")
    assert "12.4" in found["cuda-matches-torch"]["summary"]
    assert set(open_findings(found)) <= {"cuda-matches-torch"}


def test_a_compiler_newer_than_the_toolkit_supports(machine: PretendedMachine, libraries: Path) -> None:
    machine.make_environment(REPOSITORY)
    machine.gpu("NVIDIA GeForce RTX 4090", "581.80", "8.9")
    machine.torch("2.11.0+cu128", "12.8", libraries)
    machine.flash_attn("2.8.3+cu128torch2.11", libraries)
    machine.triton("3.6.0.post26")
    machine.toolkit("12.8", 1950)
    machine.visual_studio("18.0.1", "14.50.35717")
    found = machine.findings()
    assert found["msvc-supported-by-nvcc"]["status"] in ("info", "warning")
    assert "14.50" in found["msvc-supported-by-nvcc"]["summary"]
    assert set(open_findings(found)) <= {"msvc-supported-by-nvcc"}


def test_build_tools_without_their_compiler(machine: PretendedMachine, libraries: Path) -> None:
    fitting(machine, libraries)
    machine.visual_studio("17.14.2", None)
    found = machine.findings()
    assert "without its C++ tools" in found["msvc"]["summary"]
    assert "Component.VC.Tools.x86.x64" in " ".join(found["msvc"]["fix"]["commands"])
    assert open_findings(found) == {}


def test_a_driver_that_does_not_answer(machine: PretendedMachine, libraries: Path) -> None:
    fitting(machine, libraries)
    machine.programs.add("nvidia-smi", end="hang")
    found = machine.findings("--timeout", "6")
    assert open_findings(found) == {"nvidia-driver": "unknown"}
    assert "answer" in found["nvidia-driver"]["summary"]
    waiting = [name for name, f in found.items() if f["summary"].startswith("Because of nvidia-driver")]
    assert "gpu" in waiting


def test_a_user_with_a_cyrillic_name(machine: PretendedMachine, libraries: Path, registry: Registry) -> None:
    fitting(machine, libraries)
    home = machine.drive_c / "pretended" / "Юрий"
    (home / "Temp").mkdir(parents=True)
    temp = machine.wine.path(home / "Temp")
    registry.change(*((r"HKCU\Environment", name, "REG_SZ", temp) for name in ("TEMP", "TMP")))
    found = machine.findings()
    assert open_findings(found) == {"temp-dir": "warning"}
    assert {action["kind"] for action in found["temp-dir"]["fix"]["actions"]} == {
        "make-directory",
        "set-user-environment-variable",
    }


def test_a_path_of_nine_thousand_characters(
    machine: PretendedMachine, libraries: Path, registry: Registry
) -> None:
    fitting(machine, libraries)
    added_each_time = [f"C:\\windows\\toolchain number {number}\\bin" for number in range(12)]
    value = ";".join(added_each_time * 22)
    assert 8800 < len(value) < 9200
    registry.change((r"HKCU\Environment", "PATH", "REG_EXPAND_SZ", value))
    found = machine.findings()
    assert open_findings(found) == {"path-variable": "error"}
    (action,) = found["path-variable"]["fix"]["actions"]
    assert action["kind"] == "edit-path-entry"
    assert action["state"] == {"type": "REG_EXPAND_SZ", "value": ";".join(added_each_time)}


def test_a_lost_gpu_an_incomplete_visual_studio_and_an_extension_for_another_cuda(
    machine: PretendedMachine, libraries: Path
) -> None:
    fitting(machine, libraries)
    lost = "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error\r\n"
    machine.gpu("NVIDIA GeForce RTX 4090", "581.80", "8.9", complaint=lost)
    machine.visual_studio("17.14.2", "14.44.35207", complete=False)
    machine.extension("nunchaku", libraries)
    found = machine.findings()
    assert open_findings(found) == {"gpu": "warning", "extensions": "warning"}, found["extensions"]
    assert list(open_findings(found)) == ["gpu", "extensions"]
    assert found["gpu"]["summary"].startswith("A GPU does not answer: Unable to determine the device handle")
    assert "nunchaku was built for CUDA 12, but torch for CUDA 13" in found["extensions"]["summary"]
    assert "its installation is not complete" in found["msvc"]["summary"]


def test_an_environment_below_onedrive(machine: PretendedMachine, libraries: Path) -> None:
    folder = machine.drive_c / "pretended" / "OneDrive"
    machine.venv = folder / "project" / ".venv"
    machine.environment["OneDrive"] = machine.wine.path(folder)
    fitting(machine, libraries)
    found = machine.findings()
    assert open_findings(found) == {"install-path": "warning"}
    assert "OneDrive" in found["install-path"]["summary"]
