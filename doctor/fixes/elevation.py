"""Run steps with administrator rights: one child process, one prompt, one report file.

The child takes no steps from the command line, which could be forged: it plans them itself and compares the hash.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from doctor.actions.outcome import Outcome
from doctor.fixes.journal import ELEVATED, StepOutcome, child_report
from doctor.fixes.plan import Step, hash_of
from doctor.host import ElevationRefused, Host

FRONT_DOOR = Path(__file__).parents[2] / "aios.py"  # an absolute path: the child starts in another folder
TIMEOUT_SECONDS = 300.0  # includes the time to notice and answer the prompt


def in_elevated_child(
    command: Sequence[str], steps: Sequence[Step], host: Host, run_folder: Path
) -> tuple[StepOutcome, ...]:
    """Let an elevated `aios doctor COMMAND` do `steps`, and return the outcome of each. Does not raise.

    Args:
        command: the hidden subcommand with the arguments from which it plans `steps` itself.
        steps: the steps that this process expects the child to do.
        host: the machine.
        run_folder: the folder for the journal of the child, which ends with its report.
    """

    def for_all(outcome: Outcome) -> tuple[StepOutcome, ...]:
        return tuple(StepOutcome.of(step, outcome) for step in steps)

    journal = run_folder / ELEVATED.replace("*", secrets.token_hex(4))
    arguments = ["doctor", *command, "--plan-hash", hash_of(steps), "--answer", str(journal)]
    program = [host.identity.executable, str(FRONT_DOOR)]
    try:
        ended = host.run_elevated([*program, *arguments], TIMEOUT_SECONDS)
        report = child_report(journal)
    except OSError as error:
        return for_all(Outcome(result="failed", reason=f"cannot run an elevated process: {error}"))
    if isinstance(ended, ElevationRefused):
        return for_all(Outcome(result="refused", reason=ended.reason))
    if report is None:
        reason = f"the elevated process ended without a report (exit status {ended})"
        return for_all(Outcome(result="failed", reason=reason))
    if report.refusal is not None:
        return for_all(Outcome(result="refused", reason=report.refusal))
    reported = {outcome.step: Outcome(**outcome.model_dump(exclude={"step"})) for outcome in report.outcomes}
    missing = Outcome(result="failed", reason="the elevated process did not report this step")
    return tuple(StepOutcome.of(step, reported.get(step.id, missing)) for step in steps)
