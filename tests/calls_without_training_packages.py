"""Runs calls of `aios` in one process that cannot import what training needs. For tests, as a child process.

stdin: a JSON list of argument lists. stdout: a JSON list with the exit status, the output and the exception of each call.
An import of a blocked package fails as that of a missing one does. With `torch-is-there` as an argument, packages only
look installed: an attempt to import one is reported as the exception of the call. `started-as=COMMAND` is how aios was started.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
from collections.abc import Sequence
from types import ModuleType

BLOCKED = ("torch", "transformers", "safetensors", "numpy", "peft", "matplotlib")


class ImportedTooEarlyError(Exception):
    """A package was imported by a call that can be refused without it."""


class Blocker(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the blocked packages: missing, or with a loader that fails."""

    def __init__(self, look_installed: bool) -> None:
        self.look_installed = look_installed

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in BLOCKED:
            return None
        if not self.look_installed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        raise ImportedTooEarlyError(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Never reached."""


def main() -> None:
    sys.meta_path.insert(0, Blocker("torch-is-there" in sys.argv))
    from typer.testing import CliRunner

    import aios

    names = [each.partition("=")[2] for each in sys.argv if each.startswith("started-as=")]
    answers = []
    for arguments in json.load(sys.stdin):
        result = CliRunner().invoke(aios.app, arguments, prog_name=(names or ["aios"])[0])
        unexpected = result.exception if not isinstance(result.exception, SystemExit) else None
        answers.append([result.exit_code, result.output, repr(unexpected) if unexpected else None])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
