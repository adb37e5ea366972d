"""Is there enough memory, and can Windows commit enough of it?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look, why_not
from doctor.host import Found, Memory, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.memory import MEMORY, MEMORY_KEY, PAGE_FILES, MemoryFacts

GIB = 2**30
SMALL = 8 * GIB  # fits a language model of 100 million parameters with its optimizer, and the system
LEAST_FREE = 2 * GIB  # used by a program that has loaded torch for CUDA
PLENTY = 64 * GIB  # enough without a page file
LEAST_PAGE_FILE = 16 * GIB  # CUDA's libraries commit gigabytes in each process, used or not
GOOD_PAGE_FILE = 32 * GIB
PAGE_FILE = Fix(
    id="page-file",
    applicability="manual",
    elevated=True,
    restart="system",
    commands=("SystemPropertiesPerformance.exe",),
)
LINKS = (
    "https://learn.microsoft.com/troubleshoot/windows-client/performance/how-to-determine-the-appropriate-page-file-size-for-64-bit-versions-of-windows",
)


def judge(facts: MemoryFacts) -> Finding:
    if not isinstance(facts.memory, Found):
        reason = why_not(facts.memory, "the system did not report it")
        return could_not_look(CHECK.id, "the memory of this machine", reason)
    if isinstance(facts.page_files, Unreadable):
        return could_not_look(CHECK.id, f"{MEMORY_KEY}\\{PAGE_FILES}", facts.page_files.reason)
    memory = facts.memory.value
    largest = _largest_page_file(facts)
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{_gb(memory.total_bytes)} of memory, {_gb(memory.available_bytes)} of it free",
        measured=_measured(facts, memory, largest),
        expected=f"{_gb(SMALL)} or more, {_gb(LEAST_FREE)} free, and on Windows a page file that Windows manages",
        evidence=(
            Evidence(source="system", name="memory", value=memory.total_bytes),
            Evidence(source="system", name="available", value=memory.available_bytes),
            Evidence(source="system", name="commit limit", value=memory.commit_limit_bytes),
            Evidence(source="system", name="commit available", value=memory.commit_available_bytes),
        ),
    )

    return (
        _small_page_file(ok, memory, largest) or _little_free(ok, memory) or _little_memory(ok, memory) or ok
    )


def _small_page_file(ok: Finding, memory: Memory, largest: int | None) -> Finding | None:
    if largest is None or largest >= LEAST_PAGE_FILE or memory.total_bytes >= PLENTY:
        return None
    size = f"can only grow to {_gb(largest)}" if largest else "is switched off"
    return ok.but(
        status="warning",
        summary=f"The page file {size}, with {_gb(memory.total_bytes)} of memory",
        expected=f"a page file that Windows manages, or one of {_gb(GOOD_PAGE_FILE)}",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=LINKS,
        fix=PAGE_FILE,
    )


def _little_free(ok: Finding, memory: Memory) -> Finding | None:
    free = min(memory.available_bytes, memory.commit_available_bytes)
    if free >= LEAST_FREE or memory.total_bytes < SMALL:
        return None
    summary = f"Only {_gb(free)} of memory are free: other programs use the rest"
    return ok.but(
        status="warning",
        summary=summary,
        impact=CHECK.why,
        hint="Close programs that you do not need now.",
    )


def _little_memory(ok: Finding, memory: Memory) -> Finding | None:
    if memory.total_bytes >= SMALL:
        return None
    summary = f"{_gb(memory.total_bytes)} of memory: enough for small models only"
    return ok.but(status="info", summary=summary)


def _largest_page_file(facts: MemoryFacts) -> int | None:
    """The size in bytes that the page files can grow to; None if Windows manages them, or if unknown."""
    if not isinstance(facts.page_files, Found):
        return None
    sizes = [page_file.maximum_bytes for page_file in facts.page_files.value]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _gb(size: int) -> str:
    return f"{size / GIB:.1f} GB" if size < 10 * GIB else f"{round(size / GIB)} GB"


def _measured(facts: MemoryFacts, memory: Memory, largest: int | None) -> str:
    physical = f"{_gb(memory.available_bytes)} of {_gb(memory.total_bytes)} free"
    commit = (
        f"{_gb(memory.commit_available_bytes)} of {_gb(memory.commit_limit_bytes)} can still be committed"
    )
    if not isinstance(facts.page_files, Found):
        return f"{physical}, {commit}"
    size = "managed by Windows" if largest is None else f"up to {_gb(largest)}" if largest else "none"
    return f"{physical}, {commit}, page file: {size}"


CHECK = Check(
    id="memory",
    group="system",
    looks_at="The memory of this machine (or of its container), how much is free, and on Windows the page file.",
    why="Windows reserves (commits) memory before it is used, and CUDA's libraries commit gigabytes. With a small page file, programs fail with 'The paging file is too small' although memory is free.",
    by_hand="Open SystemPropertiesPerformance.exe > Advanced > Virtual memory > Change, tick 'Automatically manage paging file size for all drives' (or give one drive 32768 MB), and restart Windows.",
    probes=(MEMORY,),
    judge=judge,
)
