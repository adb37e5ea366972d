"""What the driver measures of a GPU: use, temperature and power, by NVML. A CPU has none of them."""

from __future__ import annotations

from typing import Any

import torch

Readings = dict[str, float]


class GpuReadings:
    """Reads the GPU of a device.

    Attributes:
        reason: why there are no readings; None if there are.
    """

    def __init__(self, device: torch.device) -> None:
        self.reason: str | None = None
        self._handle: Any = None
        if device.type != "cuda":
            self.reason = f"{device.type} is not an NVIDIA GPU"
            return
        import pynvml

        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            # By its id: NVML also counts GPUs that CUDA_VISIBLE_DEVICES hides
            uuid = torch.cuda.get_device_properties(device).uuid
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        except (pynvml.NVMLError, AttributeError) as error:
            self.reason = f"NVML does not find this GPU: {error}"

    def read(self) -> Readings:
        """The readings that the driver has: gpu_utilization (a fraction), gpu_celsius and gpu_watts."""
        if self._handle is None:
            return {}
        nvml, handle = self._nvml, self._handle
        found: Readings = {}
        for name, read in (
            ("gpu_utilization", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            ("gpu_celsius", lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
            ("gpu_watts", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        ):
            try:
                found[name] = read()
            except nvml.NVMLError:  # this GPU does not measure it
                continue
        return found
