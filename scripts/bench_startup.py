"""Compare start-up times with that of a three-line typer app: `aios --help` (limit: 1.3 times), and `aios doctor explain-log`
until its first line of output (limit: 2.5 times). And with `aios train --help`: the refusal of a missing data set (limit: 1.5 times).

python scripts/bench_startup.py [--rounds 15]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from side_by_side import Comparison, compare, parse_rounds

THREE_LINES = "import typer\ndef main(name: str = 'you'): typer.echo(name)\ntyper.run(main)"
FROM_SCRATCH = ("--architecture", '{"model_type": "gpt2"}', "--tokenizer", "byte")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def _help_of(*program: str) -> None:
    command: Sequence[str] = [sys.executable, *program, "--help"]
    subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def _first_line_of(*program: str) -> None:
    command: Sequence[str] = [sys.executable, *program]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        if not process.stdout.readline():
            raise RuntimeError(f"{' '.join(command)} printed nothing")
        process.kill()


def _refused(*program: str) -> None:
    """Run a program that refuses its arguments."""
    command: Sequence[str] = [sys.executable, *program]
    done = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 2 or b"No data set at" not in done.stderr:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}, {done.stderr!r}")


def main() -> int:
    """Print the table. Return 1 if the limit is exceeded."""
    rounds = parse_rounds(__doc__, 15).parse_args().rounds
    typer_app, run_typer_app = "three-line typer app --help", lambda: _help_of("-c", THREE_LINES)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "failed.log"
        log.write_text("ModuleNotFoundError: No module named 'triton'\n", encoding="utf-8")
        explain_log = ("-m", "aios", "doctor", "explain-log", str(log))
        comparisons = [
            Comparison("aios --help", lambda: _help_of("-m", "aios"), typer_app, run_typer_app, 1.3),
            Comparison(
                "aios doctor explain-log", lambda: _first_line_of(*explain_log), typer_app, run_typer_app, 2.5
            ),
            Comparison(
                "aios train, no data set",
                lambda: _refused(
                    "-m", "aios", "train", *FROM_SCRATCH, "--dataset-file", f"{folder}/none.txt"
                ),
                "aios train --help",
                lambda: _help_of("-m", "aios", "train"),
                1.5,
            ),
        ]
        return compare(comparisons, rounds)


if __name__ == "__main__":
    sys.exit(main())
