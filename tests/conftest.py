"""Fixtures for all tests. The files of the user who runs them are not touched."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

import aios

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Background jobs of a shell ignore SIGINT, and the child processes of the tests would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put runs and capability files of the tests and their child processes into a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def call() -> Callable[..., Result]:
    """Run `aios` in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(aios.app, [str(argument) for argument in arguments], prog_name="aios")

    return run


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests marked `long` unless -m names that marker."""
    if "long" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
