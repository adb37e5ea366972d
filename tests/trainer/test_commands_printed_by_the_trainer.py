"""Every command of aios that the tests of the trainer have printed exists and knows its options. Runs last."""

from __future__ import annotations

from pathlib import Path

from tests.printed_commands import PRINTED
from tests.test_printed_commands import check


def test_every_command_that_the_tests_have_printed_exists_and_knows_its_options(tmp_path: Path) -> None:
    assert check(PRINTED, tmp_path) == []
