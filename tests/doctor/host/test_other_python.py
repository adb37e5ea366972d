"""Another Python is found by a path and describes itself; each way in which that fails has its own sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from doctor.host import Found
from doctor.host.live import live_host
from doctor.host.other_python import (
    OtherPython,
    PythonError,
    find_python,
    interpreter_at,
    without_python_variables,
)
from doctor.host.pth_files import with_pth_files
from tests.doctor.install.elsewhere import make_uv_venv, python_of

POSIX = pytest.mark.skipif(os.name == "nt", reason="the programs of these tests are shell scripts")


def asked(python: Path, code: str) -> str:
    """What that Python prints when it is started as usual."""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


@POSIX
@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_an_older_python_is_refused(version: str) -> None:
    with pytest.raises(PythonError, match=r"aios supports 3\.8 and newer"):
        find_python(python_of(version))


@POSIX
@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "of Debian"])
def test_every_version_describes_itself_as_it_runs(version: str) -> None:
    python = Path("/usr/bin/python3") if version == "of Debian" else python_of(version)
    found = find_python(python)
    said = asked(
        python,
        "import sys, sysconfig, site; print(sys.prefix, sysconfig.get_path('purelib'), '%d.%d.%d' % sys.version_info[:3])",
    )
    assert f"{found.prefix} {found.site_packages} {found.python}" == said
    path = asked(python, "import sys; print('\\n'.join(p for p in sys.path if p))").splitlines()
    assert [entry for entry in found.search_path if Path(entry).exists()] == [
        entry for entry in path if Path(entry).exists()
    ]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment without pip, in a folder with a space and a Cyrillic letter."""
    folder = tmp_path / "мой env"
    venv.create(folder, symlinks=os.name != "nt")
    return folder


def packages_of(environment: Path) -> Path:
    return Path(find_python(environment).site_packages)


def test_a_virtual_environment_is_found_by_its_folder_and_by_its_program(environment: Path) -> None:
    found = find_python(environment)
    program = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python3")
    assert found == find_python(program)
    assert Path(found.prefix) == environment
    assert Path(found.site_packages).is_relative_to(environment)
    assert found.base_prefix == sys.base_prefix
    assert found.package_folders == (found.site_packages,), "neither the system's packages nor the user's"


@POSIX
def test_an_environment_of_uv_without_pip_is_described(tmp_path: Path) -> None:
    make_uv_venv(tmp_path / "env")
    found = find_python(tmp_path / "env")
    assert (found.prefix, found.python.split(".")[:2]) == (
        str(tmp_path / "env"),
        [str(part) for part in sys.version_info[:2]],
    )


@pytest.mark.parametrize("place", [".venv", "venv", "python_embeded", "installer_files/env"])
def test_the_python_of_an_application_is_found_in_its_folder(environment: Path, place: str) -> None:
    application = environment.parent / "application"
    (application / place).parent.mkdir(parents=True)
    environment.rename(application / place)
    assert interpreter_at(application).is_relative_to(application / place)


def test_system_packages_are_seen_if_the_environment_shows_them(environment: Path) -> None:
    settings = environment / "pyvenv.cfg"
    text = settings.read_text(encoding="utf-8").replace("packages = false", "packages = true")
    settings.write_text(text, encoding="utf-8")
    assert str(Path(sys.base_prefix)) in "\n".join(find_python(environment).package_folders)


# -- hostile environments
@POSIX
@pytest.mark.parametrize(
    "code",
    ["print('hello')", "import time; time.sleep(60)", "import os; os._exit(7)", "raise ValueError(1)", "import torch"],
)  # fmt: skip
def test_sitecustomize_and_pth_files_do_not_run(environment: Path, tmp_path: Path, code: str) -> None:
    packages = packages_of(environment)
    ran = tmp_path / "ran"
    for name, text in (
        ("sitecustomize.py", f"open({str(ran)!r}, 'w'); {code}\n"),
        ("usercustomize.py", f"open({str(ran)!r}, 'w'); {code}\n"),
        ("x.pth", f"import sys; open({str(ran)!r}, 'w'); exec({code!r})\n"),
    ):
        (packages / name).write_text(text, encoding="utf-8")
    assert find_python(environment, timeout=30).prefix == str(environment)
    assert not ran.exists()


@POSIX
def test_variables_and_the_current_folder_have_no_influence(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = find_python(environment)
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json.py", "site.py", "sitecustomize.py"):
        (here / name).write_text("raise SystemExit('it ran')\n", encoding="utf-8")
    shutil.copy("/bin/false", here / "python3")
    shutil.copy("/bin/false", here / "python.exe")
    monkeypatch.chdir(here)
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, str(here))
    assert find_python(environment) == plain
    monkeypatch.chdir(environment.parent)
    assert find_python(Path(environment.name)) == plain, "a relative path"


def test_a_process_of_another_python_gets_no_variable_that_changes_it() -> None:
    given = {"PYTHONHOME": "/x", "pythonpath": "/y", "PATH": "/bin", "VIRTUAL_ENV": "/z", "PYTHONNOUSERSITE": "1"}  # fmt: skip
    assert without_python_variables(given) == {"PATH": "/bin", "PYTHONNOUSERSITE": "1"}


