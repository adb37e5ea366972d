"""Does this release of torch have a known fault on this system?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import torch as torch_check
from doctor.checks.requires import TORCH_INSTALLED, known_torch
from doctor.checks.shared import value_of
from doctor.host import Identity
from doctor.models import Evidence, Finding
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.compatibility import torch_faults


def judge(torch: TorchFacts, identity: Identity) -> Finding:
    build = value_of(torch.build)
    faults = torch_faults(build.version, identity.os)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"No fault of {build} is known on this system",
        measured="; ".join(fault.why for fault in faults) or str(build),
        expected="a release without a known fault",
        evidence=tuple(Evidence(source="metadata", name="known fault", value=fault.why) for fault in faults),
    )
    if not faults:
        return finding
    return finding.but(
        # Most of these faults concern only some programs
        status="info",
        summary=f"{build}: {faults[0].why}",
        impact=CHECK.why,
        hint=faults[0].use,
    )


CHECK = Check(
    id="torch-known-faults",
    group="packages",
    looks_at="The release of torch and the system, in a list of releases with faults reported by several projects.",
    why="Nothing is wrong with such a machine: the release itself fails, and reinstalling it does not help.",
    by_hand="Install the release of torch named here.",
    probes=(TORCH, IDENTITY),
    judge=judge,
    because_of=(torch_check.CHECK,),
    requires=(TORCH_INSTALLED, known_torch("which release of torch this is")),
)
