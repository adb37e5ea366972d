"""Fixtures for all tests. The files of the user who runs them are not touched."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import aios
from tests import printed_commands
from tests.chromium import running_chromium

LAST = "test_every_command_that_the_tests_have_printed"
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


@pytest.fixture(scope="session", autouse=True)
def recorded_commands() -> Iterator[None]:
    """Remember the commands of aios in what the tests print, for the tests that run last."""
    invoke = CliRunner.invoke

    def recording(self: CliRunner, *arguments: Any, **options: Any) -> Result:
        result = invoke(self, *arguments, **options)
        printed_commands.record(result.output)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CliRunner, "invoke", recording)
        yield


@pytest.fixture
def call() -> Callable[..., Result]:
    """Run `aios` in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(aios.app, [str(argument) for argument in arguments], prog_name="aios")

    return run


@pytest.fixture(scope="module")  # Playwright cannot be started twice at once
def browser() -> Iterator[Any]:
    with running_chromium() as running:
        yield running


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests marked `long` unless -m names that marker. The tests about all others come last."""
    items.sort(key=lambda item: item.name.startswith(LAST))
    if "long" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
