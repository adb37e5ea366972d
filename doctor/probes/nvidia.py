"""The NVIDIA driver and its GPUs: NVML first, then nvidia-smi, then what the system itself lists."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import Literal

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Gpu, Host, NvidiaDriver, Reading, Unreadable
from doctor.host.completed import crashed, exit_code, first_words
from doctor.probes.paths import join, program_files, system32

PCI_KEY = r"HKLM\SYSTEM\CurrentControlSet\Enum\PCI"
PCI_FOLDER = "/sys/bus/pci/devices"
VENDOR = "10de"  # PCI vendor
DISPLAY = "03"  # PCI class
DISABLED = 1  # the bit of a device's ConfigFlags that Device Manager sets
SMI_TIMEOUT = 10.0
MEBIBYTE = 1024 * 1024
NO_DEVICE = "No devices were found"  # nvidia-smi, where the driver works and sees no GPU


@dataclass(frozen=True)
class NvidiaFacts:
    """`driver` Absent: none is installed; Unreadable: it is there, or may be, and gives no usable answer.

    Attributes:
        source: who answered, "nvml" or "nvidia-smi".
        complaint: the driver's own words where it answers that it does not work.
        adapters: NVIDIA display adapters that the system lists, driver or not.
        disabled: those of them that somebody switched off in Device Manager.
        visible_devices: CUDA_VISIBLE_DEVICES.
        by_bus: does CUDA number the GPUs as the driver lists them, or the fastest first (its default)?
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
        """Is there an NVIDIA GPU? None: nobody can tell."""
        if self.adapters:
            return True
        if isinstance(self.driver, Found):
            return bool(self.driver.value.gpus)
        return False if isinstance(self.driver, Absent) else None

    @property
    def reported(self) -> tuple[Gpu, ...]:
        """The GPUs that the driver reports."""
        return self.driver.value.gpus if isinstance(self.driver, Found) else ()

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that programs get; all, where CUDA_VISIBLE_DEVICES leaves none."""
        return self.visible or self.reported

    @property
    def visible(self) -> tuple[Gpu, ...]:
        """The GPUs that CUDA_VISIBLE_DEVICES leaves to programs, in CUDA's order: training takes the first.

        Named by UUID, all count: the driver's are not known.
        """
        if self.visible_devices is None or self.visible_devices.startswith(("GPU-", "MIG-")):
            return self._numbered
        chosen = parse_visible_devices(self.visible_devices, len(self.reported))
        return tuple(self._numbered[number] for number in chosen)

    @property
    def _numbered(self) -> tuple[Gpu, ...]:
        """In CUDA's order. What it calls the fastest, nobody documents: capability and memory stand in for it."""
        if self.by_bus:
            return self.reported
        return tuple(
            sorted(
                self.reported, key=lambda gpu: (gpu.compute_capability, gpu.total_memory_bytes), reverse=True
            )
        )

    @property
    def asked(self) -> Literal["nvml", "program"]:
        """Who answered, as evidence."""
        return "nvml" if self.source == "nvml" else "program"

    @property
    def capabilities(self) -> tuple[tuple[int, int], ...]:
        return tuple(gpu.compute_capability for gpu in self.gpus)


def _fields(host: Host) -> list[str]:
    fields = ["index", "name", "driver_version", "compute_cap", "memory.total"]
    return [*fields, "driver_model.current"] if host.identity.os == "windows" else fields


def parse_visible_devices(text: str, count: int) -> tuple[int, ...]:
    """The numbers in CUDA_VISIBLE_DEVICES that CUDA follows: it stops at the first that is no GPU's (torch.cuda, too)."""
    chosen: list[int] = []
    for entry in text.split(","):
        number = re.match(r"\s*\+?(\d{1,9})", entry)
        if number is None or int(number[1]) >= count:
            break
        if int(number[1]) in chosen:
            return ()  # one named twice hides all
        chosen.append(int(number[1]))
    return tuple(chosen)


def _run_smi(host: Host, *arguments: str) -> Reading[Completed]:
    """nvidia-smi from PATH, else from the places where Windows drivers put it."""
    places = []
    if isinstance(found := host.find_program("nvidia-smi"), Found):
        places.append(found.value)
    elif host.identity.os == "windows":
        places.append(join(host, system32(host), "nvidia-smi.exe"))
        places.append(join(host, program_files(host), "NVIDIA Corporation", "NVSMI", "nvidia-smi.exe"))
    for place in places:
        if not isinstance(ran := host.run([place, *arguments], SMI_TIMEOUT), Absent):
            return ran
    return Absent()


def _parse_gpu(row: list[str]) -> tuple[str, Gpu]:
    """The driver version and the GPU in one line of nvidia-smi. Raises ValueError."""
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
    """What `nvidia-smi --query-gpu` printed."""
    try:
        rows = [_parse_gpu(row) for row in csv.reader(output.splitlines()) if row]
    except (ValueError, csv.Error):
        rows = []
    if not rows:
        return Unreadable(f"nvidia-smi printed something else than GPUs: {output.strip()[:80]!r}")
    return Found(
        NvidiaDriver(driver_version=rows[0][0], cuda_version=None, gpus=tuple(gpu for _, gpu in rows))
    )


def parse_smi_cuda(output: str) -> tuple[int, int] | None:
    """The newest CUDA that the driver supports, in nvidia-smi's banner: drivers from 610 on say "CUDA UMD Version"."""
    match = re.search(r"CUDA(?: UMD)? Version:\s+(\d{1,3})\.(\d{1,3})", output)
    return (int(match[1]), int(match[2])) if match else None


def _ask_smi(host: Host) -> tuple[Reading[NvidiaDriver], str | None]:
    """The driver as nvidia-smi tells of it, and its complaint. Absent: there is no nvidia-smi."""
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


def _driver_version(host: Host) -> str:
    """As `nvidia-smi --version` says it, without asking any GPU; empty: it does not."""
    ran = _run_smi(host, "--version")
    found = (
        re.search(r"DRIVER version\s*:\s*(\d[\d.]*)", ran.value.stdout) if isinstance(ran, Found) else None
    )
    return found[1] if found else ""


def _complaint(failed: Completed) -> str | None:
    """What nvidia-smi says about a driver that does not work; None where it crashed, or did not understand us."""
    words = first_words(failed)
    return None if crashed(failed) or "not a valid field" in words else words or None


def _adapters_on_windows(host: Host) -> list[tuple[str, bool]]:
    """Display adapters of NVIDIA on the PCI bus, which Windows lists before any driver is installed: is it disabled?"""
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


def _adapters_on_linux(host: Host) -> tuple[str, ...]:
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


def _nvidia(host: Host) -> NvidiaFacts:
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
