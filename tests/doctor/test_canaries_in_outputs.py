"""What is meant to be shared is printed by real commands on a machine full of personal data: none of it is in there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.doctor.canaries import CANARIES, CREDENTIALS, Home, content_of, make_home

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the folders and pip.conf are those of Linux")

# A failed installation, as pip prints it with these settings
LOG = (
    "Looking in indexes: https://me:CanaryPass@pip.aviary/tok3nInPath/simple/, https://pypi.aviary/tok3nOfExtra/simple\n"
    "/home/Zoë Canary/env/lib/python3.12/site-packages/torch/__init__.py: HF_TOKEN=hf_CanaryTokenValue\n"
    "ModuleNotFoundError: No module named 'torch'\n"
    "error: subprocess-exited-with-error: python setup.py egg_info for flash-attn did not run successfully\n"
)
SHARED = {
    "report": ("doctor", "report"),
    "report as JSON": ("doctor", "report", "--json"),
    "recording": ("doctor", "record", "machine.json"),
    "refreshed list": ("wheels", "refresh"),
    "refreshed list as JSON": ("wheels", "refresh", "--json"),
    "explained log": ("doctor", "explain-log", "--no-machine", "log.txt"),
    "explained log as JSON": ("doctor", "explain-log", "--no-machine", "--json", "log.txt"),
    "plan": ("install", "--dry-run", "torch"),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = make_home(tmp_path)
    (found.folder / "log.txt").write_text(LOG, encoding="utf-8")
    return found


def test_there_are_29_canaries_and_20_more() -> None:
    assert len(set(CANARIES)) == len(CANARIES) >= 49


@pytest.mark.parametrize("command", SHARED.values(), ids=SHARED)
def test_no_canary_is_in_what_is_shared(home: Home, command: tuple[str, ...]) -> None:
    told = home.run(*command)
    assert len(told) > 60
    assert [canary for canary in CANARIES if canary.casefold() in told.casefold()] == []


def test_no_secret_is_in_what_is_printed_for_this_user(home: Home) -> None:
    """The diagnosis names the user's own folders and indexes; credentials are in none of it."""
    told = home.run("doctor", "--json", "--offline")
    assert '"package-index"' in told
    told += home.run("doctor", "--markdown", "--offline", "--only", "package-index", "--only", "network")
    told += home.run("doctor", "explain-log", "log.txt") + home.run("history", "--json")
    told += content_of(home.folder / "state")
    assert '"schema_version"' in told
    assert [secret for secret in CREDENTIALS if secret in told] == []
