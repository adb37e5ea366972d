"""The NVIDIA driver and its GPUs: NVML first, then nvidia-smi, then what the system itself lists."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Gpu, Host, NvidiaDriver, Reading, Unreadable
from doctor.host.endings import crashed, exit_code, first_words
from doctor.probes.paths import join

PCI_KEY = r"HKLM\SYSTEM\CurrentControlSet\Enum\PCI"
PCI_FOLDER = "/sys/bus/pci/devices"
NVIDIA = "10de"  # PCI vendor
DISPLAY = "03"  # PCI class
SMI_TIMEOUT = 10.0
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class NvidiaFacts:
    """`driver` Absent: none is installed; Unreadable: it is there, or may be, and gives no usable answer.

    Attributes:
        source: who answered, "nvml" or "nvidia-smi".
        complaint: the driver's own words where it answers that it does not work.
        adapters: NVIDIA display adapters that the system lists, driver or not.
        visible_devices: CUDA_VISIBLE_DEVICES.
    """

    driver: Reading[NvidiaDriver]
    source: str
    complaint: str | None
    adapters: tuple[str, ...]
    visible_devices: str | None

    @property
    def has_gpu(self) -> bool | None:
        """Is there an NVIDIA GPU? None: nobody can tell."""
        if self.adapters:
            return True
        if isinstance(self.driver, Found):
            return bool(self.driver.value.gpus)
        return False if isinstance(self.driver, Absent) else None

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that the driver reports."""
        return self.driver.value.gpus if isinstance(self.driver, Found) else ()

    @property
    def capabilities(self) -> tuple[tuple[int, int], ...]:
        return tuple(gpu.compute_capability for gpu in self.gpus)


def _fields(host: Host) -> list[str]:
    fields = ["index", "name", "driver_version", "compute_cap", "memory.total"]
    return [*fields, "driver_model.current"] if host.identity.os == "windows" else fields


def _run_smi(host: Host) -> Reading[Completed]:
    """nvidia-smi from PATH, else from the places where Windows drivers put it."""
    query = [f"--query-gpu={','.join(_fields(host))}", "--format=csv,noheader,nounits"]
    places = []
    if isinstance(found := host.find_program("nvidia-smi"), Found):
        places.append(found.value)
    elif host.identity.os == "windows":
        places.append(join(host, host.variable("SystemRoot") or "C:\\Windows", "System32", "nvidia-smi.exe"))
        files = host.variable("ProgramFiles") or "C:\\Program Files"
        places.append(join(host, files, "NVIDIA Corporation", "NVSMI", "nvidia-smi.exe"))
    for place in places:
        if not isinstance(ran := host.run([place, *query], SMI_TIMEOUT), Absent):
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


def _complaint(failed: Completed) -> str | None:
    """What nvidia-smi says about a driver that does not work; None where it crashed, or did not understand us."""
    words = first_words(failed)
    return None if crashed(failed) or "not a valid field" in words else words or None


def _adapters_on_windows(host: Host) -> tuple[str, ...]:
    """Display adapters of NVIDIA on the PCI bus, which Windows lists before any driver is installed."""
    names = []
    devices = host.registry_subkeys(PCI_KEY)
    for device in devices.value if isinstance(devices, Found) else ():
        if f"VEN_{NVIDIA.upper()}" not in device.upper():
            continue
        instances = host.registry_subkeys(f"{PCI_KEY}\\{device}")
        for instance in instances.value if isinstance(instances, Found) else ():
            key = f"{PCI_KEY}\\{device}\\{instance}"
            kinds = host.registry_value(key, "CompatibleIDs")
            if not isinstance(kinds, Found) or f"CC_{DISPLAY}" not in str(kinds.value.value).upper():
                continue
            described = host.registry_value(key, "DeviceDesc")
            text = str(described.value.value) if isinstance(described, Found) else device
            names.append(text.rpartition(";")[2])
    return tuple(names)


def _adapters_on_linux(host: Host) -> tuple[str, ...]:
    def starts(path: str, prefix: str) -> bool:
        content = host.read_file(path)
        return isinstance(content, Found) and content.value.strip().startswith(prefix.encode())

    devices = host.list_directory(PCI_FOLDER)
    return tuple(
        f"PCI device {device}"
        for device in (devices.value if isinstance(devices, Found) else ())
        if starts(f"{PCI_FOLDER}/{device}/vendor", f"0x{NVIDIA}")
        and starts(f"{PCI_FOLDER}/{device}/class", f"0x{DISPLAY}")
    )


def _nvidia(host: Host) -> NvidiaFacts:
    source, complaint = "nvml", None
    driver = host.nvml()
    if not isinstance(driver, Found):
        ran = _run_smi(host)
        if not isinstance(ran, Absent):
            source = "nvidia-smi"
            if isinstance(ran, Unreadable):
                driver = Unreadable(f"the driver is not answering ({ran.reason})")
            elif ran.value.exit_code == 0:
                driver = parse_smi(ran.value.stdout)
            else:
                complaint = _complaint(ran.value)
                driver = Unreadable(complaint or f"nvidia-smi ended with exit code {exit_code(ran.value)}")
    adapters: tuple[str, ...] = ()
    if host.identity.os == "windows":
        adapters = _adapters_on_windows(host)
    elif host.identity.os == "linux":
        adapters = _adapters_on_linux(host)
    return NvidiaFacts(driver, source, complaint, adapters, host.variable("CUDA_VISIBLE_DEVICES"))


PROBE = Probe("nvidia", _nvidia, timeout=30.0)
