"""For all tests: those that share something that they change run one after the other."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests under Wine share one registry and one drive."""
    for item in items:
        if item.get_closest_marker("wine"):
            item.add_marker(pytest.mark.xdist_group("wine"))
