"""The NVIDIA driver and its GPUs: from NVML, else nvidia-smi, and the adapters that the system lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from doctor.check import Probe
from doctor.host import Absent, Found, Gpu, NvidiaDriver, Reader, Reading
from doctor.probes.nvidia_smi import ask_smi

PCI_KEY = r"HKLM\SYSTEM\CurrentControlSet\Enum\PCI"
PCI_FOLDER = "/sys/bus/pci/devices"
VENDOR = "10de"  # PCI vendor
DISPLAY = "03"  # PCI class
DISABLED = 1  # the bit of a device's ConfigFlags that Device Manager sets


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
            if self.driver.value.gpus:
                return True
            return None if self.driver.value.complaints else False
        return False if isinstance(self.driver, Absent) else None

    @property
    def reported(self) -> tuple[Gpu, ...]:
        """All GPUs the driver reports."""
        return self.driver.value.gpus if isinstance(self.driver, Found) else ()

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the driver reports beside the GPUs it lists, such as a GPU that does not answer."""
        return self.driver.value.complaints if isinstance(self.driver, Found) else ()

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
        answer, complaint = ask_smi(host)
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
