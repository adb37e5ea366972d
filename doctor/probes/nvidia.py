"""The NVIDIA driver and its GPUs: from NVML, else nvidia-smi, and the adapters that the system lists."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import Literal

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Gpu, NvidiaDriver, Reader, Reading, Unreadable
from doctor.host.completed import crashed, exit_code, first_line
from doctor.probes.paths import join, program_files, system32

PCI_KEY = r"HKLM\SYSTEM\CurrentControlSet\Enum\PCI"
PCI_FOLDER = "/sys/bus/pci/devices"
VENDOR = "10de"  # PCI vendor
DISPLAY = "03"  # PCI class
DISABLED = 1  # the bit of a device's ConfigFlags that Device Manager sets
SMI_TIMEOUT = 10.0
MEBIBYTE = 1024 * 1024
NO_DEVICE = "No devices were found"  # nvidia-smi prints this if the driver works but sees no GPU


@dataclass(frozen=True)
class NvidiaFacts:
    """The driver and its GPUs.

    Attributes:
        driver: Absent if not installed; Unreadable if it gave no usable answer.
        source: where `driver` comes from: "nvml" or "nvidia-smi".
        complaint: the driver's own error message, if it reports that it does not work.
        adapters: the NVIDIA display adapters listed by the system, with or without a driver.
        disabled: those of them that are disabled in Device Manager.
        visible_devices: CUDA_VISIBLE_DEVICES.
        by_bus: CUDA numbers the GPUs in the driver's order (CUDA_DEVICE_ORDER=PCI_BUS_ID), not fastest first (default).
    """

    driver: Reading[NvidiaDriver]
    source: str
    complaint: str | None
    adapters: tuple[str, ...]
    visible_devices: str | None
    disabled: tuple[str, ...] = ()
    by_bus: bool = False

    @property
    def has_gpu(self) -> bool | None:
        """Whether there is an NVIDIA GPU; None if unknown."""
        if self.adapters:
            return True
        if isinstance(self.driver, Found):
            return bool(self.driver.value.gpus)
        return False if isinstance(self.driver, Absent) else None

    @property
    def reported(self) -> tuple[Gpu, ...]:
        """All GPUs the driver reports."""
        return self.driver.value.gpus if isinstance(self.driver, Found) else ()

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs visible to programs; all of them if CUDA_VISIBLE_DEVICES hides every one."""
        return self.visible or self.reported

    @property
    def visible(self) -> tuple[Gpu, ...]:
        """The GPUs that CUDA_VISIBLE_DEVICES leaves visible, in CUDA's order. Training uses the first.

        If it names GPUs by UUID, all count as visible, because UUIDs are not collected.
        """
        if self.visible_devices is None or self.visible_devices.startswith(("GPU-", "MIG-")):
            return self._numbered
        chosen = parse_visible_devices(self.visible_devices, len(self.reported))
        return tuple(self._numbered[number] for number in chosen)

    @property
    def _numbered(self) -> tuple[Gpu, ...]:
        """The GPUs in CUDA's order. "Fastest first" is undocumented; capability and memory approximate it."""
        if self.by_bus:
            return self.reported
        return tuple(
            sorted(
                self.reported, key=lambda gpu: (gpu.compute_capability, gpu.total_memory_bytes), reverse=True
            )
        )

    @property
    def evidence_source(self) -> Literal["nvml", "program"]:
        """`source` as the source of an Evidence."""
        return "nvml" if self.source == "nvml" else "program"

    @property
    def capabilities(self) -> tuple[tuple[int, int], ...]:
        return tuple(gpu.compute_capability for gpu in self.gpus)


def _fields(host: Reader) -> list[str]:
    fields = ["index", "name", "driver_version", "compute_cap", "memory.total"]
    return [*fields, "driver_model.current"] if host.identity.os == "windows" else fields


def parse_visible_devices(text: str, count: int) -> tuple[int, ...]:
    """Return the GPU numbers in CUDA_VISIBLE_DEVICES. Like CUDA and torch.cuda, stop at the first invalid one."""
    chosen: list[int] = []
    for entry in text.split(","):
        number = re.match(r"\s*\+?(\d{1,9})", entry)
        if number is None or int(number[1]) >= count:
            break
        if int(number[1]) in chosen:
            return ()  # CUDA hides every GPU if one is listed twice
        chosen.append(int(number[1]))
    return tuple(chosen)


def _run_smi(host: Reader, *arguments: str) -> Reading[Completed]:
    """Run the nvidia-smi on PATH, else the one where Windows drivers install it."""
    programs = []
    if isinstance(found := host.find_program("nvidia-smi"), Found):
        programs.append(found.value)
    elif host.identity.os == "windows":
        programs.append(join(host, system32(host), "nvidia-smi.exe"))
        programs.append(join(host, program_files(host), "NVIDIA Corporation", "NVSMI", "nvidia-smi.exe"))
    for program in programs:
        if not isinstance(ran := host.run([program, *arguments], SMI_TIMEOUT), Absent):
            return ran
    return Absent()


def _parse_gpu(row: list[str]) -> tuple[str, Gpu]:
    """Return the driver version and the GPU in one line of nvidia-smi's output. Raises ValueError."""
    index, name, driver, capability, memory, *model = (cell.strip() for cell in row)
    major, minor = capability.split(".")
    if not driver[:1].isdigit() or not name:
        raise ValueError(row)
    return driver, Gpu(
        index=int(index),
        name=name,
        compute_capability=(int(major), int(minor)),
        total_memory_bytes=int(memory) * MEBIBYTE if memory.isdigit() else 0,  # "[N/A]": shared memory
        driver_model=model[0] if model and model[0].isalpha() else None,
    )


