"""Another distribution that installs into aios' import packages is named: by the doctor and by the front door."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


class Installed:
    """A virtual environment with a copy of aios; what aios needs is imported from this environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")]
        subprocess.run(command, check=True)
        self.python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        asked = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        self.site_packages = Path(asked.stdout.strip())
        (self.site_packages / "needed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), *arguments]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=self.folder)

    def install(self, wheel: Path) -> None:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(self.python),
            "install",
            "--no-deps",
            "--no-index",
        ]
        subprocess.run([*pip, "--quiet", "--no-compile", str(wheel)], check=True)

    def own_files(self) -> tuple[str, str]:
        """Status and summary of the doctor's finding."""
        done = self.run("-m", "aios", "doctor", "--only", "own-files", "--json")
        (finding,) = json.loads(done.stdout)["findings"]
        return finding["status"], finding["summary"]


def stand_in(folder: Path, name: str, files: Mapping[str, str]) -> Path:
    """Make a wheel of version 1.0 with these files."""
    info = f"{name}-1.0.dist-info"
    content = {**files, f"{info}/METADATA": METADATA.format(name, "1.0"), f"{info}/WHEEL": WHEEL}
    rows = [f"{path},sha256={digest(text)},{len(text)}" for path, text in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    builders = pytest.importorskip("hatchling.builders.wheel")
    folder = tmp_path_factory.mktemp("own files")
    (wheel,) = builders.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    environment = Installed(folder)
    environment.install(Path(wheel))
    return environment


def test_a_stranger_over_the_copy_is_named_by_the_doctor_and_by_the_front_door(installed: Installed) -> None:
    """PyPI has a distribution `trainer` whose import package has the same name."""
    assert installed.own_files() == ("ok", "aios' own files are as installed")
    assert installed.run("-m", "aios", "train", "--help").returncode == 0

    installed.install(stand_in(installed.folder, "trainer", {"trainer/__init__.py": "import nowhere\n"}))

    status, summary = installed.own_files()
    assert (status, summary) == ("error", "trainer 1.0 has overwritten files of aios: trainer/__init__.py")
    for arguments in (["--help"], ["--config", "x.yaml"]):
        done = installed.run("-m", "aios", "train", *arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "which belongs to trainer-1.0, not to aios" in done.stderr
        assert "aios' doctor --only own-files" in done.stderr, "as it was started"


def test_a_stranger_before_a_clone_is_named_by_the_doctor_and_by_the_front_door(tmp_path: Path) -> None:
    """As in an editable installation, whose .pth puts the clone behind site-packages."""
    environment = Installed(tmp_path)
    (environment.site_packages / "clone.pth").write_text(str(ROOT), encoding="utf-8")
    assert environment.own_files()[0] == "ok"
    environment.install(stand_in(tmp_path, "trainer", {"trainer/__init__.py": "import nowhere\n"}))
    status, summary = environment.own_files()
    assert status == "error" and "from trainer 1.0, instead of aios' own" in summary
    done = environment.run("-m", "aios", "train", "--help")
    assert done.returncode == 2 and "which belongs to trainer-1.0, not to aios" in done.stderr


def test_a_foreign_doctor_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    environment = Installed(tmp_path)
    (environment.site_packages / "clone.pth").write_text(str(ROOT), encoding="utf-8")
    environment.install(stand_in(tmp_path, "doctor", {"doctor/__init__.py": "import nowhere\n"}))
    done = environment.run("-m", "aios", "doctor", "--help")
    assert done.returncode == 2 and "which belongs to doctor-1.0, not to aios" in done.stderr
    assert "Traceback" not in done.stderr and "aios doctor --only" not in done.stderr
