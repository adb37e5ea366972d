"""The built distribution contains the data of the package."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from wheels.catalogue import SHIPPED

ROOT = Path(__file__).parents[2]
DATA = {"wheels/catalogue.json", "wheels/compatibility.json", "wheels/schemas/catalogue.schema.json"}
TYPED = {f"{package}/py.typed" for package in ("doctor", "trainer", "wheels")}


def test_the_distribution_contains_the_catalogue_the_tables_and_py_typed(tmp_path: Path) -> None:
    builders = pytest.importorskip("hatchling.builders.wheel")
    (built,) = builders.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        assert set(archive.namelist()) >= DATA | TYPED
        packed = archive.getinfo("wheels/catalogue.json")
    assert packed.file_size == SHIPPED.stat().st_size
    assert packed.compress_size < 80_000, "it compresses well, because each row mostly repeats the one before"


def test_the_distribution_contains_the_whole_package() -> None:
    tomllib = pytest.importorskip("tomllib")
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert "wheels" in build["targets"]["wheel"]["only-include"]
    assert "wheels" not in build["targets"]["sdist"]["exclude"]
