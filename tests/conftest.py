"""For all tests: nothing of this user's is touched, and those that share something that they change run one after the other."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a shell's background: what the tests start inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests under Wine share one registry and one drive."""
    for item in items:
        if item.get_closest_marker("wine"):
            item.add_marker(pytest.mark.xdist_group("wine"))


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs and the capability file of whatever the tests start go into a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_HOME", str(tmp_path_factory.mktemp("state")))
        yield
