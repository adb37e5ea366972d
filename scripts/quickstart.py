"""From a fresh clone to a trained model: installs, diagnoses this machine, trains a small model on a novel, samples text.

Needs Python 3.10 or newer and git, nothing else. With an NVIDIA GPU, `aios install` chooses the packages that fit it.
A second run keeps what is there.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from environment import REPOSITORY, Environment, PreparationError, has_gpu, headline, say

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
    environment = Environment()
    try:
        if has_gpu():
            environment.prepare()
            headline("The packages that fit this GPU (aios install)")
            if status := environment.aios("install", "--yes"):
                say("What the GPU needs could not be installed: the reason stands above.")
                return status
        environment.prepare("train")
    except PreparationError as trouble:
        say(f"\n{trouble}")
        return 1

    headline("What can this machine do? (aios doctor)")
    status = environment.aios("doctor")
    if status not in DOCTOR_SAYS:
        return status
    say(DOCTOR_SAYS[status])

    headline(f"Training a small model on the processor or GPU (aios train --config {CONFIG})")
    result = REPOSITORY / RESULT
    if again and result.exists():
        shutil.rmtree(result)
    status = environment.aios("train", "--config", CONFIG, "--resume")
    if status:
        say(
            f"Training ended with exit status {status}. To begin it anew: python scripts/quickstart.py --again"
        )
        return status

    headline("What has it learned? (aios generate)")
    status = environment.aios(
        "generate", "--checkpoint", RESULT, "--prompt", PROMPT, "--max-new-tokens", "400"
    )
    if status:
        return status

    headline("Everything is here")
    say(f"  the command        {environment.command} --help")
    say(f"  the model          {result}")
    say(f"  its configuration  {REPOSITORY / CONFIG}")
    say("  train it anew      python scripts/quickstart.py --again")
    say("  run all tests      python scripts/run_tests.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
