"""How many compilers may a build start at once, before memory runs out?"""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.shared import could_not_look, why_not
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
    if not isinstance(facts.memory, Found):
        reason = why_not(facts.memory, "nobody says how much there is")
        return could_not_look(CHECK.id, "the free memory", reason)
    memory = facts.memory.value
    free = min(memory.available_bytes, memory.commit_available_bytes) / GIBIBYTE
    jobs = compiler_jobs(free, identity.processor_count)
    share = gibibytes_per_job()
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"A build may run {jobs} compiler(s) at once",
        measured=f"{free:.0f} GiB free, {identity.processor_count or 'an unknown number of'} processors, MAX_JOBS is {facts.max_jobs or 'not set'}",
        expected=f"MAX_JOBS not above {jobs}: {share} GiB and two processors for each, as flash-attn's setup.py counts",
        evidence=(
            Evidence(source="system", name="free memory, GiB", value=round(free, 1)),
            Evidence(source="identity", name="processors", value=identity.processor_count),
            Evidence(source="environment", name="MAX_JOBS", value=facts.max_jobs),
            Evidence(source="environment", name="NVCC_THREADS", value=facts.nvcc_threads),
        ),
    )
    trouble = finding.but(status="info", impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,))
    if free < share:
        summary = f"{free:.0f} GiB of memory are free: too little even for one compiler of flash-attn"
        hint = "Close programs before building, set NVCC_THREADS=1, and enlarge the page file; or take a prebuilt package."
        return trouble.but(summary=summary, hint=hint)
    if facts.max_jobs is None:
        return finding
    if not facts.max_jobs.isdigit() or facts.max_jobs == "0":
        summary = f"MAX_JOBS is {facts.max_jobs!r}, which is no number of compilers: builds ignore it or fail"
    elif int(facts.max_jobs) > jobs:
        summary = f"MAX_JOBS is {facts.max_jobs}, and memory suffices for {jobs}"
    else:
        return finding
    state = RegistryValue(type="REG_SZ", value=str(jobs))
    fix = Fix(
        id="set-max-jobs",
        applicability="unsafe",  # free memory changes, and other builds need less of it
        restart="shell",
        commands=(set_for_user("MAX_JOBS", state), SIGN_OUT),
        actions=(SetUserEnvironmentVariable(name="MAX_JOBS", state=state),),
    )
    update = {"summary": summary, "fix": fix if identity.os == "windows" else None}
    return as_needed(trouble.model_copy(update=update), nvidia, torch, flash_attn)


CHECK = Check(
    id="build-parallelism",
    group="build-tools",
    looks_at="Free memory (on Windows the commit limit, too), the processors, MAX_JOBS and NVCC_THREADS.",
    why="Each compiler of flash-attn takes gigabytes: too many at once end in 'compiler is out of heap space', 'cicc died', or a machine that swaps for hours.",
    by_hand="Set MAX_JOBS in the terminal that builds (1 or 2 on most machines), and NVCC_THREADS=1 where memory is short.",
    probes=(PARALLELISM, IDENTITY, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    because_of=(memory_check.CHECK,),
)
