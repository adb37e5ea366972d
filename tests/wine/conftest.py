"""A Windows machine, a folder for each test in its user's folder, and the live registry, restored afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wine.windows_box import (
    HERE,
    Aios,
    Completed,
    FakePrograms,
    NativeWindows,
    Registry,
    Windows,
    Wine,
    c_compiler,
)


@pytest.fixture(scope="session")
def windows() -> Windows:
    if os.name == "nt":
        return NativeWindows()
    if sys.platform != "linux":
        pytest.skip("neither Windows nor Linux with Wine")
    return Wine()


@pytest.fixture
def workplace(windows: Windows) -> Iterator[Path]:
    """An empty folder below the user's folder; under Wine, its path has a space and non-ASCII letters."""
    folder = windows.user_folder() / f"aios test {uuid.uuid4().hex[:8]}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def aios(windows: Windows, workplace: Path) -> Aios:
    """Run `aios` with its state in the test's folder. Options are those of `Windows.run`."""

    def run(*arguments: str, **options: Any) -> Completed:
        environment = {"AIOS_HOME": windows.path(workplace / "state"), **options.pop("environment", {})}
        return windows.run(["python", "-m", "aios", *arguments], environment=environment, **options)

    return run


@pytest.fixture
def registry(windows: Windows) -> Iterator[Registry]:
    """The live registry; changes are reverted after the test."""
    live = Registry(windows)
    before = live.snapshot()
    yield live
    live.restore(before)


@pytest.fixture(scope="session")
def player(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that fake programs are copies of."""
    program = tmp_path_factory.mktemp("player") / "player.exe"
    source = HERE / "fakes" / "fake_program.c"
    subprocess.run([c_compiler(), "-O2", "-municode", "-o", program, source], check=True)
    return program


@pytest.fixture
def programs(workplace: Path, player: Path) -> FakePrograms:
    folder = workplace / "programs"
    folder.mkdir()
    return FakePrograms(folder, player)