def parse_smi(output: str) -> Reading[NvidiaDriver]:
    """Parse the output of `nvidia-smi --query-gpu`."""
    try:
        rows = [_parse_gpu(row) for row in csv.reader(output.splitlines()) if row]
    except (ValueError, csv.Error):
        rows = []
    if not rows:
        return Unreadable(f"nvidia-smi did not print a list of GPUs but {output.strip()[:80]!r}")
    return Found(
        NvidiaDriver(driver_version=rows[0][0], cuda_version=None, gpus=tuple(gpu for _, gpu in rows))
    )


def parse_smi_cuda(output: str) -> tuple[int, int] | None:
    """Return the newest CUDA that the driver supports, from nvidia-smi's banner ("CUDA UMD Version" from driver 610)."""
    match = re.search(r"CUDA(?: UMD)? Version:\s+(\d{1,3})\.(\d{1,3})", output)
    return (int(match[1]), int(match[2])) if match else None


def _ask_smi(host: Reader) -> tuple[Reading[NvidiaDriver], str | None]:
    """Return the driver as reported by nvidia-smi (Absent without nvidia-smi), and its error message."""
    query = [f"--query-gpu={','.join(_fields(host))}", "--format=csv,noheader,nounits"]
    ran = _run_smi(host, *query)
    if isinstance(ran, Absent):
        return ran, None
    if isinstance(ran, Unreadable):
        return Unreadable(f"the driver is not answering ({ran.reason})"), None
    if NO_DEVICE in ran.value.stdout:
        return Found(NvidiaDriver(driver_version=_driver_version(host), cuda_version=None, gpus=())), None
    if ran.value.exit_code != 0:
        complaint = _complaint(ran.value)
        return Unreadable(complaint or f"nvidia-smi ended with exit code {exit_code(ran.value)}"), complaint
    driver = parse_smi(ran.value.stdout)
    if isinstance(driver, Found) and isinstance(banner := _run_smi(host), Found):
        cuda = parse_smi_cuda(banner.value.stdout)
        driver = Found(driver.value.model_copy(update={"cuda_version": cuda}))
    return driver, None


def _driver_version(host: Reader) -> str:
    """Return the version from `nvidia-smi --version`, which needs no GPU; empty if it prints none."""
    ran = _run_smi(host, "--version")
    found = (
        re.search(r"DRIVER version\s*:\s*(\d[\d.]*)", ran.value.stdout) if isinstance(ran, Found) else None
    )
    return found[1] if found else ""


def _complaint(failed: Completed) -> str | None:
    """Return nvidia-smi's message about a broken driver; None if it crashed or rejected the query."""
    words = first_line(failed)
    return None if crashed(failed) or "not a valid field" in words else words or None


def _adapters_on_windows(host: Reader) -> list[tuple[str, bool]]:
    """Return the NVIDIA display adapters on the PCI bus, which Windows lists even without a driver.

    Each with whether it is disabled in Device Manager.
    """
    adapters = []
    devices = host.registry_subkeys(PCI_KEY)
    for device in devices.value if isinstance(devices, Found) else ():
        if f"VEN_{VENDOR.upper()}" not in device.upper():
            continue
        instances = host.registry_subkeys(f"{PCI_KEY}\\{device}")
        for instance in instances.value if isinstance(instances, Found) else ():
            key = f"{PCI_KEY}\\{device}\\{instance}"
            kinds = host.registry_value(key, "CompatibleIDs")
            if not isinstance(kinds, Found) or f"CC_{DISPLAY}" not in str(kinds.value.value).upper():
                continue
            described = host.registry_value(key, "DeviceDesc")
            text = str(described.value.value) if isinstance(described, Found) else device
            flags = host.registry_value(key, "ConfigFlags")
            value = flags.value.value if isinstance(flags, Found) else 0
            adapters.append((text.rpartition(";")[2], isinstance(value, int) and bool(value & DISABLED)))
    return adapters


def _adapters_on_linux(host: Reader) -> tuple[str, ...]:
    def starts(path: str, prefix: str) -> bool:
        content = host.read_file(path)
        return isinstance(content, Found) and content.value.strip().startswith(prefix.encode())

    devices = host.list_directory(PCI_FOLDER)
    return tuple(
        f"PCI device {device}"
        for device in (devices.value if isinstance(devices, Found) else ())
        if starts(f"{PCI_FOLDER}/{device}/vendor", f"0x{VENDOR}")
        and starts(f"{PCI_FOLDER}/{device}/class", f"0x{DISPLAY}")
    )


def _nvidia(host: Reader) -> NvidiaFacts:
    source, complaint = "nvml", None
    driver = host.nvml()
    if not isinstance(driver, Found):
        answer, complaint = _ask_smi(host)
        if not isinstance(answer, Absent):
            source, driver = "nvidia-smi", answer
    adapters: list[tuple[str, bool]] = []
    if host.identity.os == "windows":
        adapters = _adapters_on_windows(host)
    elif host.identity.os == "linux":
        adapters = [(name, False) for name in _adapters_on_linux(host)]
    return NvidiaFacts(
        driver,
        source,
        complaint,
        adapters=tuple(name for name, _ in adapters),
        visible_devices=host.variable("CUDA_VISIBLE_DEVICES"),
        disabled=tuple(name for name, disabled in adapters if disabled),
        by_bus=host.variable("CUDA_DEVICE_ORDER") == "PCI_BUS_ID",
    )


NVIDIA = Probe("nvidia", _nvidia, timeout=30.0)
