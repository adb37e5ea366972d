"""`install.cmd`: which Python it uses, how it installs one, and that any folder name is safe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.wine.windows_box import HERE, REPOSITORY, Completed, Windows, c_compiler

pytestmark = pytest.mark.wine

WORKS = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
TOO_OLD = "import sys; print('Python 3.9.1 in C:\\\\old: aios needs 3.10 to 3.14'); sys.exit(1)"
STORE_STUB = "import sys; sys.stderr.write('Python was not found; run without arguments'); sys.exit(9009)"
CRASHES = "import os; os._exit(-1073741819)"
LAUNCHER = """
import subprocess, sys
version, *rest = sys.argv[1:]
if version not in {versions}:
    sys.stderr.write("No suitable Python runtime found")
    sys.exit(103)
print("launcher", version, flush=True)
sys.exit(subprocess.call([sys.executable, *rest]))
"""
WINGET = """
import os, pathlib, shutil, sys
here = pathlib.Path(__file__).parent
print("winget", *sys.argv[1:], flush=True)
target = pathlib.Path(os.environ["LOCALAPPDATA"], "Programs", "Python", "Python312")
target.mkdir(parents=True)
shutil.copy(here / "winget.exe", target / "python.exe")
(target / "python.py").write_text({works!r})
"""
SAYS_WHAT_IT_GOT = "import sys; print('install.py', ascii(sys.argv[1:])); sys.exit(7)"
PAGE = "https://www.python.org/downloads/windows/"


@dataclass(frozen=True)
class Machine:
    """A checkout whose `install.py` only prints its arguments, and a PATH with the fake programs alone."""

    windows: Windows
    folder: Path
    shim: Path

    @property
    def programs(self) -> Path:
        return self.folder / "programs"

    def add(self, name: str, script: str, folder: str = "programs") -> None:
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(self.shim, self.folder / folder / f"{name}.exe")
        (self.folder / folder / f"{name}.py").write_text(script, encoding="utf-8")

    def checkout(self, name: str) -> Path:
        scripts = self.folder / name / "scripts"
        scripts.mkdir(parents=True)
        for script in ("install.cmd", "suitable_python.py"):
            shutil.copy(REPOSITORY / "scripts" / script, scripts)
        (scripts / "install.py").write_text(SAYS_WHAT_IT_GOT, encoding="utf-8")
        for module in ("venv", "ensurepip"):  # a box may lack them
            (scripts / f"{module}.py").touch()
        return scripts.parent

    def run(
        self, line: str, folder: Path, *, answer: str = "", code_page: int = 1252, path: tuple[str, ...] = ()
    ) -> Completed:
        call = {
            "line": line,
            "folder": self.windows.path(folder),
            "path": [*path, self.windows.path(self.programs)],
            "variables": {
                "LOCALAPPDATA": self.windows.path(self.folder / "local"),
                "PROGRAMFILES": self.windows.path(self.folder / "program files"),
                "PYTHONHOME": "C:\\nowhere",
            },
            "answer": answer,
        }
        command = ["python", self.windows.path(HERE / "run_cmd.py"), json.dumps(call)]
        return self.windows.run(command, code_page=code_page)

    def install(self, *arguments: str, answer: str = "", path: tuple[str, ...] = ()) -> Completed:
        line = " ".join(["cmd /d /c scripts\\install.cmd", *arguments])
        return self.run(line, self.checkout("aios"), answer=answer, path=path)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("shim") / "shim.exe"
    source = HERE / "fakes" / "python_shim.c"
    subprocess.run([c_compiler(), "-O2", "-municode", "-o", program, source], check=True)
    return program


@pytest.fixture
def machine(windows: Windows, workplace: Path, shim: Path) -> Machine:
    (workplace / "programs").mkdir()
    return Machine(windows, workplace, shim)


def lines(done: Completed) -> list[str]:
    return done.stdout.decode("ascii").splitlines()


@pytest.mark.parametrize(
    ("versions", "taken"),
    [
        (["-3.10", "-3.11", "-3.12", "-3.13", "-3.14"], "-3.12"),
        (["-3.14", "-3.11", "-3.13"], "-3.13"),
        (["-3.9", "-3.14"], "-3.14"),
    ],
)
def test_the_launcher_is_asked_for_the_best_covered_version(
    machine: Machine, versions: list[str], taken: str
) -> None:
    machine.add("py", LAUNCHER.format(versions=versions))
    machine.add("python", CRASHES)
    done = machine.install("C:\\x", "--yes")
    assert lines(done) == [f"launcher {taken}", f"launcher {taken}", "install.py ['C:\\\\x', '--yes']"]
    assert done.returncode == 7


def test_the_usual_folders_are_searched_if_path_has_no_python(machine: Machine) -> None:
    machine.add("python", WORKS, "local/Programs/Python/Python311")
    machine.add("python", CRASHES, "local/Programs/Python/Python310")
    done = machine.install()
    assert (lines(done), done.returncode) == (["install.py []"], 7)


def test_a_stub_a_crash_and_an_old_python_on_path_are_skipped(machine: Machine) -> None:
    for name, script in (("stub", STORE_STUB), ("crash", CRASHES), ("old", TOO_OLD)):
        machine.add("python", script, f"{name} & (co)")
    machine.add("python", WORKS)
    folders = [machine.windows.path(machine.folder / f"{name} & (co)") for name in ("stub", "crash", "old")]
    done = machine.install(path=(f'"{folders[0]}"', *folders[1:], ""))
    assert lines(done) == ["Python 3.9.1 in C:\\old: aios needs 3.10 to 3.14", "install.py []"]
    assert done.returncode == 7


def test_without_any_python_it_says_what_to_do(machine: Machine) -> None:
    machine.add("python", STORE_STUB)
    done = machine.install("--yes")
    assert done.returncode == 1
    assert lines(done)[-1].strip() == PAGE


@pytest.mark.parametrize(
    ("arguments", "answer", "terms"),
    [
        (["--yes"], "", " --accept-package-agreements --accept-source-agreements"),
        (['"C:\\a b"', "--yes"], "", " --accept-package-agreements --accept-source-agreements"),
        ([], "y\r\n", ""),
        ([], "YES\r\n", ""),
    ],
)
def test_winget_installs_python_with_permission(
    machine: Machine, arguments: list[str], answer: str, terms: str
) -> None:
    machine.add("winget", WINGET.format(works=WORKS))
    done = machine.install(*arguments, answer=answer)
    said = done.stdout.decode("ascii")
    assert f"winget install --id Python.Python.3.12 --exact --source winget{terms}\r\n" in said
    assert lines(done)[-1].startswith("install.py [")
    assert done.returncode == 7


@pytest.mark.parametrize("answer", ["", "\r\n", "n\r\n", "yesterday\r\n"])
def test_winget_is_not_run_without_permission(machine: Machine, answer: str) -> None:
    machine.add("winget", WINGET.format(works=WORKS))
    done = machine.install(answer=answer)
    assert done.returncode == 1
    assert lines(done)[-1].strip() == PAGE
    assert not (machine.folder / "local").exists()


def test_a_failed_winget_leaves_the_manual_instructions(machine: Machine) -> None:
    machine.add("winget", "import sys; sys.exit(-1978335212)")
    done = machine.install("--yes")
    assert (done.returncode, lines(done)[-1].strip()) == (1, PAGE)


def test_uv_installs_python_without_winget(machine: Machine) -> None:
    if machine.windows.is_wine:
        pytest.skip("Wine's cmd reads no program's output in FOR /F")
    machine.add("python", WORKS, "uv's pythons")
    brought = machine.windows.path(machine.folder / "uv's pythons" / "python.exe")
    machine.add("uv", f"import sys; print({brought!r} if 'find' in sys.argv else 'uv installs')")
    done = machine.install("--yes")
    assert lines(done)[-2:] == ["uv installs", "install.py ['--yes']"]
    assert done.returncode == 7


@pytest.mark.parametrize(
    "name", ["a b", "a & b", "(co)", "c ^ d", "!x!", "it's, a=b", "Zoë Wiśniewska", "100% %OS%"]
)
def test_any_folder_name_is_safe(machine: Machine, name: str) -> None:
    if "%" in name and machine.windows.is_wine:
        pytest.skip("Wine's cmd expands the value of %~dp0 twice")
    machine.add("python", WORKS, f"programs/{name}")
    checkout = machine.checkout(name)
    path = (machine.windows.path(machine.programs / name),)
    for line, folder in (("scripts\\install.cmd", checkout), ("install.cmd", checkout / "scripts")):
        done = machine.run(f'cmd /d /c {line} "C:\\{name}"', folder, path=path)
        assert done.returncode == 7, done.stdout
        assert lines(done)[-1].startswith("install.py [")


@pytest.mark.parametrize("code_page", [1250, 1251])
def test_other_code_pages_are_supported(machine: Machine, code_page: int) -> None:
    machine.add("python", WORKS)
    done = machine.run("cmd /d /c scripts\\install.cmd", machine.checkout("Zoë"), code_page=code_page)
    assert (lines(done), done.returncode) == (["install.py []"], 7)


def test_a_script_unpacked_alone_explains_what_is_missing(machine: Machine) -> None:
    checkout = machine.checkout("aios")
    (checkout / "scripts" / "install.py").unlink()
    done = machine.run("cmd /d /c scripts\\install.cmd", checkout)
    assert done.returncode == 1
    assert "Unpack all of aios" in lines(done)[-1]


def test_a_key_is_awaited_only_after_a_double_click(machine: Machine) -> None:
    if machine.windows.is_wine:
        pytest.skip("Wine's cmd has no CMDCMDLINE")
    machine.add("python", WORKS)
    checkout = machine.checkout("a b")
    script = machine.windows.path(checkout / "scripts" / "install.cmd")
    called = machine.run(f'cmd /c ""{script}""', checkout)
    clicked = machine.run(f'cmd /c ""{script}" "', checkout, answer="\r\n")
    assert called.returncode == clicked.returncode == 7
    assert len(clicked.stdout.split()) > len(called.stdout.split())


def test_the_default_folder_if_the_drive_is_not_writable(machine: Machine) -> None:
    code = (
        "import os, sys; scripts, os.environ['SYSTEMDRIVE'], os.environ['LOCALAPPDATA'] = sys.argv[1:]; "
        "sys.path.insert(0, scripts); import install; print(install.default_folder().as_posix())"
    )
    usual, own = machine.folder / "drive", machine.folder / "local"
    (machine.folder / "a file").touch()
    own.mkdir()

    def default(drive: Path) -> list[str]:
        paths = map(machine.windows.path, (REPOSITORY / "scripts", drive, own))
        done = machine.windows.run(["python", "-c", code, *paths], environment={"PYTHONUTF8": "1"})
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().splitlines()

    usual.mkdir()
    assert default(usual)[-1].endswith("/drive/aios/.venv")
    assert not any((usual / "aios").iterdir()), "the check leaves no file"
    said = default(machine.folder / "a file")
    assert said[-1].endswith("/local/aios/.venv")
    assert "cannot be written to" in said[0]


@pytest.mark.slow
def test_install_cmd_installs_the_doctor(windows: Windows, workplace: Path) -> None:
    """Without a terminal every question is declined, so nothing on this machine is changed."""
    if windows.is_wine:
        pytest.skip("test_wine_first_install runs it in the box, with its own index")
    venv = workplace / "Zoë" / ".venv"
    command = ["cmd", "/d", "/c", str(REPOSITORY / "scripts" / "install.cmd"), str(venv)]
    state = {"AIOS_HOME": str(workplace / "state"), "PYTHONPATH": ""}
    first = windows.run(command, admin=_is_admin(), environment=state)
    assert first.returncode == 1, first.stdout + first.stderr
    assert b"The doctor is installed" in first.stdout
    before = {file: file.stat().st_mtime_ns for file in venv.rglob("*")}
    windows.run(command, admin=_is_admin(), environment=state)
    assert {file: file.stat().st_mtime_ns for file in venv.rglob("*")} == before
    doctor = [str(venv / "Scripts" / "aios.exe"), "doctor", "--only", "python-version"]
    assert windows.run(doctor, admin=_is_admin(), environment=state).returncode == 0


def _is_admin() -> bool:
    import ctypes

    return os.name == "nt" and bool(ctypes.windll.shell32.IsUserAnAdmin())  # type: ignore[attr-defined]
