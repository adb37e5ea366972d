"""flash-attn and flash-attn-4 may both contain the folder flash_attn/cute: one never overwrites the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctor.host import Distribution
from doctor.install.affected_files import Scheme
from doctor.install.overwritten_files import why_overwritten
from doctor.install.wheel_file import WheelFile

OLD = ("flash_attn/__init__.py", "flash_attn_2_cuda.pyd")
CUTE = ("flash_attn/cute/__init__.py", "flash_attn/cute/interface.py")


def wheel(name: str, version: str, *members: str) -> WheelFile:
    return WheelFile(Path(f"{name}.whl"), name, version, members, 0, ())


@pytest.fixture
def scheme(tmp_path: Path) -> Scheme:
    return Scheme(tmp_path, tmp_path / "site", tmp_path / "include", tmp_path / "bin")


def installed(scheme: Scheme, name: str, version: str, *members: str) -> dict[str, Distribution]:
    folder = scheme.packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "RECORD").write_text("".join(f"{member},,\n" for member in members), encoding="utf-8")
    return {name: Distribution(name=name, version=version, location=str(scheme.packages))}


def test_without_the_shared_folder_both_can_be_installed(scheme: Scheme) -> None:
    there = installed(scheme, "flash-attn", "2.8.3", *OLD)
    assert why_overwritten([wheel("flash-attn-4", "4.0.0b36", *CUTE)], there, scheme) is None


@pytest.mark.parametrize("first", ["flash-attn", "flash-attn-4"])
def test_the_second_one_is_refused(scheme: Scheme, first: str) -> None:
    both = {"flash-attn": ("2.8.3", *OLD, *CUTE), "flash-attn-4": ("4.0.0b36", *CUTE)}
    there = installed(scheme, first, *both[first])
    (second,) = both.keys() - {first}
    why = why_overwritten([wheel(second, *both[second])], there, scheme)
    assert why is not None
    assert f"{second} {both[second][0]} and {first} {both[first][0]} contain 2 files of the same name" in why
    assert "flash_attn/cute/__init__.py" in why and why.endswith(f"pip uninstall {first}")
    new = [wheel(name, *parts) for name, parts in both.items()]
    assert why_overwritten(new, {}, scheme) is not None, "both in one plan"


def test_a_new_version_of_the_same_package_is_no_conflict(scheme: Scheme) -> None:
    there = installed(scheme, "flash-attn-4", "4.0.0b35", *CUTE)
    assert why_overwritten([wheel("flash-attn-4", "4.0.0b36", *CUTE)], there, scheme) is None


def test_other_packages_share_files_freely(scheme: Scheme) -> None:
    there = installed(scheme, "nvidia-cublas", "13.0", "nvidia/__init__.py")
    assert why_overwritten([wheel("nvidia-cudnn", "9.0", "nvidia/__init__.py")], there, scheme) is None
