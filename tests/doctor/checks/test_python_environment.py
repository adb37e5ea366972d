"""The pyvenv.cfg files of venv, virtualenv and uv are understood, and damaged ones are not mistaken for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.probes.pip_cache import parse_wheel
from doctor.probes.python import parse_activation, parse_settings

VENV_311 = 'VIRTUAL_ENV="/home/zoë b/.venv"\nexport VIRTUAL_ENV\nPATH="$VIRTUAL_ENV/bin:$PATH"\n'
VENV_313 = """\
case "$(uname)" in
    CYGWIN*|MSYS*|MINGW*)
        VIRTUAL_ENV=$(cygpath '/srv/env')
        export VIRTUAL_ENV
        ;;
    *)
        export VIRTUAL_ENV='/srv/env'
        ;;
esac
"""
UV_SH = 'VIRTUAL_ENV=\'/srv/env\'\nif ([ "$OSTYPE" = "cygwin" ]); then\n    VIRTUAL_ENV=$(cygpath -u "$VIRTUAL_ENV")\nfi\n'
UV_SH_RELOCATABLE = 'VIRTUAL_ENV=\'\'"$(dirname -- "$(dirname -- "$(realpath -- "$SCRIPT_PATH")")")"\'\'\n'
VENV_BAT = "@echo off\r\nset VIRTUAL_ENV=C:\\aios\\.venv\r\nif not defined PROMPT set PROMPT=$P$G\r\n"
VENV_BAT_312 = (
    '@echo off\r\nset "VIRTUAL_ENV=C:\\Zoë B\\.venv"\r\nset "PATH=%VIRTUAL_ENV%\\Scripts;%PATH%"\r\n'
)
UV_BAT = '@for %%i in ("C:\\aios\\.venv") do @set "VIRTUAL_ENV=%%~fi"\r\n@if defined VIRTUAL_ENV_DISABLE_PROMPT @goto :X\r\n'
UV_BAT_RELOCATABLE = '@for %%i in ("%~dp0..") do @set "VIRTUAL_ENV=%%~fi"\r\n'


@pytest.mark.parametrize(
    ("script", "path"),
    [
        (VENV_311, "/home/zoë b/.venv"),
        (VENV_313, "/srv/env"),
        (UV_SH, "/srv/env"),
        (UV_SH_RELOCATABLE, None),
        (VENV_BAT, "C:\\aios\\.venv"),
        (VENV_BAT_312, "C:\\Zoë B\\.venv"),
        (UV_BAT, "C:\\aios\\.venv"),
        (UV_BAT_RELOCATABLE, None),
        ("", None),
        ("VIRTUAL_ENV='/srv/Zoë'\"'\"'s/venv'\nexport VIRTUAL_ENV", "/srv/Zoë's/venv"),
        ('VIRTUAL_ENV="/srv/Zoë\'s/venv"', "/srv/Zoë's/venv"),
        ('set "VIRTUAL_ENV=C:\\Zoë\'s\\venv"', "C:\\Zoë's\\venv"),
    ],
)
def test_activation_scripts_contain_the_original_path(script: str, path: str | None) -> None:
    assert parse_activation(script) == path


def test_the_pyvenv_cfg_of_this_python_is_parsed(tmp_path: Path) -> None:
    folder = tmp_path / "Zoë's environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    settings = parse_settings((folder / "pyvenv.cfg").read_text(encoding="utf-8"))
    assert settings["version"] == ".".join(map(str, sys.version_info[:3]))
    assert Path(settings["home"]).is_dir()
    script = folder / ("Scripts/activate.bat" if sys.platform == "win32" else "bin/activate")
    assert parse_activation(script.read_text(encoding="utf-8")) == str(folder)


@given(st.text())
def test_any_text_can_be_parsed_as_pyvenv_cfg(text: str) -> None:
    assert repr((parse_settings(text), parse_activation(text)))


@pytest.mark.parametrize(
    ("file", "pythons"),
    [
        ("flash_attn-2.8.3-cp312-cp312-win_amd64.whl", ("cp312",)),
        ("xformers-0.0.33-cp39-abi3-win_amd64.whl", ("abi3",)),
        ("xformers-0.0.35-py39-none-win_amd64.whl", ("py39",)),
    ],
)
def test_wheels_of_the_attention_packages_are_recognized(file: str, pythons: tuple[str, ...]) -> None:
    wheel = parse_wheel(file)
    assert wheel is not None and wheel.pythons == pythons


@given(st.text() | st.text().map(lambda t: f"flash_attn-{t}-cp312-cp312-win_amd64.whl"))
def test_other_files_are_ignored(file: str) -> None:
    wheel = parse_wheel(file)
    assert wheel is None or wheel.name in ("flash-attn", "xformers")
