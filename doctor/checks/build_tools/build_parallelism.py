"""How many compilers can a build run at once before memory runs out?"""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check, Requirement
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.shared import could_not_look, value_of, why_not
from doctor.checks.system import memory as memory_check
from doctor.checks.system.variable_fixes import SIGN_OUT, set_for_user
from doctor.host import Found, Identity, RegistryValue
from doctor.models import Evidence, Finding, Fix
from doctor.probes.build_environment import PARALLELISM, ParallelismFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.source_build import compiler_jobs, gibibytes_per_job

GIBIBYTE = 1024**3
LINK = "https://github.com/Dao-AILab/flash-attention#installation-and-features"


def judge(
    facts: ParallelismFacts,
    identity: Identity,
    nvidia: NvidiaFacts,
    torch: TorchFacts,
    flash_attn: FlashAttnFacts,
) -> Finding:
    memory = value_of(facts.memory)
    free = min(memory.available_bytes, memory.commit_available_bytes) / GIBIBYTE
    jobs = compiler_jobs(free, identity.processor_count)
    share = gibibytes_per_job()
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"A build can run {jobs} compiler(s) at once",
        measured=f"{free:.0f} GiB free, {identity.processor_count or 'an unknown number of'} processors, MAX_JOBS is {facts.max_jobs or 'not set'}",
        expected=f"MAX_JOBS of at most {jobs}: flash-attn's setup.py counts {share} GiB and two processors per compiler",
        evidence=(
            Evidence(source="system", name="free memory, GiB", value=round(free, 1)),
            Evidence(source="identity", name="processors", value=identity.processor_count),
            Evidence(source="environment", name="MAX_JOBS", value=facts.max_jobs),
            Evidence(source="environment", name="NVCC_THREADS", value=facts.nvcc_threads),
        ),
    )
    problem = finding.but(status="info", impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,))
    if free < share:
        summary = f"{free:.0f} GiB of memory are free: not enough for a single compiler of flash-attn"
        hint = "Close programs before building, set NVCC_THREADS=1 and enlarge the page file, or install a prebuilt package."
        return problem.but(summary=summary, hint=hint)
    reason = _why_wrong(facts.max_jobs, jobs)
    if reason is None:
        return finding
    fix = _set_max_jobs(jobs) if identity.os == "windows" else None
    return with_build_severity(problem.but(summary=reason, fix=fix), nvidia, torch, flash_attn)


def _why_wrong(max_jobs: str | None, jobs: int) -> str | None:
    if max_jobs is None:
        return None
    if not max_jobs.isdigit() or max_jobs == "0":
        return f"MAX_JOBS is {max_jobs!r}, which is not a number of compilers: builds ignore it or fail"
    if int(max_jobs) > jobs:
        return f"MAX_JOBS is {max_jobs}, but memory is sufficient for {jobs} only"
    return None


def _set_max_jobs(jobs: int) -> Fix:
    state = RegistryValue(type="REG_SZ", value=str(jobs))
    return Fix(
        id="set-max-jobs",
        applicability="unsafe",  # free memory changes, and other builds need less per compiler
        restart="shell",
        commands=(set_for_user("MAX_JOBS", state), SIGN_OUT),
        actions=(SetUserEnvironmentVariable(name="MAX_JOBS", state=state),),
    )


def _unknown_memory(check: str, facts: ParallelismFacts) -> Finding | None:
    if isinstance(facts.memory, Found):
        return None
    return could_not_look(check, "the free memory", why_not(facts.memory, "the system did not report it"))


CHECK = Check(
    id="build-parallelism",
    group="build-tools",
    looks_at="Free memory (on Windows also the commit limit), the processors, MAX_JOBS and NVCC_THREADS.",
    why="Each compiler of flash-attn needs gigabytes. Too many at once fail with 'compiler is out of heap space' or 'cicc died', or make the machine swap for hours.",
    by_hand="Set MAX_JOBS in the terminal that builds (1 or 2 on most machines), and NVCC_THREADS=1 if memory is short.",
    probes=(PARALLELISM, IDENTITY, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(Requirement((PARALLELISM,), _unknown_memory),),
    because_of=(memory_check.CHECK,),
)
