"""From a fresh clone to a trained model: installs, diagnoses this machine, trains a small model on a novel, samples text.

Needs Python 3.10 or newer and git, nothing else. A second run keeps what is there.
"""

from __future__ import annotations

import argparse
import shutil
import sys

import environment
from environment import PreparationError, say

CONFIG = "configs/quickstart.yaml"
RESULT = "artifacts/quickstart"  # output_dir in that file
PROMPT = "It is a truth universally acknowledged, that"
DOCTOR_SAYS = {
    0: "",
    1: "The doctor found something to put right; this training does without it.",
    3: "The doctor could not look at everything; this training does without it.",
    5: "A restart is due; this training does without it.",
}


def main() -> int:
    """Run the steps in order; the first that fails ends it with its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--again", action="store_true", help="throw away the trained model that is there, and train anew"
    )
    again = parser.parse_args().again
    try:
        environment.prepare("train")
    except PreparationError as trouble:
        say(f"\n{trouble}")
        return 1

    _headline("What can this machine do? (aios doctor)")
    status = _aios("doctor")
    if status not in DOCTOR_SAYS:
        return status
    say(DOCTOR_SAYS[status])

    _headline(f"Training a small model on the processor or GPU (aios train --config {CONFIG})")
    result = environment.REPOSITORY / RESULT
    if again and result.exists():
        shutil.rmtree(result)
    status = _aios("train", "--config", CONFIG, "--resume")
    if status:
        say(
            f"Training ended with exit status {status}. To begin it anew: python scripts/quickstart.py --again"
        )
        return status

    _headline("What has it learned? (aios generate)")
    status = _aios("generate", "--checkpoint", RESULT, "--prompt", PROMPT, "--max-new-tokens", "400")
    if status:
        return status

    command = environment.python().with_name("aios")
    _headline("Everything is here")
    say(f"  the command        {command} --help")
    say(f"  the model          {result}")
    say(f"  its configuration  {environment.REPOSITORY / CONFIG}")
    say("  train it anew      python scripts/quickstart.py --again")
    say("  run all tests      python scripts/run_tests.py")
    return 0


def _aios(*arguments: str) -> int:
    return environment.run("-m", "aios", *arguments)


def _headline(text: str) -> None:
    say(f"\n=== {text}\n")


if __name__ == "__main__":
    sys.exit(main())
