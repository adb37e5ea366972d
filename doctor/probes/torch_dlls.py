"""The DLLs that torch's own libraries import on Windows, and which of them are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader, Reading, Unreadable
from doctor.probes.dll_copies import cuda_dlls
from doctor.probes.dll_imports import loadable_names
from doctor.probes.packages import torch_libraries
from doctor.probes.paths import join, system32

# Their imports are read, in the order in which `import torch` needs them
OWN = ("c10.dll", "torch_cpu.dll", "shm.dll", "torch_python.dll", "c10_cuda.dll", "torch_cuda.dll")
# Imports of torch's own wheel. CUDA's libraries may come from PATH (see dll-shadowing), others from Windows or the C++ runtime
PROVIDED = re.compile(r"(?:c10|torch|fbgemm|shm|uv|libiomp5md)\w*\.dll")


@dataclass(frozen=True)
class TorchDlls:
    """torch's own libraries.

    Attributes:
        missing: the file that needs a missing library, by library.
        unreadable: why the imports of a library could not be read, by library.
    """

    missing: dict[str, str]
    unreadable: dict[str, str]


def _torch_dlls(host: Reader) -> Reading[TorchDlls]:
    listed, torch = torch_libraries(host), host.distribution("torch")
    if not isinstance(listed, Found) or not isinstance(torch, Found):
        return listed if isinstance(listed, Unreadable) else Unreadable("torch\\lib does not exist")
    folder = join(host, torch.value.location, "torch", "lib")
    own = set(map(str.lower, listed.value))
    present = loadable_names(host, join(host, folder, OWN[0]), listed.value)
    missing: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    for name in OWN:
        binary = host.binary(join(host, folder, name)) if name in own else None
        if isinstance(binary, Unreadable):
            unreadable[name] = binary.reason
        for needed in binary.value.imports if isinstance(binary, Found) else ():
            if PROVIDED.fullmatch(needed) and needed not in present and not _in_windows(host, needed):
                missing.setdefault(needed, name)
    # A wheel with CUDA's libraries has cuDNN's, too. This needs no import table.
    has_cuda = "torch_cuda.dll" in own and any(name.startswith("cudart64_") for name in own)
    if has_cuda and not any(name.startswith("cudnn64_") for name in {*present, *cuda_dlls(host).on_path}):
        missing["cudnn64_9.dll"] = "torch_cuda.dll"
    return Found(TorchDlls(missing, unreadable))


def _in_windows(host: Reader, name: str) -> bool:
    return isinstance(host.binary(join(host, system32(host), name)), Found)


TORCH_DLLS = Probe("torch-dlls", _torch_dlls, timeout=20.0)
