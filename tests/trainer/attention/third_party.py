"""Packages of other projects, downloaded to test how we call them. They are not part of this repository.

They are stored in `.third-party` and imported from there, without being installed.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock

CACHE = Path(__file__).parents[3] / ".third-party"
TIMEOUT = 240  # seconds for one download
# The versions that were read; each with the part of its archive that is imported.
PACKAGES = {
    "attn-gym": ("0.0.17", "attn_gym"),
    "flash-attn": ("2.8.3.post2", "flash_attn"),
    "flash-attn-4": ("4.0.0b36", "flash_attn"),
    "kernels": ("0.17.2", "kernels"),
    "torchtune": ("0.6.1", "torchtune"),
    "trl": ("1.16.0", "trl"),
    "xformers": ("0.0.35", "xformers"),
}


def folder(name: str) -> Path:
    """The folder with the modules of a package. Skips the test if pip cannot download it."""
    version, part = PACKAGES[name]
    target = CACHE / f"{name}-{version}"
    CACHE.mkdir(exist_ok=True)
    with FileLock(CACHE / f"{name}.lock"):
        if not target.is_dir():
            archive = _download(f"{name}=={version}", CACHE / "downloads" / name, source=name == "flash-attn")
            unpacked = CACHE / f"{name}.unpacked"
            _unpack(archive, part, unpacked)
            unpacked.replace(target)
    return target


def _download(requirement: str, into: Path, *, source: bool) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(into),
        requirement,
    ]
    if source:  # pip runs its setup.py, which imports torch and would compile
        command += ["--no-build-isolation", "--no-binary", ":all:"]
    environment = {**os.environ, "FLASH_ATTENTION_SKIP_CUDA_BUILD": "TRUE"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip did not download {requirement} within {TIMEOUT} s")
    archives = sorted(into.glob("*.whl")) + sorted(into.glob("*.tar.gz"))
    if done.returncode or not archives:
        pytest.skip(f"pip cannot download {requirement}: {(done.stderr.splitlines() or ['no reason'])[-1]}")
    return archives[0]


def _unpack(archive: Path, part: str, into: Path) -> None:
    """Write the modules below `part` of a wheel or an sdist, and the metadata of a wheel."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(into)
        return
    with tarfile.open(archive) as sdist:
        for member in sdist.getmembers():
            _, _, name = member.name.partition("/")
            if member.isfile() and name.startswith(f"{part}/") and name.endswith(".py"):
                content = sdist.extractfile(member)
                assert content is not None
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                (into / name).write_bytes(content.read())


@contextmanager
def importable(name: str) -> Iterator[None]:
    """While entered, the package can be imported. Afterwards it cannot, but modules that were imported still work."""
    before = dict(sys.modules)
    path = str(folder(name))
    sys.path.insert(0, path)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(path)
        for module in set(sys.modules) - set(before):
            if module.split(".")[0] == PACKAGES[name][1]:
                del sys.modules[module]


def stand_in(name: str, **functions: object) -> ModuleType:
    """A module with these functions, in place of a compiled one."""
    module = ModuleType(name)
    vars(module).update(functions)
    return module
