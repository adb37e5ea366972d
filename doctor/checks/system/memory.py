"""Is there memory enough, and may Windows promise more of it than there is?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look, why_not
from doctor.host import Found, Memory, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.memory import MEMORY, MEMORY_KEY, PAGE_FILES, MemoryFacts

GIB = 2**30
SMALL = 8 * GIB  # a language model of 100 million parameters with its optimiser, and the system
LEAST_FREE = 2 * GIB  # what a program that has loaded torch for CUDA holds
PLENTY = 64 * GIB  # then no page file is missed
LEAST_PAGE_FILE = 16 * GIB  # CUDA's libraries are promised gigabytes in each process, used or not
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
        reason = why_not(facts.memory, "the system does not say")
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

    if largest is not None and largest < LEAST_PAGE_FILE and memory.total_bytes < PLENTY:
        size = f"may grow to {_gb(largest)} only" if largest else "is switched off"
        return ok.model_copy(
            update={
                "status": "warning",
                "summary": f"The page file {size}, beside {_gb(memory.total_bytes)} of memory",
                "expected": f"a page file that Windows manages, or one of {_gb(GOOD_PAGE_FILE)}",
                "impact": CHECK.why,
                "hint": CHECK.by_hand,
                "links": LINKS,
                "fix": PAGE_FILE,
            }
        )
    free = min(memory.available_bytes, memory.commit_available_bytes)
    if free < LEAST_FREE and memory.total_bytes >= SMALL:
        return ok.model_copy(
            update={
                "status": "warning",
                "summary": f"Programs have taken the memory: {_gb(free)} are left",
                "impact": CHECK.why,
                "hint": "Close programs that you do not need now.",
            }
        )
    if memory.total_bytes < SMALL:
        summary = f"{_gb(memory.total_bytes)} of memory: enough for small models only"
        return ok.model_copy(update={"status": "info", "summary": summary})
    return ok


def _largest_page_file(facts: MemoryFacts) -> int | None:
    """To how much the page files may grow, in bytes; None: as Windows likes, or nobody says."""
    if not isinstance(facts.page_files, Found):
        return None
    sizes = [page_file.maximum_bytes for page_file in facts.page_files.value]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _gb(size: int) -> str:
    return f"{size / GIB:.1f} GB" if size < 10 * GIB else f"{round(size / GIB)} GB"


def _measured(facts: MemoryFacts, memory: Memory, largest: int | None) -> str:
    of_all = f"{_gb(memory.available_bytes)} of {_gb(memory.total_bytes)} free"
    promised = (
        f"{_gb(memory.commit_available_bytes)} of {_gb(memory.commit_limit_bytes)} may still be promised"
    )
    if not isinstance(facts.page_files, Found):
        return f"{of_all}, {promised}"
    size = "as Windows likes" if largest is None else f"up to {_gb(largest)}" if largest else "none"
    return f"{of_all}, {promised}, page file: {size}"


CHECK = Check(
    id="memory",
    group="system",
    looks_at="The memory of this machine (or of its container), what is free, and on Windows the page file.",
    why="Windows promises memory before it is used, to CUDA's libraries by the gigabyte: with a small page file programs end with 'The paging file is too small', though memory is free.",
    by_hand="Open SystemPropertiesPerformance.exe > Advanced > Virtual memory > Change, tick 'Automatically manage paging file size for all drives' (or give one drive 32768 MB), and restart Windows.",
    probes=(MEMORY,),
    judge=judge,
)
