"""Real wheel files of packages that are small: what they are named, what they ask for, and whether they work, is up to a test."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
PLATFORM = "win_amd64" if sys.platform == "win32" else "linux_x86_64"
NATIVE = f"{TAG}-{TAG}-{PLATFORM}"
PURE = "py3-none-any"

TORCH = """
from torch.version import __version__

class _True:
    def all(self): return self
    def item(self): return True

class Tensor:
    grad = None
    def __matmul__(self, other): return self
    def sum(self): return self
    def backward(self): pass

class cuda:
    is_available = staticmethod(lambda: {cuda!r} is not None)

def randn(*size, device, requires_grad):
    return Tensor()

def isfinite(tensor):
    return _True()
"""
# What verification asks of these needs a GPU: without one it is their import that must succeed.
MODULE = "VALUE = {version!r}\n"
BROKEN = "raise ImportError('DLL load failed while importing {name}_cuda: The specified procedure could not be found.')\n"


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
    """Write a wheel. `inside`: the tag in its WHEEL, where that is another than the file name's."""
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
    """A torch that says what it is, and multiplies."""
    files = {
        "torch/__init__.py": TORCH.format(cuda=cuda),
        "torch/version.py": f"__version__ = {version!r}\ncuda = {cuda!r}\n",
        "torch/lib/__init__.py": "",
        f"torch/lib/of_{version.replace('.', '_').replace('+', '_')}.py": f"# {'x' * 20000}\n",
    }
    requires = ["networkx-stand-in"]
    return wheel(
        folder, "torch", version, files, tag=NATIVE, requires=requires, programs=["torchrun"], **options
    )  # type: ignore[arg-type]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
