"""The machines of a run, compared: causes first, one table."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

import aios
from doctor.cluster import Cluster, Link, Process, aligned, judge, table

HEALTHY: dict[str, Any] = {
    "aios": "0.1.0", "python": "3.12.4", "torch": "2.13.0", "transformers": "5.23.0", "system": "Linux", "backend": "nccl",
    "gpu": "NVIDIA H100", "gpus": 2, "driver": "580.10", "free_bytes": 900 << 30, "shared": True, "clock_seconds": 0.0,
}  # fmt: skip


def cluster(links: tuple[float, ...] = (1200.0,), **changes: Any) -> Cluster:
    """Two machines with two processes each; the second one has the changes."""
    processes = [
        Process(rank=rank, host=host, **(HEALTHY | (changes if host == "node-b" else {})))
        for rank, host in enumerate(("node-a", "node-a", "node-b", "node-b"))
    ]
    names = ["node-a", "node-b", "node-c", "node-d"]
    return Cluster(
        processes=tuple(processes),
        links=tuple(
            Link(from_=names[number], to=names[number + 1], megabytes_per_second=rate, milliseconds=0.1)
            for number, rate in enumerate(links)
        ),
    )


def test_machines_that_fit_have_no_problem() -> None:
    assert judge(cluster()) == ()


@pytest.mark.parametrize(
    ("changes", "severity", "text"),
    [
        ({"torch": "2.12.0"}, "cause", "torch is 2.13.0, but 2.12.0 on node-b"),
        ({"aios": None}, "cause", "aios is 0.1.0, but none on node-b"),
        ({"backend": "gloo"}, "cause", "backend is nccl, but gloo on node-b"),
        ({"shared": False}, "cause", "node-b does not see the shared folder"),
        ({"gpus": 1}, "cause", "node-b has 1 GPUs for 2 processes"),
        ({"gpu": "NVIDIA A100"}, "warning", "NVIDIA A100 with driver 580.10"),
        ({"driver": "570.1"}, "warning", "NVIDIA H100 with driver 570.1"),
        ({"clock_seconds": -61.0}, "warning", "the clock of node-b is 61.0 s behind"),
        ({"free_bytes": 3 << 30}, "warning", "node-b has 3.0 GiB free"),
        ({"links": (90.0,)}, "warning", "the link from node-a to node-b has 90 MB/s"),
        (
            {"links": (1200.0, 1180.0, 400.0)},
            "warning",
            "from node-c to node-d has 400 MB/s (the median is 1,180)",
        ),
    ],
)
def test_a_difference_is_one_problem(changes: dict[str, Any], severity: str, text: str) -> None:
    [problem] = judge(cluster(**changes))
    assert problem.severity == severity
    assert text in problem.text


def test_causes_come_before_warnings() -> None:
    found = judge(cluster(links=(10.0,), free_bytes=0, python="3.11.9", clock_seconds=5.0))
    assert [problem.severity for problem in found] == ["cause", "warning", "warning", "warning"]


def test_the_table_has_a_line_for_each_machine() -> None:
    lines = aligned(table(cluster(shared=None, gpu=None, gpus=0)))
    assert len(lines) == 3
    assert lines[1].startswith("node-a   2          2 x NVIDIA H100  580.10")
    assert "1,200 MB/s, 0.10 ms" in lines[1]
    assert lines[2].split()[:3] == ["node-b", "2", "none"]


def test_without_torchrun_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    done = CliRunner().invoke(aios.app, ["doctor", "cluster"], prog_name="aios")
    assert done.exit_code == 2
    assert "torchrun --nnodes 2" in " ".join(done.output.split())
