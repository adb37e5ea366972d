"""A Windows Python on Linux, under Wine: `setup` installs it, `run -- python …` runs a program in it.

`docs/windows-under-wine.md` says what it is for and how it differs from Windows. Use the Python of the project:
`.venv/bin/python scripts/windows_under_wine.py setup`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wine.box import LOCALES, Box, WineError, box_folder
from wine.install import setup


def main() -> int:
    """Run a command and return its exit status; for `run`, the low byte of the exit code of the program."""
    arguments = _parser().parse_args()
    box = Box(arguments.box.resolve())
    try:
        if arguments.command == "setup":
            setup(box)
            return 0
        if arguments.command == "stop":
            box.stop()
            return 0
        if not box.ready:
            raise WineError(f"no box in {box.folder}; run: python scripts/windows_under_wine.py setup")
        done = box.run(
            arguments.program,
            ordinary_user=arguments.ordinary_user,
            environment=dict(pair.split("=", 1) for pair in arguments.env),
            path_in_front=arguments.path,
            code_page=arguments.code_page,
            console=arguments.console,
            timeout=arguments.timeout,
        )
    except WineError as error:
        sys.stderr.write(f"wine: {error}\n")
        return 2
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    if done.returncode > 255:
        sys.stderr.write(f"wine: exit code {done.returncode} ({done.returncode:#010x})\n")
    return done.returncode & 255 or int(done.returncode != 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--box", type=Path, default=box_folder(), help="folder of the box (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="create the box, unless it exists and is up to date")
    commands.add_parser("stop", help="end every program in the box")
    run = commands.add_parser("run", help="run a Windows program and print its output after it has ended")
    run.add_argument("--ordinary-user", action="store_true", help="without the Administrators group")
    run.add_argument(
        "--env", metavar="NAME=VALUE", action="append", default=[], help="environment variable to set"
    )
    run.add_argument(
        "--path",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="folder to put at the start of PATH",
    )
    run.add_argument("--code-page", type=int, choices=sorted(LOCALES), default=1252, help="ANSI code page")
    run.add_argument("--console", action="store_true", help="use a console instead of pipes")
    run.add_argument("--timeout", type=float, default=300, help="seconds until the process tree is killed")
    run.add_argument("program", nargs="+", help="after --: the program and its arguments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
