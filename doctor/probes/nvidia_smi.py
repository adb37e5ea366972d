"""The NVIDIA driver and its GPUs as nvidia-smi prints them."""

from __future__ import annotations

import re

from doctor.host import Absent, Completed, Found, Gpu, NvidiaDriver, Reader, Reading, Unreadable
from doctor.host.completed import crashed, exit_code, first_line
from doctor.probes.paths import join, program_files, system32

TIMEOUT = 10.0
MEBIBYTE = 1024 * 1024
NO_DEVICE = "No devices were found"  # printed if the driver works but sees no GPU
FIELDS = ("index", "name", "driver_version", "compute_cap", "memory.total")
REFUSED = re.compile(r'Field "([\w.]+)" is not a valid field')
RENAMED = {"driver_version": "kmd_version"}  # announced by nvidia-smi 610 for CUDA 14
# nvidia-smi 610 and newer print the number as the KMD version
VERSION = re.compile(r"(?:DRIVER|KMD) version\s*:\s*(\d[\d.]*)", re.IGNORECASE)
VERSION_FIELDS = {"driver_version", "kmd_version"}
NO_CAPABILITY = "nvidia-smi is too old to report the GPUs' compute capability"
MOST_COMPLAINTS = 8


def ask_smi(host: Reader) -> tuple[Reading[NvidiaDriver], str | None]:
    """Return the driver as reported by nvidia-smi (Absent without nvidia-smi), and its error message."""
    ran, fields = _query(host)
    if isinstance(ran, Absent):
        return ran, None
    if isinstance(ran, Unreadable):
        return Unreadable(f"the driver is not answering ({ran.reason})"), None
    output = ran.value.stdout
    if NO_DEVICE in output:
        return _without_gpus(host, printable_lines(output.partition(NO_DEVICE)[0])), None
    if _refused(ran, fields):
        return _without_gpus(host, (NO_CAPABILITY,)), None
    driver = parse_smi(output, fields)
    if isinstance(driver, Found):
        return Found(_completed(host, driver.value, fields)), None
    if ran.value.exit_code != 0:
        complaint = _complaint(ran.value)
        return Unreadable(complaint or f"nvidia-smi ended with exit code {exit_code(ran.value)}"), complaint
    return driver, None


def _completed(host: Reader, driver: NvidiaDriver, fields: tuple[str, ...]) -> NvidiaDriver:
    """Add what the query does not report: the newest CUDA version, and a version that has no field."""
    banner = _run(host)
    changes: dict[str, object] = {
        "driver_version": driver.driver_version or _driver_version(host),
        "cuda_version": parse_smi_cuda(banner.value.stdout) if isinstance(banner, Found) else None,
    }
    if "compute_cap" not in fields:
        changes["complaints"] = (NO_CAPABILITY,)
    return driver.model_copy(update=changes)


def parse_smi(output: str, fields: tuple[str, ...] = FIELDS) -> Reading[NvidiaDriver]:
    """Parse the output of `nvidia-smi --query-gpu` for these fields.

    Lines that describe no usable GPU become complaints: error messages, GPUs whose values are missing.
    """
    versions, gpus, complaints = [], [], []
    for line in printable_lines(output):
        values = [value.strip() for value in line.split(",")]
        row = dict(zip(fields, values, strict=True)) if len(values) == len(fields) else {}
        version = row.get("driver_version", row.get("kmd_version", ""))
        if version[:1].isdigit():
            versions.append(version)
        if (version[:1].isdigit() or not VERSION_FIELDS & set(fields)) and (gpu := _parse_gpu(row)):
            gpus.append(gpu)
        else:
            complaints.append(line)
    if not versions and not gpus:
        return Unreadable(f"nvidia-smi did not print a list of GPUs but {output.strip()[:80]!r}")
    return Found(
        NvidiaDriver(
            driver_version=versions[0] if versions else "",
            cuda_version=None,
            gpus=tuple(gpus),
            complaints=tuple(complaints[:MOST_COMPLAINTS]),
        )
    )


