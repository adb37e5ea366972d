"""For all tests: nothing of this user's is touched."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

import aios

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background; what the tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs and the capability file of whatever the tests start go into a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def call() -> Callable[..., Result]:
    """Run `aios` in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(aios.app, [str(argument) for argument in arguments], prog_name="aios")

    return run
