"""Uninstall aios: delete its environment, its records and its caches, each shown with its size, after a question.

`scripts\\install.cmd --uninstall` (Windows) and `scripts/install.sh --uninstall` (Linux, WSL) start it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from environment import REPOSITORY, Environment, headline, say

# Run by the environment's Python: the folders of aios' records and of tokenized texts
FOLDERS = (
    "import json; from doctor.aios_home import state_folder; from doctor.host.live import live_host; "
    "import platformdirs; "
    "print(json.dumps([str(state_folder(live_host())), platformdirs.user_cache_dir('aios', appauthor=False)]))"
)
OWN_NAMES = ("aios", ".aios")


@dataclass(frozen=True)
class Place:
    """A folder that aios has made."""

    what: str
    folder: Path

    @property
    def size(self) -> int:
        """The bytes of its files."""
        files = (Path(parent, name) for parent, _, names in os.walk(self.folder) for name in names)
        return sum(file.lstat().st_size for file in files)


def uninstall(environment: Environment, yes: bool, ask: Callable[[str], str] = input) -> int:
    """Show what is deleted, ask, and delete it. Return the exit status."""
    places = [*places_of(environment)]
    headline("Uninstalling aios")
    if not places:
        say(f"Nothing is installed in {environment.folder}.")
        return 0
    for place in places:
        say(f"  {place.size / 2**20:8,.0f} MiB  {place.what}: {place.folder}")
    say(
        f"\nSettings of this machine that fixes have changed stay. To undo them first: {environment.command} undo"
    )
    say(f"Trained models stay as well: {REPOSITORY / 'artifacts'}")
    if not yes and ask("Delete these folders? [y/N] ").strip().lower() not in ("y", "yes"):
        say("Nothing was deleted.")
        return 1
    failed = [place for place in places if not _deleted(place)]
    for place in failed:
        say(f"Not deleted completely: {place.folder}. Close the programs that use it, then run this again.")
    if not failed:
        say("aios is uninstalled.")
    return 1 if failed else 0


def places_of(environment: Environment) -> Iterator[Place]:
    """The folders to delete. A folder that AIOS_HOME names may contain other files, and is left out."""
    if (environment.folder / "pyvenv.cfg").is_file():
        answer = environment.output_of(FOLDERS)
        yield Place("environment", environment.folder)
    else:
        answer = None
    own = [Path(folder) for folder in json.loads(answer)] if answer else []
    for what, folder in zip(("records and downloads", "tokenized texts"), own, strict=False):
        if folder.is_dir() and folder.name in OWN_NAMES and "AIOS_HOME" not in os.environ:
            yield Place(what, folder)


def _deleted(place: Place) -> bool:
    shutil.rmtree(place.folder, ignore_errors=True)
    return not place.folder.exists()


if __name__ == "__main__":
    sys.exit(uninstall(Environment(), "--yes" in sys.argv))
