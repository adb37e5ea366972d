"""A log written and explained on Windows: its encodings, and the finding of this machine's check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.wine.windows_box import Aios, Windows

pytestmark = pytest.mark.wine

LOG = "Größe: 12 MB\r\nERROR: Package 'torch' requires a different Python: 3.9.13 not in '>=3.10'\r\n"


@pytest.mark.parametrize(("encoding", "code_page"), [("utf-16", 1252), ("utf-8-sig", 437), ("cp850", 866)])
def test_an_explained_log_includes_the_finding_of_this_machine(
    aios: Aios, windows: Windows, workplace: Path, encoding: str, code_page: int
) -> None:
    log = workplace / "Протокол.txt"
    log.write_bytes(LOG.encode(encoding))
    done = aios("doctor", "explain-log", windows.path(log), "--json", code_page=code_page)
    (match,) = json.loads(done.stdout)["matches"]
    assert (match["id"], match["line"], done.returncode) == ("B02", 2, 0)
    assert match["finding"]["status"] == "ok"
    said = aios("doctor", "explain-log", windows.path(log), code_page=code_page).stdout.decode("ascii")
    assert said.startswith("1. No wheel exists for this Python version")
    assert f"+ 1: on this machine, python-version: {match['finding']['summary']}" in said


def test_a_missing_log_is_a_usage_error(aios: Aios) -> None:
    done = aios("doctor", "explain-log", r"C:\no such\log.txt")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"cannot read" in done.stderr
