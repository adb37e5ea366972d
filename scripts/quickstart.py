"""From a fresh clone to a trained model: install, diagnose this machine, train a small model on a novel, sample text.

Needs only Python 3.10 or newer and git. With an NVIDIA GPU, `aios install` selects the packages that fit it.
A second run keeps finished steps.
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
    1: "The doctor found problems; this training is not affected.",
    3: "The doctor could not check everything; this training is not affected.",
    5: "A restart is pending; this training is not affected.",
}


def main() -> int:
    """Run the steps in order. Return the exit status of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--again", action="store_true", help="delete the trained model and train from scratch"
    )
    again = parser.parse_args().again
    environment = Environment()
    try:
        if has_gpu():
            environment.prepare()
            headline("Installing the packages that fit this GPU (aios install)")
            if status := environment.aios("install", "--yes"):
                say("The packages for the GPU could not be installed; the reason is above.")
                return status
        environment.prepare("train")
    except PreparationError as trouble:
        say(f"\n{trouble}")
        return 1

    headline("Diagnosing this machine (aios doctor)")
    status = environment.aios("doctor")
    if status not in DOCTOR_SAYS:
        return status
    say(DOCTOR_SAYS[status])

    headline(f"Training a small model on the CPU or GPU (aios train --config {CONFIG})")
    result = REPOSITORY / RESULT
    if again and result.exists():
        shutil.rmtree(result)
    status = environment.aios("train", "--config", CONFIG, "--resume")
    if status:
        say(
            f"Training ended with exit status {status}. To train from scratch: "
            f"{sys.executable} {REPOSITORY / 'scripts' / 'quickstart.py'} --again"
        )
        return status

    headline("Sampling text from the model (aios generate)")
    status = environment.aios(
        "generate", "--checkpoint", RESULT, "--prompt", PROMPT, "--max-new-tokens", "400"
    )
    if status:
        return status

    headline("Finished")
    say(f"  the command        {environment.command} --help")
    say(f"  the model          {result}")
    say(f"  its configuration  {REPOSITORY / CONFIG}")
    scripts = REPOSITORY / "scripts"
    say(f"  train it again     {sys.executable} {scripts / 'quickstart.py'} --again")
    say(f"  run all tests      {sys.executable} {scripts / 'run_tests.py'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
