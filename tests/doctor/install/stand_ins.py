"""Small but real wheel files: a test chooses their names, their requirements, and whether they work."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
PLATFORM = "win_amd64" if sys.platform == "win32" else "linux_x86_64"
NATIVE = f"{TAG}-{TAG}-{PLATFORM}"
PURE = "py3-none-any"
LABEL = "cu130torch2.14cxx11abiTRUE"  # of a flash-attn

TORCH = """
from torch.version import __version__, cuda as _cuda

class Tensor:
    def __init__(self, value=1.0):
        self.value, self.grad = value, self
    def __sub__(self, other):
        return Tensor(self.value - other.value)
    def item(self):
        return abs(self.value)
    def __matmul__(self, other):
        return self
    __mul__ = __matmul__
    def __getattr__(self, name):
        return lambda *arguments, **options: self

class cuda:
    is_available = staticmethod(lambda: _cuda is not None)
    get_device_capability = staticmethod(lambda: (9, 0))

class autograd:
    grad = staticmethod(lambda result, tensors, retain_graph: tensors)

float16 = "float16"

def randn(*size, device, requires_grad=False, dtype=None):
    assert device == "cpu" or cuda.is_available()
    return Tensor()

def linspace(*ends, device, requires_grad):
    return Tensor()

def compile(function, fullgraph):
    return function

def allclose(a, b, atol):
    return a.value == b.value

def isfinite(tensor):
    return tensor

def manual_seed(seed):
    pass
"""
TORCH_FILES = {
    "torch/__init__.py": TORCH + "from torch import nn\n",
    "torch/nn/__init__.py": "from torch.nn import attention, functional\n",
    "torch/nn/functional.py": "def scaled_dot_product_attention(q, k, v, is_causal):\n    return q\n"
    "def cosine_similarity(a, b, dim):\n    return type(a)(1 / (1 + (a - b).item()))\n",
    "torch/nn/attention.py": "import contextlib\nclass SDPBackend:\n    MATH = 0\nsdpa_kernel = contextlib.nullcontext\n",
    "torch/lib/__init__.py": "",
}
FLASH_ATTN = "import torch\ndef flash_attn_func(q, k, v, causal):\n    return torch.Tensor({result})\n"
XFORMERS = (
    "import torch\nLowerTriangularMask = object\n"
    "def memory_efficient_attention(q, k, v, attn_bias):\n    return torch.Tensor()\n"
)
BROKEN = "raise ImportError('DLL load failed while importing flash_attn_2_cuda: The specified procedure could not be found.')\n"


def wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    tag: str = PURE,
    inside: str | None = None,
    requires: Sequence[str] = (),
    metadata_version: str | None = None,
    programs: Sequence[str] = (),
) -> Path:
    """Write a wheel. `inside`: the tag in its WHEEL file, if it differs from that of the filename."""
    stem = f"{name.replace('-', '_')}-{metadata_version or version}"
    info = f"{stem}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {metadata_version or version}\n"]
    metadata += [f"Requires-Dist: {requirement}\n" for requirement in requires]
    content = {
        **files,
        f"{info}/METADATA": "".join(metadata),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {inside or tag}\n",
    }
    if programs:
        lines = "".join(f"{program} = {name.replace('-', '_')}:main\n" for program in programs)
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}"
    record = "".join(f"{member},{_hash(text)},{len(text.encode())}\n" for member, text in content.items())
    content[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    path = folder / f"{name.replace('-', '_')}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in content.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


def torch(folder: Path, version: str, cuda: str | None, **options: object) -> Path:
    """A torch that reports its version and can multiply."""
    files = {
        **TORCH_FILES,
        "torch/version.py": f"__version__ = {version!r}\ncuda = {cuda!r}\n",
        f"torch/lib/of_{version.replace('.', '_').replace('+', '_')}.py": f"# {'x' * 20000}\n",
    }
    options = {"tag": NATIVE, "requires": ["networkx-stand-in"], "programs": ["torchrun"], **options}
    return wheel(folder, "torch", version, files, **options)  # type: ignore[arg-type]


def flash_attn(folder: Path, label: str, *, result: float | None = 1.0, **options: object) -> Path:
    """A flash-attn as published: the label is in the filename alone. With `result` None, it cannot be imported."""
    code = BROKEN if result is None else FLASH_ATTN.format(result=result)
    files = {"flash_attn/__init__.py": code, "flash_attn/layers/__init__.py": ""}
    options = {
        "requires": ["torch", "einops-stand-in"],
        "tag": NATIVE,
        "metadata_version": "2.8.3",
        **options,
    }
    return wheel(folder, "flash-attn", f"2.8.3+{label}", files, **options)  # type: ignore[arg-type]


def xformers(
    folder: Path, version: str, requires: Sequence[str] = ("torch>=2.10",), **options: object
) -> Path:
    """An xformers with the record of what its kernels were built with."""
    files = {
        "xformers/__init__.py": "",
        "xformers/ops.py": XFORMERS,
        "xformers/cpp_lib.json": '{"version": {"torch": "2.10.0+cu130", "cuda": 1300}}\n',
    }
    return wheel(folder, "xformers", version, files, tag=NATIVE, requires=requires, **options)  # type: ignore[arg-type]


def files_of(name: str) -> dict[str, Path]:
    """The files of a pure package that is installed for the tests, by their names in its wheel."""
    found = importlib.metadata.distribution(name).files or ()
    files = (file for file in found if ".." not in file.parts and file.suffix != ".pyc")
    return {file.as_posix(): Path(str(file.locate())) for file in files}


def repacked(name: str, folder: Path) -> Path:
    """A wheel of the installed package."""
    path = folder / f"{name}-{importlib.metadata.version(name)}-{PURE}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, file in files_of(name).items():
            archive.write(file, member)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
