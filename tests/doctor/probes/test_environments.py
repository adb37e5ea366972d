"""The environments of a laid-out home are all found, whose they are and what they hold; other folders are not read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import jsonschema
import pytest
from make_schemas import schema

from doctor.host import Host, Reading
from doctor.host.live import live_host
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.probes.environments import environments
from doctor.runs.environment_list import EnvironmentList, ListedEnvironment, list_environments
from tests.doctor.calls import run
from tests.doctor.fake_machine import identity

POSIX = pytest.mark.skipif(os.name == "nt", reason="the layout is that of Linux")
TORCH = {True: ("2.13.0+cu130", "'13.0'"), False: ("2.13.0+cpu", "None")}

# Where applications keep their environment below a home, and whose it is
# (StabilityMatrix, pinokio, textgen, LM Studio, unsloth: paths in issues and scripts of their users)
LAYOUT = {
    "ComfyUI/.venv": "ComfyUI",
    "AI/ComfyUI_portable/python_embeded": "ComfyUI",
    "Documents/kohya_ss/venv": "kohya_ss",
    "stable-diffusion-webui-forge/venv": "Forge",
    "src/stable-diffusion-webui/venv": "A1111",
    "text-generation-webui/installer_files/env": "text-generation-webui",
    "apps/OneTrainer/venv": "OneTrainer",
    "StabilityMatrix/Data/Packages/ComfyUI/venv": "Stability Matrix",
    "pinokio/api/wan.git/app/env": "Pinokio",
    ".unsloth/studio/unsloth_studio": "unsloth",
    ".lmstudio/extensions/backends/vendor/_amphibian/cpython3.11-linux-x86@3": "LM Studio",
    "miniforge3/envs/torch": "conda",
    "elsewhere/by conda": "conda",
    ".local/share/uv/python/cpython-3.12.1-linux-x86_64-gnu": "uv",
    ".local/share/uv/tools/ruff": "uv tool",
    ".pyenv/versions/3.11.7": "pyenv",
    "work/.venv": "this folder",
}


def make(folder: Path, *, cuda: bool = True, home: str = "/usr/bin") -> Path:
    """An environment as it lies on the disk, with torch and flash-attn."""
    packages = folder / "lib" / "python3.12" / "site-packages"
    (packages / "torch").mkdir(parents=True)
    version, tag = TORCH[cuda]
    (packages / "torch" / "version.py").write_text(f"__version__ = '{version}'\ncuda = {tag}\n", "utf-8")
    for name, release, size in (("torch", "2.13.0", 2000), ("flash_attn", "2.8.3", 500)):
        info = packages / f"{name}-{release}.dist-info"
        info.mkdir()
        (info / "RECORD").write_text(f"a.py,sha256=x,{size}\n{info.name}/RECORD,,\n", "utf-8")
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").touch()
    (folder / "pyvenv.cfg").write_text(f"home = {home}\nversion = 3.12.1\n", "utf-8")
    return folder


class Counted:
    """A host that counts the folders that are listed."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.listed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def list_directory(self, path: str) -> Reading[tuple[str, ...]]:
        self.listed.append(path)
        return self._host.list_directory(path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "zoë b"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in (
        "PYENV_ROOT",
        "UV_PYTHON_INSTALL_DIR",
        "UV_TOOL_DIR",
        "XDG_DATA_HOME",
        "APPDATA",
        "LOCALAPPDATA",
    ):
        monkeypatch.delenv(name, raising=False)
    return folder


def lay_out(home: Path) -> None:
    for place in LAYOUT:
        make(home / place)
    (home / ".conda").mkdir()
    (home / ".conda" / "environments.txt").write_text(f"{home}/elsewhere/by conda\n{home}/gone\n", "utf-8")


@POSIX
def test_all_are_found_and_a_thousand_other_folders_are_not_read(home: Path) -> None:
    lay_out(home)
    for number in range(1000):
        (home / f"project {number} venv").mkdir()
    host = Counted(live_host())
    found = list(environments(host, str(home / "work")))
    assert {each.folder.removeprefix(f"{home}/"): each.owner for each in found} == LAYOUT
    assert not [path for path in host.listed if "project " in path]
    assert len(host.listed) < 500


@POSIX
def test_each_is_described_by_its_files(home: Path) -> None:
    make(home / "ComfyUI" / ".venv")
    [found] = environments(live_host(), str(home))
    [listed] = list_environments([found], has_gpu=True).environments
    assert listed == ListedEnvironment(
        path=str(home / "ComfyUI" / ".venv"), owner="ComfyUI", status="ok", python="3.12.1", torch="2.13.0+cu130", cuda="13.0",
        packages={"flash-attn": "2.8.3"}, size=2500,
    )  # fmt: skip


def status_of(environment: Path, has_gpu: bool = True) -> tuple[str, str]:
    [found] = [
        each for each in environments(live_host(), str(environment.parent)) if each.owner == "this folder"
    ]
    [listed] = list_environments([found], has_gpu).environments
    return listed.status, "; ".join(listed.problems)


@POSIX
def test_the_status_names_what_is_wrong(home: Path) -> None:
    folder = make(home / ".venv", cuda=False)
    assert status_of(folder, has_gpu=False) == ("ok", "")
    status, problem = status_of(folder)
    assert (status, "is a CPU build, and this machine has an NVIDIA GPU" in problem) == ("warnings", True)
    (folder / "lib/python3.12/site-packages/torch/version.py").unlink()
    assert status_of(folder) == ("broken", "torch is damaged: torch/version.py is missing")
    (folder / "pyvenv.cfg").write_text("home = /no/such/bin\nversion = 3.9.1\n", "utf-8")
    assert "its Python no longer exists: /no/such/bin" in status_of(folder)[1]
    (folder / "bin" / "python3").unlink()
    assert "it has no interpreter" in status_of(folder)[1]


@POSIX
def test_the_command_lists_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(home)
    monkeypatch.chdir(home / "work")
    done = run("environments", "--json")
    answer = json.loads(done.stdout)
    jsonschema.Draft202012Validator(schema(EnvironmentList)).validate(answer)
    paths = [each["path"] for each in answer["environments"]]
    assert sorted(paths) == sorted(str(home / place) for place in LAYOUT)
    printed = run("environments").stdout
    assert all(place in printed for place in LAYOUT)
    assert f'aios doctor --python "{home}' in printed


def windows(tree: Mapping[str, str | None], registry: Mapping[str, Any]) -> RecordedHost:
    """A recorded Windows machine with these files (None: a folder) and registry values."""
    directories: dict[str, set[str]] = {"C:\\": set()}
    for path in tree:
        steps = PureWindowsPath(path)
        directories.setdefault(str(steps), set()) if tree[path] is None else None
        for child, parent in zip((steps, *steps.parents), steps.parents, strict=False):
            directories.setdefault(str(parent), set()).add(child.name)
    return RecordedHost(
        RecordedMachine.model_validate(
            {
                "identity": identity(),
                "environment": {"APPDATA": r"C:\Users\Zoë B\AppData\Roaming", "SystemDrive": "C:"},
                "volumes": {"C:\\": {"root": "C:\\", "kind": "fixed", "file_system": "NTFS", "total_bytes": 1, "free_bytes": 1}},
                "directories": {path: sorted(names) for path, names in directories.items()},
                "files": {path: {"text": text} for path, text in tree.items() if text is not None},
                **registry,
            }
        )
    )  # fmt: skip


def test_windows_lists_the_registry_and_the_usual_places() -> None:
    portable = r"C:\AI\ComfyUI_windows_portable\python_embeded"
    package = r"C:\Users\Zoë B\AppData\Roaming\StabilityMatrix\Packages\ComfyUI\venv"
    key = r"HKLM\SOFTWARE\Python"
    host = windows(
        {
            rf"{portable}\python.exe": "",
            rf"{portable}\python312.dll": "",
            rf"{portable}\python312._pth": "import site",
            rf"{portable}\Lib\site-packages\torch\version.py": "__version__ = '2.9.0+cu128'\ncuda = '12.8'\n",
            rf"{portable}\Lib\site-packages\torch-2.9.0.dist-info\RECORD": "a,b,7\n",
            rf"{package}\Scripts\python.exe": "",
            rf"{package}\pyvenv.cfg": "home = C:\\Python310\nversion_info = 3.10.11\n",
            r"C:\Python313\python.exe": "",
            r"C:\Python313\python313.dll": "",
        },
        {
            "registry_subkeys": {key: ["PythonCore"], rf"{key}\PythonCore": ["3.13"]},
            "registry": {rf"{key}\PythonCore\3.13\InstallPath": {"": {"type": "REG_SZ", "value": "C:\\Python313\\"}}},
        },
    )  # fmt: skip
    listed = list_environments(environments(host, "C:\\Users\\Zoë B"), has_gpu=True).environments
    assert {
        each.path.rstrip("\\"): (each.owner, each.python, each.torch, each.status) for each in listed
    } == {
        r"C:\Python313": ("Python", "3.13", None, "ok"),
        package: ("Stability Matrix", "3.10.11", None, "broken"),
        portable: ("ComfyUI", "3.12", "2.9.0+cu128", "ok"),
    }
