"""A Windows machine with simulated hardware and software: real files, registry values and programs with made-up content."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wine.windows_box import Completed, FakePrograms, Wine, c_compiler

DOCTOR = ("-m", "aios", "doctor", "--json", "--offline", "--skip", "backend-*")
LIBRARY = "__declspec(dllexport) int answer_{name}(void) {{ return 42; }}\n"
EXTENSION = (
    "int answer_{name}(void);\n__declspec(dllexport) int use_{name}(void) {{ return answer_{name}(); }}\n"
)
VERSION_PY = (
    "__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {cuda}\nhip: Optional[str] = None\n"
)


@dataclass
class PretendedMachine:
    """A virtual environment into which `install` puts packages, fake tools, and folders below drive C."""

    wine: Wine
    venv: Path
    programs: FakePrograms
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def drive_c(self) -> Path:
        return self.wine.box.drive_c

    @property
    def site_packages(self) -> Path:
        return self.venv / "Lib" / "site-packages"

    def make_environment(self, repository: Path) -> None:
        """Make an environment as `venv` does; the packages of the box and this project are added to its path."""
        base = self.wine.box.python
        self.site_packages.mkdir(parents=True)
        (self.venv / "Scripts").mkdir()
        for file in base.iterdir():
            if file.suffix in (".exe", ".dll"):
                shutil.copy(file, self.venv / "Scripts" / file.name)
        home = self.wine.path(base)
        settings = f"home = {home}\ninclude-system-site-packages = false\nversion = 3.11.9\n"
        (self.venv / "pyvenv.cfg").write_text(settings, encoding="utf-8")
        behind = (self.wine.path(base / "Lib" / "site-packages"), self.wine.path(repository))
        (self.site_packages / "behind.pth").write_text("\n".join(behind) + "\n", encoding="utf-8")

    def make_headers(self) -> None:
        """Add the headers and libraries that Triton compiles with, which an embeddable Python lacks."""
        base = self.wine.box.python
        (base / "Include").mkdir()
        (base / "Include" / "Python.h").write_text("")
        (base / "libs").mkdir()
        (base / "libs" / "python311.lib").write_bytes(b"")

    def install(
        self, name: str, version: str, tag: str = "cp311-cp311-win_amd64", requires: tuple[str, ...] = ()
    ) -> None:
        """Write the metadata that pip writes for a wheel."""
        info = self.site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
        metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(metadata) + "\n")
        (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        (info / "INSTALLER").write_text("pip\n")
        (info / "RECORD").write_text("")

    def torch(self, version: str, cuda: str | None, libraries: Path) -> None:
        """Write the parts of torch that the doctor reads: version.py, metadata, the files in lib."""
        folder = self.site_packages / "torch"
        (folder / "lib").mkdir(parents=True)
        (folder / "version.py").write_text(VERSION_PY.format(version=version, cuda=repr(cuda)))
        (folder / "__init__.py").write_text("raise ImportError('pretended')\n")
        names = ["c10", "torch_cpu", "torch_python", "fbgemm", "shm"]
        if cuda:
            names += ["c10_cuda", "torch_cuda", "cudnn64_9", f"cudart64_{cuda.partition('.')[0]}"]
        for name in names:
            shutil.copy(libraries / "c10.dll", folder / "lib" / f"{name}.dll")
        self.install("torch", version.partition("+")[0])

    def flash_attn(self, version: str, libraries: Path) -> None:
        """Write a flash-attn whose compiled module imports c10.dll."""
        (self.site_packages / "flash_attn").mkdir()
        (self.site_packages / "flash_attn" / "__init__.py").write_text("")
        shutil.copy(libraries / "extension.pyd", self.site_packages / "flash_attn_2_cuda.cp311-win_amd64.pyd")
        self.install("flash-attn", version)

    def extension(self, package: str, libraries: Path) -> None:
        """Write a package whose compiled module imports the runtime of CUDA 12."""
        (self.site_packages / package).mkdir()
        shutil.copy(libraries / "for_cuda_12.pyd", self.site_packages / package / "_C.cp311-win_amd64.pyd")
        self.install(package, "1.0")

    def triton(self, version: str) -> None:
        """Write triton-windows, which contains the package `triton`."""
        compiler = self.site_packages / "triton" / "runtime" / "tcc"
        compiler.mkdir(parents=True)
        (self.site_packages / "triton" / "__init__.py").write_text("")
        (compiler / "tcc.exe").write_bytes(b"")
        self.install("triton-windows", version)

    def gpu(
        self, name: str, driver: str, capability: str, memory_mib: int = 24564, complaint: str = ""
    ) -> None:
        """Add an nvidia-smi that reports this GPU, after a complaint about another one; the box has no NVML."""
        row = f"0, {name}, {driver}, {capability}, {memory_mib}, WDDM\r\n"
        self.programs.add("nvidia-smi", prints=(complaint + row).encode())

    def toolkit(self, version: str, largest_msc_ver: int) -> None:
        """Write a CUDA toolkit in the folder of NVIDIA's installer, and set its variables."""
        folder = self.drive_c / "Program Files" / "NVIDIA GPU Computing Toolkit" / "CUDA" / f"v{version}"
        (folder / "bin").mkdir(parents=True)
        header = folder / "include" / "crt" / "host_config.h"
        header.parent.mkdir(parents=True)
        header.write_text(
            f"#if _MSC_VER < 1910 || _MSC_VER >= {largest_msc_ver}\n#error -- unsupported\n#endif\n"
        )
        banner = f"Cuda compilation tools, release {version}, V{version}.20\r\n".encode()
        FakePrograms(folder / "bin", self.programs.player).add("nvcc", prints=banner)
        self.environment["CUDA_PATH"] = self.wine.path(folder)
        self.environment[f"CUDA_PATH_V{version.replace('.', '_')}"] = self.wine.path(folder)

    def visual_studio(self, version: str, toolset: str | None, complete: bool = True) -> None:
        """Write Build Tools that vswhere lists, with the C++ workload if `toolset` is given."""
        studio = self.drive_c / "Program Files (x86)" / "Microsoft Visual Studio"
        installer, tools = studio / "Installer", studio / "2022" / "BuildTools"
        installer.mkdir(parents=True)
        tools.mkdir(parents=True)
        listing = f"instanceId: c0\r\ninstallationPath: {self.wine.path(tools)}\r\ninstallationVersion: {version}\r\n"
        listing += f"isComplete: {complete:d}\r\nisLaunchable: {complete:d}\r\nisRebootRequired: 0\r\n"
        FakePrograms(installer, self.programs.player).add("vswhere", prints=listing.encode())
        if toolset:
            build = tools / "VC" / "Auxiliary" / "Build"
            build.mkdir(parents=True)
            (build / "Microsoft.VCToolsVersion.default.txt").write_text(f"{toolset}\r\n")
            compiler = tools / "VC" / "Tools" / "MSVC" / toolset / "bin" / "Hostx64" / "x64"
            (compiler / "1033").mkdir(parents=True)
            (compiler / "1033" / "clui.dll").write_bytes(b"")
            FakePrograms(compiler, self.programs.player).add("cl")

    def doctor(self, *arguments: str) -> Completed:
        """Run `aios doctor --json` in the environment."""
        python = self.wine.path(self.venv / "Scripts" / "python.exe")
        return self.wine.run(
            [python, *DOCTOR, *arguments],
            environment={"PYTHONPATH": "", **self.environment},
            programs=self.programs.folder,
        )

    def findings(self, *arguments: str) -> dict[str, Any]:
        """The findings by check."""
        done = self.doctor(*arguments)
        assert done.stdout, done.stderr.decode(errors="replace")
        return {found["check"]: found for found in json.loads(done.stdout)["findings"]}


def compile_libraries(folder: Path) -> Path:
    """A c10.dll and a CUDA runtime, and two extension modules that cannot load without them."""
    for library, module in (("c10", "extension"), ("cudart64_12", "for_cuda_12")):
        sources = {f"{library}.dll": LIBRARY, f"{module}.pyd": EXTENSION}
        for name, source in sources.items():
            file = folder / f"{name}.c"
            file.write_text(source.format(name=library))
            needs = [folder / f"{library}.dll"] if source is EXTENSION else []
            command = [c_compiler(), "-shared", "-s", "-o", str(folder / name), str(file), *map(str, needs)]
            subprocess.run(command, check=True)
    return folder


@contextmanager
def removed_afterwards(*folders: Path) -> Iterator[None]:
    """Delete these folders afterwards; they must not exist before."""
    assert not [folder for folder in folders if folder.exists()]
    try:
        yield
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def open_findings(findings: Mapping[str, Any]) -> dict[str, str]:
    """The checks with an open finding, and their status."""
    wanted = ("error", "warning", "unknown")
    return {name: found["status"] for name, found in findings.items() if found["status"] in wanted}