# -- failures
@pytest.fixture
def program(tmp_path: Path) -> Path:
    return tmp_path / "python3"


def script(program: Path, text: str) -> Path:
    program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


# The texts of the programs: python/cpython PC/launcher.c and Modules/getpath.py, the alias of Windows, pyenv's shim
@POSIX
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("exit 0", "it printed nothing instead of an answer"),
        ("echo hello", "it printed 'hello' instead of an answer"),
        ("exit 3", "ended with exit code 3"),
        ("echo 'pyenv: python3.10: command not found' >&2; exit 127", "pyenv: python3.10: command not found"),
        (
            """echo "No Python at '\\"C:\\Python310\\python.exe'" >&2; exit 103""",
            r"whose Python no longer exists: C:\Python310\python.exe. Recreate the environment",
        ),
        (
            "echo 'Python was not found; run without arguments to install from the Microsoft Store' >&2; exit 9",
            "alias of the Microsoft Store, behind which no Python is installed",
        ),
        ("echo 'Unknown option: -I' >&2; exit 2", "is Python 2"),
        (
            """echo "ModuleNotFoundError: No module named 'encodings'" >&2; exit 1""",
            "The standard library of",
        ),
        ("echo 'aios-python: {\"python\": 3}'", "its answer is damaged (python:"),
    ],
)
def test_each_failure_has_its_message(program: Path, text: str, sentence: str) -> None:
    with pytest.raises(PythonError) as error:
        find_python(script(program, text))
    assert sentence in str(error.value)
    assert str(program) in str(error.value)


@POSIX
def test_a_program_that_hangs_is_ended(program: Path) -> None:
    with pytest.raises(PythonError, match=r"does not answer: .* did not answer within 0\.2 s"):
        find_python(script(program, "sleep 60"), timeout=0.2)


@POSIX
def test_a_file_that_is_not_a_program_is_refused_with_the_reason(program: Path) -> None:
    def said() -> str:
        with pytest.raises(PythonError) as error:
            find_python(program)
        return str(error.value)

    assert f"{program} does not exist" in said()
    program.write_bytes(b"text")
    program.chmod(0o755)
    assert "is not a program" in said()
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(57))
    assert "for another processor architecture" in said()
    program.unlink()
    program.symlink_to("/no/such/python3.9")
    assert "is a link to /no/such/python3.9, which no longer exists. Recreate the environment" in said()


def test_a_folder_without_a_python_and_a_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PythonError, match="No Python was found in"):
        find_python(tmp_path)
    with pytest.raises(PythonError, match=r"3\.12 is a version; this option takes a path"):
        find_python(tmp_path / "3.12")


@POSIX
def test_a_python_without_its_standard_library_is_damaged(tmp_path: Path) -> None:
    """A copied program finds no library. From what a half-removed installation leaves behind."""
    copy = tmp_path / "bin" / "python3"
    copy.parent.mkdir()
    # A copy of the real interpreter that looks only in its own, empty folder
    script(copy, f'PYTHONHOME="{tmp_path}" exec "{Path(sys.executable).resolve()}" -c pass')
    with pytest.raises(PythonError, match=r"The standard library of .* is missing or damaged: "):
        find_python(copy)


# -- the host
def install(packages: Path, name: str, version: str) -> None:
    folder = packages / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")


def test_the_host_describes_that_python(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = find_python(environment)
    install(Path(python.site_packages), "only_there", "1.0")
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    host, own = live_host(python), live_host()
    there = host.identity
    assert (there.prefix, there.other_python, own.identity.other_python) == (str(environment), True, False)
    assert (there.os, there.user, there.processor_count) == (
        own.identity.os,
        own.identity.user,
        own.identity.processor_count,
    )
    found = host.distribution("only-there")
    assert isinstance(found, Found) and found.value.location == python.site_packages
    listed = host.distributions()
    assert isinstance(listed, Found) and [each.name for each in listed.value] == ["only_there"]
    assert (host.variable("VIRTUAL_ENV"), own.variable("VIRTUAL_ENV")) == (None, sys.prefix)


def test_pth_files_add_existing_folders_and_run_no_code(tmp_path: Path) -> None:
    packages, added = tmp_path / "packages", tmp_path / "added"
    for folder in (packages, added):
        folder.mkdir()
    (packages / "a.pth").write_text(
        f"# comment\nimport os; os.mkdir('x')\n{added}\n../gone\n../added\n", "utf-8"
    )
    (packages / ".hidden.pth").write_text(str(tmp_path), "utf-8")
    assert [Path(each).resolve() for each in with_pth_files([str(packages)])] == [packages, added, added]


def test_a_damaged_answer_is_no_python() -> None:
    with pytest.raises(ValueError, match="executable"):
        OtherPython(
            python="3.12.1", implementation="cpython", bits=64, free_threaded=False, platform="linux-x86_64", executable="",
            prefix="/x", base_prefix="/x", site_packages="/x", scripts="/x", standard_path=(), package_folders=(), glibc=None,
        )  # fmt: skip
