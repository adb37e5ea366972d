"""Compiled modules in real files at any depth of a site-packages: those for another CUDA are named, others are silent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from doctor.checks.packages.extensions import CHECK
from doctor.diagnosis import diagnose
from doctor.host import Absent, Found, Unreadable, libraries
from doctor.host.binaries import read_binary
from doctor.host.libraries import read_libraries
from doctor.host.recorded import RecordedHost
from doctor.models import Finding
from doctor.probes import extensions
from tests.doctor.checks.cases import machine_json, patched
from tests.doctor.host.test_host_binaries import pe_file
from tests.doctor.host.test_host_elf import elf_file

SYSTEMS = ("windows", "linux")
MACHINES = {"windows": "windows-rtx4090", "linux": "linux-h100"}  # both have torch for CUDA 13.0
MODULES = {"windows": "_C.cp312-win_amd64.pyd", "linux": "_C.cpython-312-x86_64-linux-gnu.so"}
TORCH = {"windows": ("c10.dll", "torch_cpu.dll", "KERNEL32.dll"), "linux": ("libc10.so", "libtorch_cpu.so")}
CUDA_12 = {"windows": "cudart64_12.dll", "linux": "libcudart.so.12"}
CUDA_13 = {"windows": "cudart64_13.dll", "linux": "libcudart.so.13"}
WRITERS: dict[str, Callable[[tuple[str, ...]], bytes]] = {"windows": pe_file, "linux": elf_file}
FOLDERS = ("", "nunchaku", "nunchaku/ops", "nunchaku/ops/cuda", "nunchaku/ops/cuda/sm89")


class SitePackages:
    """A folder that takes the place of a recorded machine's site-packages."""

    def __init__(self, folder: Path, system: str) -> None:
        self.folder, self.system = folder, system

    def add(self, path: str, *imports: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(WRITERS[self.system](imports))

    def module(self, folder: str, cuda: str, *, torch: bool = True) -> None:
        name = MODULES[self.system] if folder else "nunchaku" + MODULES[self.system].removeprefix("_C")
        self.add(f"{folder}/{name}" if folder else name, *(TORCH[self.system] if torch else ()), cuda)

    def finding(self, **patch: object) -> Finding:
        """What the check says on a machine with these packages."""
        name = MACHINES[self.system]
        there = machine_json(name)["identity"]["site_packages"]
        separator = "\\" if self.system == "windows" else "/"
        found = read_libraries(str(self.folder), extensions.WITH_CHECKS | extensions.WITHOUT_CUDA)
        assert isinstance(found, Found)
        binaries = {}
        for path in found.value:
            binary = read_binary(str(self.folder / path))
            assert isinstance(binary, Found)
            binaries[separator.join((there, *path.split("/")))] = binary.value
        host = RecordedHost(patched(name, {"libraries": {there: found.value}, "binaries": binaries, **patch}))
        return next(each for each in diagnose(host, [CHECK]).findings if each.check == CHECK.id)


@pytest.fixture(params=SYSTEMS)
def packages(request: pytest.FixtureRequest, tmp_path: Path) -> SitePackages:
    return SitePackages(tmp_path, request.param)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_module_for_another_cuda_is_named_at_any_depth(packages: SitePackages, folder: str) -> None:
    packages.module(folder, CUDA_12[packages.system])
    found = packages.finding()
    assert found.status == "warning"
    assert "nunchaku was built for CUDA 12, but torch for CUDA 13" in found.summary
    assert CUDA_12[packages.system] in found.summary


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_module_for_this_cuda_is_in_order(packages: SitePackages, folder: str) -> None:
    packages.module(folder, CUDA_13[packages.system])
    found = packages.finding()
    assert (found.status, found.summary) == ("ok", "nunchaku: built for this torch")


@pytest.mark.parametrize(
    "where", ["nunchaku/lib", "nunchaku.libs", "nvidia/cuda_runtime/lib", "nvidia/cu12/bin/x64"]
)
def test_a_library_in_the_package_or_of_nvidia_is_found(packages: SitePackages, where: str) -> None:
    packages.module("nunchaku/ops", CUDA_12[packages.system])
    packages.add(f"{where}/{CUDA_12[packages.system]}")
    assert packages.finding().status == "ok"


def test_a_library_in_another_package_is_not_found(packages: SitePackages) -> None:
    packages.module("nunchaku/ops", CUDA_12[packages.system])
    packages.add(f"paddle/libs/{CUDA_12[packages.system]}")
    assert packages.finding().status == "warning"


@pytest.mark.parametrize("torch", [False, True])
def test_only_packages_without_torch_look_into_cudas_toolkit(tmp_path: Path, torch: bool) -> None:
    packages = SitePackages(tmp_path, "windows")
    packages.module("cupy/cuda", "cudart64_12.dll", torch=torch)
    toolkit = r"C:\CUDA\v12.8"
    found = packages.finding(
        environment={"CUDA_PATH_V12_8": toolkit}, directories={rf"{toolkit}\bin": ["cudart64_12.dll"]}
    )
    assert found.status == ("warning" if torch else "ok")


def test_modules_without_torch_and_cuda_are_silent(packages: SitePackages) -> None:
    other = "python312.dll" if packages.system == "windows" else "libm.so.6"
    packages.add(f"shapely/lib/geos/{MODULES[packages.system]}", other)
    packages.add(f"numpy/core/{MODULES[packages.system]}", *TORCH[packages.system], CUDA_12[packages.system])
    found = packages.finding()
    assert (found.status, found.summary) == ("ok", "No other extension for torch")


def test_what_is_not_entered(tmp_path: Path) -> None:
    for name in (
        "a.pyd", "pkg/b.so", "pkg/c.so.12.1", "pkg/d.DLL", "pkg/so.py", "pkg/include/e.so", "pkg/__pycache__/f.so",
        "pkg-1.dist-info/g.so", "torch/lib/h.so", "pkg/torch/i.so", "pkg.v2/j.so", "/".join("123456789") + "/k.so",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = ("a.pyd", "pkg.v2/j.so", "pkg/b.so", "pkg/c.so.12.1", "pkg/d.DLL", "pkg/torch/i.so")
    assert read_libraries(str(tmp_path), {"torch"}) == Found(found)
    assert read_libraries(str(tmp_path / "missing"), ()) == Absent()


def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    try:
        (tmp_path / "site" / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this user may not create links")
    (tmp_path / "outside.so").touch()
    assert read_libraries(str(tmp_path / "site"), ()) == Found(())


def test_a_folder_without_an_end_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"{number}.so").touch()
    monkeypatch.setattr(libraries, "MOST_ENTRIES", 4)
    read = read_libraries(str(tmp_path), ())
    assert isinstance(read, Unreadable)
    assert "more than 4 files and folders" in read.reason
