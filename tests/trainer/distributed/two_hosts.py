"""Two network namespaces of this machine as two hosts: each has its own name, address and torchrun."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PORT = 29471


@dataclass(frozen=True)
class Host:
    """A namespace, the name of the host in it, its address, and a file with the names and addresses of all hosts."""

    namespace: str
    name: str
    address: str
    names: Path

    def command(self, *words: str, hidden: Path | None = None) -> list[str]:
        """A command line in this namespace. `hidden`: a folder that this host sees empty."""
        hide = f"mount -t tmpfs tmpfs {hidden!s}; " if hidden else ""
        script = f'hostname {self.name}; mount --bind {self.names!s} /etc/hosts; {hide}exec "$@"'
        return [
            "ip",
            "netns",
            "exec",
            self.namespace,
            "unshare",
            "--uts",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            *words,
        ]


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts with a link between them; skips the test where namespaces are not allowed."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs Linux, root, ip and unshare to make network namespaces")
    number = os.getpid() % 10_000
    names = Path(tempfile.mkdtemp(prefix="aios-hosts-")) / "hosts"
    hosts = tuple(
        Host(f"aios-{number}-{letter}", f"host-{letter}", f"10.77.{number % 250}.{last}", names)
        for letter, last in (("a", 1), ("b", 2))
    )
    lines = ["127.0.0.1 localhost", *(f"{host.address} {host.name}" for host in hosts)]
    names.write_text("\n".join(lines) + "\n", encoding="ascii")
    links = [f"av{number}{letter}" for letter in "ab"]
    try:
        for host in hosts:
            made = subprocess.run(["ip", "netns", "add", host.namespace], capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"network namespaces are not allowed here: {made.stderr.strip()}")
        _ip("link", "add", links[0], "type", "veth", "peer", "name", links[1])
        for host, link in zip(hosts, links, strict=True):
            _ip("link", "set", link, "netns", host.namespace)
            inside = ("-n", host.namespace)
            _ip(*inside, "link", "set", link, "name", "eth0")
            _ip(*inside, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip(*inside, "link", "set", "lo", "up")
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)
        shutil.rmtree(names.parent)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def start(
    hosts: tuple[Host, ...],
    per_host: int,
    arguments: list[str],
    *,
    restarts: int = 0,
    only: Host | None = None,
    hidden: Path | None = None,
    environment: dict[str, str] | None = None,
) -> list[subprocess.Popen[str]]:
    """Start torchrun with `python -m aios ARGUMENTS` on each host, or on one of them; the last one does not see `hidden`."""
    started = []
    for host in (only,) if only else hosts:
        torchrun = [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", str(len(hosts))),
            *("--nproc-per-node", str(per_host), "--max-restarts", str(restarts)),
            *("--rdzv-backend", "c10d", "--rdzv-id", "aios", "--rdzv-endpoint", f"{hosts[0].address}:{PORT}"),
            *("--local-addr", host.address),
        ]
        hides = hidden if hidden and host is hosts[-1] else None
        started.append(
            subprocess.Popen(
                host.command(*torchrun, "-m", "aios", *arguments, hidden=hides),
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "OMP_NUM_THREADS": "1",
                    "GLOO_SOCKET_IFNAME": "eth0",
                    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # as docs/many-machines.md says, for a lost host
                    **(environment or {}),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
    return started


def finish(processes: list[subprocess.Popen[str]]) -> tuple[list[int], str, str]:
    """Wait for all hosts; returns their statuses, and what they printed together."""
    said = [process.communicate(timeout=600) for process in processes]
    return [p.returncode for p in processes], "".join(out for out, _ in said), "".join(err for _, err in said)


def kill(host: Host) -> None:
    """End all processes of a host at once, as when its power fails."""
    listed = subprocess.run(
        ["ip", "netns", "pids", host.namespace], capture_output=True, text=True, check=True
    )
    for pid in map(int, listed.stdout.split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
