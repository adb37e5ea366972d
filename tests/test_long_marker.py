"""Tests marked `long` run only when they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE = "import pytest\n\n@pytest.mark.long\ndef test_hours(): ...\n\ndef test_seconds(): ...\n"


class Collected:
    """A plugin that stores the names of the selected tests."""

    names: frozenset[str] = frozenset()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.names = frozenset(item.name for item in session.items)


@pytest.mark.parametrize(
    ("arguments", "selected"),
    [([], {"test_seconds"}), (["-m", "not wine"], {"test_seconds"}), (["-m", "long"], {"test_hours"})],
    ids=["default", "another-marker", "long"],
)
def test_the_marker_is_deselected_by_default(
    tmp_path: Path, arguments: list[str], selected: set[str]
) -> None:
    (tmp_path / "test_module.py").write_text(MODULE, encoding="utf-8")
    collected = Collected()
    project = ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    pytest.main([*project, "--collect-only", "--quiet", *arguments, str(tmp_path)], plugins=[collected])
    assert collected.names == selected
