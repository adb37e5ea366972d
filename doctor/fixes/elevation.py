"""Ask for administrator rights: one child process, one prompt, one answer file.

The child gets no orders that it could be tricked with: it works out itself what is to be done, and compares the hash.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from doctor.actions.installer_exit_codes import Result
from doctor.fixes.journal import ELEVATED, Outcome, answer_in
from doctor.fixes.plan import Step, hash_of
from doctor.host import ElevationRefused, Host

FRONT_DOOR = Path(__file__).parents[2] / "aios.py"  # by its path: an elevated child starts in any folder
TIMEOUT_SECONDS = 300.0  # a person has to notice the prompt and answer it


def in_elevated_child(
    command: Sequence[str], steps: Sequence[Step], host: Host, run_folder: Path
) -> tuple[Outcome, ...]:
    """Have an elevated `aios doctor COMMAND` do `steps`; one outcome for each. The rest of a run goes on whatever comes.

    Args:
        command: the hidden subcommand with what it needs to work out `steps` by itself.
        steps: what this process expects it to do.
        host: the machine.
        run_folder: where the child makes its journal, which is also its answer.
    """

    def all_of_them(result: Result, reason: str) -> tuple[Outcome, ...]:
        return tuple(Outcome(step=step, result=result, reason=reason) for step in steps)

    answer = run_folder / ELEVATED.replace("*", secrets.token_hex(4))
    orders = ["doctor", *command, "--plan-hash", hash_of(steps), "--answer", str(answer)]
    try:
        ended = host.run_elevated([host.identity.executable, str(FRONT_DOOR), *orders], TIMEOUT_SECONDS)
        answered = answer_in(answer)
    except OSError as error:
        return all_of_them("failed", f"no elevated process could be run: {error}")
    if isinstance(ended, ElevationRefused):
        return all_of_them("refused", ended.reason)
    if answered is None:
        return all_of_them("failed", f"the elevated process ended without an answer (exit status {ended})")
    if answered.refusal is not None:
        return all_of_them("refused", answered.refusal)
    told = {one.step: one.model_dump(exclude={"step"}) for one in answered.outcomes}
    silence = {"result": "failed", "reason": "the elevated process did not say what became of it"}
    return tuple(Outcome.model_validate({"step": step, **told.get(step.id, silence)}) for step in steps)
