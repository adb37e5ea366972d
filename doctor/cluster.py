"""The machines of a run that torchrun starts, compared: what would stop the run first, then what would slow it down."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from doctor.host import Frozen

SAME = ("aios", "python", "torch", "transformers", "system", "backend")
FIRST_MUST_MATCH = (
    "The processes of a run must have the same versions: install the same packages on all machines"
)
CLOCK = 2.0  # seconds; if clocks differ more, records and file times are misleading
FREE = 10 << 30  # bytes
SLOW_LINK = 110.0  # MB/s: gigabit Ethernet
SLOW_BESIDE = 0.5  # of the median link


class Process(Frozen):
    """What a process of the run reports. `shared`: whether it sees the shared folder; None if no folder was given."""

    rank: int
    host: str
    aios: str | None
    python: str
    torch: str
    transformers: str | None
    system: str
    backend: str
    gpu: str | None
    gpus: int
    driver: str | None
    free_bytes: int
    shared: bool | None
    clock_seconds: float


class Link(Frozen):
    """The connection between the first processes of two machines."""

    from_: str
    to: str
    megabytes_per_second: float
    milliseconds: float


class Problem(Frozen):
    """A `cause` stops a run; a `warning` slows it down or makes its records misleading."""

    severity: Literal["cause", "warning"]
    text: str
    advice: str


class Cluster(Frozen):
    processes: tuple[Process, ...]
    links: tuple[Link, ...]

    @property
    def hosts(self) -> dict[str, tuple[Process, ...]]:
        names = dict.fromkeys(process.host for process in self.processes)
        return {name: tuple(p for p in self.processes if p.host == name) for name in names}


def judge(cluster: Cluster) -> tuple[Problem, ...]:
    """The problems, causes first."""
    found = (*_versions(cluster), *_folder(cluster), *_gpus(cluster), *_machines(cluster), *_links(cluster))
    return tuple(sorted(found, key=lambda problem: problem.severity != "cause"))


def _versions(cluster: Cluster) -> Iterator[Problem]:
    for field in SAME:
        values = [getattr(process, field) for process in cluster.processes]
        usual = Counter(values).most_common(1)[0][0]
        others = {p.host: getattr(p, field) for p in cluster.processes if getattr(p, field) != usual}
        if others:
            listed = ", ".join(f"{value or 'none'} on {host}" for host, value in others.items())
            yield Problem(
                severity="cause", text=f"{field} is {usual or 'none'}, but {listed}", advice=FIRST_MUST_MATCH
            )


def _folder(cluster: Cluster) -> Iterator[Problem]:
    blind = [
        host for host, there in cluster.hosts.items() if not all(p.shared in (True, None) for p in there)
    ]
    if blind:
        yield Problem(
            severity="cause",
            text=f"{', '.join(blind)} does not see the shared folder",
            advice="Checkpoints need a folder that all machines share, under the same path: mount it there",
        )


def _gpus(cluster: Cluster) -> Iterator[Problem]:
    for host, there in cluster.hosts.items():
        if 0 < there[0].gpus < len(there):
            yield Problem(
                severity="cause",
                text=f"{host} has {there[0].gpus} GPUs for {len(there)} processes",
                advice="Each process needs its own GPU: start as many with --nproc-per-node",
            )
    kinds = Counter((process.gpu, process.driver) for process in cluster.processes)
    if len(kinds) > 1:
        listed = ", ".join(f"{gpu or 'no GPU'} with driver {driver or 'none'}" for gpu, driver in kinds)
        yield Problem(
            severity="warning",
            text=f"GPUs or drivers differ: {listed}",
            advice="All processes wait for the slowest GPU, and NCCL expects the same driver on all machines",
        )


def _machines(cluster: Cluster) -> Iterator[Problem]:
    for host, there in cluster.hosts.items():
        if abs(ahead := there[0].clock_seconds) > CLOCK:
            yield Problem(
                severity="warning",
                text=f"the clock of {host} is {abs(ahead):.1f} s {'ahead' if ahead > 0 else 'behind'}",
                advice="Synchronize it (NTP), so that records and file times agree",
            )
        if (free := there[0].free_bytes) < FREE:
            yield Problem(
                severity="warning",
                text=f"{host} has {free / 2**30:.1f} GiB free",
                advice="A checkpoint with optimizer state takes 12 bytes per parameter",
            )


def _links(cluster: Cluster) -> Iterator[Problem]:
    rates = [link.megabytes_per_second for link in cluster.links]
    for link in cluster.links:
        rate = link.megabytes_per_second
        if rate < SLOW_LINK or rate < SLOW_BESIDE * statistics.median(rates):
            yield Problem(
                severity="warning",
                text=f"the link from {link.from_} to {link.to} has {rate:,.0f} MB/s (the median is {statistics.median(rates):,.0f})",
                advice="Check cable, switch port and interface (NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME)",
            )


def table(cluster: Cluster) -> list[list[str]]:
    """The rows of the table, the first one its head."""
    rows = [
        ["machine", "processes", "GPU", "driver", "torch", "Python", "clock", "free", "folder", "to the next"]
    ]
    to_next = {link.from_: link for link in cluster.links}
    for host, there in cluster.hosts.items():
        one, link = there[0], to_next.get(host)
        rows.append(
            [
                host,
                str(len(there)),
                f"{one.gpus} x {one.gpu}" if one.gpu else "none",
                one.driver or "none",
                one.torch,
                one.python,
                f"{one.clock_seconds:+.2f} s",
                f"{one.free_bytes / 2**30:,.0f} GiB",
                {True: "seen", False: "not seen", None: "-"}[
                    all(p.shared for p in there) if one.shared is not None else None
                ],
                f"{link.megabytes_per_second:,.0f} MB/s, {link.milliseconds:.2f} ms" if link else "-",
            ]
        )
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, with columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
