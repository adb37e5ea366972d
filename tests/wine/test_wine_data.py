"""The token cache on Windows, where a file that another process reads cannot be deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wine.windows_box import HERE, REPOSITORY, Windows

pytestmark = pytest.mark.wine


def test_tokens_are_rebuilt_while_an_earlier_run_reads_the_old_ones(
    windows: Windows, workplace: Path
) -> None:
    text, cache = workplace / "text für Zoë.txt", workplace / "Tökens"
    text.write_bytes(b"a line of text\n" * 200)
    arguments = [windows.path(HERE / "keep_tokens.py"), windows.path(text), windows.path(cache)]
    done = windows.run(["python", *arguments], environment={"PYTHONPATH": windows.path(REPOSITORY)})
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode("utf-8").splitlines()
    assert ["tokens cached in" in line for line in said] == [True, False, True]
    assert "text für Zoë.txt has 3015 bytes now, 3000 when it was tokenized" in said[1]
    (folder,) = cache.iterdir()
    assert len(list(folder.glob("tokens-*.bin"))) in (1, 2)  # the old file is kept while it is read
