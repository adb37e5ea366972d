"""The line that is run with administrator rights, through the real cmd.exe and reg.exe, in a hostile user's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.wine.windows_box import HERE, LONG_PATHS, REG_DWORD, FakePrograms, Registry, Windows

pytestmark = pytest.mark.wine

KEY, NAME = LONG_PATHS
CANARY = "import pathlib; pathlib.Path(r'{}').write_text('ran')\n"


@pytest.fixture
def hostile(programs: FakePrograms, workplace: Path, windows: Windows) -> tuple[Path, dict[str, str]]:
    """A folder and variables in which everything that a user can put in the way would leave a file."""
    for name in ("reg", "cmd", "python"):
        programs.add(name, prints=b"hostile", end="7")
    ran = windows.path(workplace / "ran.txt")
    for name in ("sitecustomize.py", "usercustomize.py"):
        (programs.folder / name).write_text(CANARY.format(ran), encoding="utf-8")
    (programs.folder / "x.pth").write_text(CANARY.format(ran), encoding="utf-8")
    here = windows.path(programs.folder)
    return workplace / "ran.txt", {"PYTHONPATH": here, "COMSPEC": f"{here}\\cmd.exe", "PATHEXT": ".PY;.EXE"}


@pytest.mark.parametrize("values", [[1], [None], [1, 8]], ids=["one value", "removed", "two values"])
def test_the_line_changes_these_values_and_runs_nothing_of_the_users(
    windows: Windows,
    registry: Registry,
    programs: FakePrograms,
    hostile: tuple[Path, dict[str, str]],
    values: list[int | None],
) -> None:
    ran, variables = hostile
    names = (NAME, "aios test of two values")[: len(values)]
    before = registry.change(*((KEY, name, "REG_DWORD", 0) for name in names))
    changes = [[KEY, name, value] for name, value in zip(names, values, strict=True)]
    command = [
        windows.path(HERE / "elevated_command_tool.py"),
        json.dumps(changes),
        windows.path(programs.folder),
    ]
    del variables["PYTHONPATH"]  # the tool itself is not elevated; it needs this project
    done = windows.run(["python", *command], environment=variables, programs=programs.folder)
    assert done.stdout.split()[-1:] == [b"0"], done
    assert b"hostile" not in done.stdout
    assert not ran.exists()
    after = registry.snapshot()
    expected = {
        name: [REG_DWORD, value] for name, value in zip(names, values, strict=True) if value is not None
    }
    found = {name: value for name, value in (after[KEY] or {}).items() if name in names}
    registry.change(*((KEY, name, None, None) for name in names[1:]))
    assert found == expected
    assert {key: value for key, value in after.items() if key != KEY} == {
        key: value for key, value in before.items() if key != KEY
    }
