"""A virtual environment for a test, `aios install` run in it as a user runs it, and its contents."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.doctor.install.loopback import Server

REPOSITORY = Path(__file__).parents[3]
SMI = """#!{python} -I
import sys
if any(argument.startswith("--query-gpu") for argument in sys.argv):
    print("0, NVIDIA GeForce RTX 4090, {driver}, 8.9, 24564")
else:
    print("CUDA Version: 13.0")
"""
Tree = dict[str, str]


@dataclass
class Environment:
    """An environment. `programs` is first on PATH; `state` is AIOS_HOME."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def venv(self) -> Path:
        return self.folder / "env"

    @property
    def python(self) -> Path:
        return self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self) -> Path:
        lib = self.venv / (
            "Lib" if os.name == "nt" else f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
        )
        return lib / "site-packages"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def spare(self) -> Path:
        """A copy of the environment as it was made."""
        return self.folder / "spare"

    @property
    def programs(self) -> Path:
        return self.folder / "programs"

    def use(self, server: Server) -> None:
        self.variables |= server.environment()

    def with_gpu(self, driver: str = "581.80") -> None:
        """Pretend an RTX 4090."""
        smi = self.programs / "nvidia-smi"
        smi.write_text(SMI.format(python=sys.executable, driver=driver))
        smi.chmod(0o755)

    def all_variables(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "AIOS_", "UV_"))
        }
        return {
            **kept,
            "PATH": f"{self.programs}{os.pathsep}{kept['PATH']}",
            "AIOS_HOME": str(self.state),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.variables,
        }

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "aios", *arguments]

    def aios(self, *arguments: str, python: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python or self.python), *self.command(*arguments)[1:]],
            cwd=self.folder,
            env=self.all_variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )

    def install(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """Run `aios install --yes --json` and return its answer."""
        yes = [] if "--undo" in arguments or "--dry-run" in arguments else ["--yes"]
        done = self.aios("install", "--json", *yes, *arguments)
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def pip(self, *arguments: str) -> None:
        subprocess.run(
            [str(self.python), "-m", "pip", *arguments, "--disable-pip-version-check", "-q"],
            env=self.all_variables(),
            check=True,
        )

    def tree(self) -> Tree:
        return tree_of(self.venv)

    def version(self, name: str) -> str | None:
        """The installed version according to the metadata on disk."""
        found = [p.name for p in self.site_packages.glob(f"{name.replace('-', '_')}-*.dist-info")]
        assert len(found) <= 1, found
        return found[0].removesuffix(".dist-info").rpartition("-")[2] if found else None


def tree_of(folder: Path) -> Tree:
    """Every file below the folder with its hash; and every folder, so that leftover empty ones are found."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name + "/"] = ""
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def make_environment(folder: Path, *maker: str) -> Environment:
    """Make an environment with `venv` and pip, or with `maker`; this project and its dependencies are added to its path."""
    environment = Environment(folder)
    environment.programs.mkdir(parents=True)
    subprocess.run([*(maker or (sys.executable, "-m", "venv")), str(environment.venv)], check=True)
    add_aios(environment)
    return environment


def add_aios(environment: Environment) -> None:
    """Add this project and the packages that it imports after those of the environment."""
    behind = link_dependencies(environment.folder / "behind", Path(sysconfig.get_path("purelib")))
    (environment.site_packages / "behind.pth").write_text(f"{behind}\n{REPOSITORY}\n", encoding="utf-8")


def link_dependencies(folder: Path, source: Path, *more: str) -> Path:
    """Link the packages that this project imports from another Python's site-packages, without torch.

    The compiled files come with them: PYTHONDONTWRITEBYTECODE keeps each process from writing them.
    """
    folder.mkdir()
    wanted = (
        "typer", "rich", "packaging", "yaml", "_yaml", "pydantic", "pydantic_core", "psutil", "pynvml", "platformdirs", "shellingham",
        "filelock", "markdown_it", "mdurl", "pygments", "typing_extensions", "annotated_types", "typing_inspection", "click", "annotated_doc", "colorama",
    )  # fmt: skip
    for entry in source.iterdir():
        if entry.name.partition(".")[0].partition("-")[0] in (*wanted, *more):
            if entry.is_dir():
                shutil.copytree(entry, folder / entry.name, copy_function=_link)
            else:
                _link(entry, folder / entry.name)
    return folder


def _link(source: Any, target: Any) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
