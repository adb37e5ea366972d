"""`aios install` in an embeddable Python with python.org's layout, and in an environment made by `uv venv`.

`test_wine_other_python.py` installs into an embeddable Python from outside, as for ComfyUI portable.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.fresh_environment import link_dependencies
from tests.wine.real_installation import Installation, copy_pip, installing
from tests.wine.windows_box import REPOSITORY, FakePrograms, Windows, Wine

pytestmark = pytest.mark.wine

# The file as shipped, and the two usual edits that make it find packages
SHIPPED = "python311.zip\r\n.\r\n\r\n# Uncomment to run site.main() automatically\r\n#import site\r\n"
WITH_SITE = SHIPPED.replace("#import site", "import site")
WITHOUT_SITE = SHIPPED.replace(".\r\n", ".\r\nLib\\site-packages\r\n{behind}\r\n")


def make_embeddable(windows: Wine, folder: Path, path_file: str) -> None:
    """Make an embeddable Python: programs, DLLs and extension modules in one folder, the compiled library in an archive."""
    folder.mkdir()
    base = windows.box.python
    for file in (*base.iterdir(), *(base / "DLLs").iterdir()):
        if file.is_file():
            shutil.copy(file, folder)
    library = base / "Lib"
    with zipfile.ZipFile(folder / "python311.zip", "w") as archive:
        for file in sorted(library.rglob("*.pyc")):
            inside = file.relative_to(library)
            if "__pycache__" not in inside.parts and inside.parts[0] not in (
                "site-packages",
                "venv",
                "ensurepip",
            ):
                archive.write(file, inside.as_posix())
    # Without the torch of the box, so that pip can uninstall whatever this Python finds
    needed = link_dependencies(folder.with_name("behind"), library / "site-packages")
    behind = [windows.path(needed), windows.path(REPOSITORY)]
    (folder / "python311._pth").write_text(path_file.format(behind="\r\n".join(behind)), newline="")
    (folder / "Lib" / "site-packages").mkdir(parents=True)
    (folder / "Lib" / "site-packages" / "behind.pth").write_text("\n".join(behind) + "\n")


@pytest.mark.long
@pytest.mark.parametrize(
    "path_file",
    [
        pytest.param(WITH_SITE, id="import site"),
        pytest.param(WITHOUT_SITE, id="paths alone"),
    ],
)
def test_packages_are_installed_into_an_embeddable_python_and_undone(
    windows: Windows, workplace: Path, programs: FakePrograms, tmp_path: Path, path_file: str
) -> None:
    with installing(windows, workplace, programs, tmp_path / "www", inside="") as installation:
        make_embeddable(installation.machine.wine, installation.machine.venv, path_file)
        copy_pip(installation.machine.site_packages)
        site = installation.run("-c", "import sys; print(sys.flags.isolated, sys.flags.no_site)")
        assert site.stdout.split() == [b"1", b"0" if path_file == WITH_SITE else b"1"], site.stderr
        install_and_undo(installation)


def install_and_undo(installation: Installation) -> None:
    installation.flash_attn()
    before = installation.tree()
    answer = installation.install("torch", "flash-attn")
    assert answer["python"] == installation.python
    after = installation.tree()
    assert {"Scripts/torchrun.exe", "Lib/site-packages/flash_attn/__init__.py"} <= after.keys()
    assert installation.install("torch", "flash-attn")["status"] == "unchanged"
    installation.install("--undo")
    assert installation.tree() == before


def test_an_environment_made_by_uv_gets_pip_from_uv(
    windows: Windows, workplace: Path, programs: FakePrograms, tmp_path: Path
) -> None:
    with installing(windows, workplace, programs, tmp_path / "www") as installation:
        box = installation.machine.wine.box
        uv = box.python / "Lib" / "site-packages" / "bin" / "uv.exe"
        if not uv.is_file():
            pytest.skip("this box has no uv: set it up again")
        shutil.copy(uv, programs.folder)
        installation.machine.make_environment(REPOSITORY)
        stand_ins.repacked("pip", installation.server.folder / "index")
        installation.machine.environment |= {
            "UV_CACHE_DIR": windows.path(workplace / "cache"),
            "UV_DEFAULT_INDEX": f"{installation.server.address}/index/simple/",
            "UV_NO_CONFIG": "1",
            "UV_PYTHON": windows.path(box.python / "python.exe"),
        }
        install_and_undo(installation)
        assert not list(installation.machine.site_packages.glob("pip*"))
