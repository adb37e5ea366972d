"""Can git check out files with long paths?"""

from __future__ import annotations

from doctor.actions import SetGitSetting
from doctor.check import Check
from doctor.checks.shared import could_not_look, skipped
from doctor.host import Absent, Found, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.system import GIT, GitFacts

SETTING = "core.longpaths"
ALLOW = Fix(
    id="git-long-paths",
    applicability="safe",
    commands=(f"git config --global {SETTING} true",),
    actions=(SetGitSetting(name=SETTING, state="true"),),
)
TRUE = frozenset({"true", "yes", "on", "1"})  # as git parses a boolean


def judge(git: GitFacts) -> Finding:
    if isinstance(git.program, Absent):
        return skipped(CHECK.id, "git is not installed")
    if isinstance(git.program, Unreadable):
        return could_not_look(CHECK.id, "git", git.program.reason)
    if isinstance(git.long_paths, Unreadable):
        return could_not_look(CHECK.id, f"git's {SETTING}", git.long_paths.reason)
    value = git.long_paths.value if isinstance(git.long_paths, Found) else None
    evidence = (Evidence(source="program", name=f"git config {SETTING}", value=value),)
    if value is not None and value.strip().lower() in TRUE:
        return Finding(
            check=CHECK.id,
            status="ok",
            summary="git can write long paths",
            measured=f"{SETTING} is {value}",
            expected="true",
            evidence=evidence,
        )
    return Finding(
        check=CHECK.id,
        status="warning",
        summary="git refuses files with long paths",
        measured=f"{SETTING} is not set" if value is None else f"{SETTING} is {value}",
        expected="true",
        impact=CHECK.why,
        hint="Let the doctor set core.longpaths for your user; git ignores Windows' own setting.",
        links=("https://git-scm.com/docs/git-config",),
        evidence=evidence,
        fix=ALLOW,
    )


CHECK = Check(
    id="git-long-paths",
    group="system",
    looks_at=f"git's setting {SETTING}.",
    why="Cloning flash-attention or xformers with submodules fails with 'Filename too long', even if Windows allows long paths.",
    by_hand=f"Run `{ALLOW.commands[0]}`.",
    probes=(GIT,),
    judge=judge,
    systems=frozenset({"windows"}),
)