def _parse_gpu(row: dict[str, str]) -> Gpu | None:
    """Return the GPU in one line of the output; None if its number, name or compute capability is missing."""
    index, name = row.get("index", ""), row.get("name", "")
    capability = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", row.get("compute_cap", ""), re.ASCII)
    if not capability or not re.fullmatch(r"\d{1,4}", index, re.ASCII) or not name:
        return None
    memory, model = row.get("memory.total", ""), row.get("driver_model.current", "")
    return Gpu(
        index=int(index),
        name=name,
        compute_capability=(int(capability[1]), int(capability[2])),
        # "[N/A]" if the GPU shares the computer's memory
        total_memory_bytes=int(memory) * MEBIBYTE if re.fullmatch(r"\d{1,9}", memory, re.ASCII) else 0,
        driver_model=model if model.isalpha() else None,
    )


def parse_smi_cuda(output: str) -> tuple[int, int] | None:
    """Return the newest CUDA that the driver supports, from nvidia-smi's banner ("CUDA UMD Version" from driver 610)."""
    match = re.search(r"CUDA(?: UMD)? Version:\s+(\d{1,3})\.(\d{1,3})", output)
    return (int(match[1]), int(match[2])) if match else None


def parse_smi_version(output: str) -> str:
    """Return the driver version in the output of `nvidia-smi --version` or in its banner; empty without one."""
    found = VERSION.search(output)
    return found[1] if found else ""


def printable_lines(output: str) -> tuple[str, ...]:
    """Return the lines that are not blank, without control characters."""
    lines = ("".join(c if c.isprintable() else "?" for c in line).strip() for line in output.splitlines())
    return tuple(line[:200] for line in lines if line)


def _run(host: Reader, *arguments: str) -> Reading[Completed]:
    """Run the nvidia-smi on PATH, else the one where Windows drivers install it."""
    programs = []
    if isinstance(found := host.find_program("nvidia-smi"), Found):
        programs.append(found.value)
    elif host.identity.os == "windows":
        programs.append(join(host, system32(host), "nvidia-smi.exe"))
        programs.append(join(host, program_files(host), "NVIDIA Corporation", "NVSMI", "nvidia-smi.exe"))
    for program in programs:
        if not isinstance(ran := host.run([program, *arguments], TIMEOUT), Absent):
            return ran
    return Absent()


def _query(host: Reader) -> tuple[Reading[Completed], tuple[str, ...]]:
    """Query the GPUs, again without each field that this nvidia-smi refuses. Return the result and its fields."""
    fields: tuple[str, ...] = (*FIELDS, "driver_model.current") if host.identity.os == "windows" else FIELDS
    ran = _query_fields(host, fields)
    while refused := _refused(ran, fields):
        remaining = _without(refused, fields)
        again = _query_fields(host, remaining)
        if not isinstance(again, Found):
            break
        ran, fields = again, remaining
    return ran, fields


def _query_fields(host: Reader, fields: tuple[str, ...]) -> Reading[Completed]:
    return _run(host, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")


def _refused(ran: Reading[Completed], fields: tuple[str, ...]) -> str | None:
    """Return the field that nvidia-smi refused to query."""
    found = REFUSED.search(ran.value.stdout + ran.value.stderr) if isinstance(ran, Found) else None
    return found[1] if found and found[1] in fields else None


def _without(refused: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """Replace the refused field by its new name, or leave it out if it has none."""
    replaced = (RENAMED.get(field) if field == refused else field for field in fields)
    return tuple(field for field in replaced if field)


def _without_gpus(host: Reader, complaints: tuple[str, ...]) -> Reading[NvidiaDriver]:
    """Return the driver without GPUs, and why it lists none."""
    return Found(
        NvidiaDriver(
            driver_version=_driver_version(host),
            cuda_version=None,
            gpus=(),
            complaints=complaints[:MOST_COMPLAINTS],
        )
    )


def _driver_version(host: Reader) -> str:
    """Return the version from `nvidia-smi --version`, else from the banner of plain `nvidia-smi`; empty if neither has it."""
    for arguments in (("--version",), ()):
        ran = _run(host, *arguments)
        if isinstance(ran, Found) and (version := parse_smi_version(ran.value.stdout)):
            return version
    return ""


def _complaint(failed: Completed) -> str | None:
    """Return nvidia-smi's message about a broken driver; None if it crashed or rejected the query."""
    words = first_line(failed)
    return None if crashed(failed) or "not a valid field" in words else words or None
