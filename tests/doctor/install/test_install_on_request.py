"""Each package that is installed on request, from an index on loopback: plan, hash, installation, verification, undo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.fresh_environment import Environment
from tests.doctor.install.loopback import Fault, Server
from tests.doctor.install.stand_ins import LABEL

OWN_INDEX, PYTORCH = "index", "whl/cu130"
FOUR_BITS = "def quantize_4bit(x):\n    return x, None\ndef dequantize_4bit(x, state):\n    return x\n"
EIGHT_BITS = "import torch\ndef sageattn(q, k, v, tensor_layout, is_causal):\n    return torch.Tensor()\n"
CUTE = "import torch\ndef flash_attn_func(q, k, v, causal):\n    return torch.Tensor(), None\n"


@dataclass(frozen=True)
class Package:
    """A stand-in. `wrong`: what takes the place of one of its files, and `trouble`, what its verification says then."""

    name: str
    version: str
    index: str
    files: Mapping[str, str]
    wrong: tuple[str, str]
    trouble: str
    requires: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def publish(self, server: Server, *, working: bool = True) -> Path:
        files = {**self.files} if working else {**self.files, self.wrong[0]: self.wrong[1]}
        folder = server.folder / self.index
        return stand_ins.wheel(folder, self.name, self.version, files, requires=self.requires)


PACKAGES = (
    Package(
        "torchvision",
        "0.29.2+cu130",
        PYTORCH,
        {"torchvision/__init__.py": ""},
        ("torchvision/__init__.py", "raise RuntimeError('operator torchvision::nms does not exist')\n"),
        "operator torchvision::nms does not exist",
        ("torch==2.14.1",),
    ),
    Package(
        "torchaudio",
        "2.11.0+cu130",
        PYTORCH,
        {"torchaudio/__init__.py": ""},
        ("torchaudio/__init__.py", "raise OSError('[WinError 127] The specified procedure could not be found')\n"),
        "[WinError 127]",
    ),
    Package(
        "torchcodec",
        "0.17.0+cu130" if stand_ins.PLATFORM.startswith("linux") else "0.17.0",
        PYTORCH if stand_ins.PLATFORM.startswith("linux") else OWN_INDEX,
        {"torchcodec/__init__.py": "", "torchcodec/decoders.py": ""},
        ("torchcodec/decoders.py", "raise RuntimeError('Could not load libtorchcodec. libavutil.so.60: not found')\n"),
        "install FFmpeg 4 to 8",
    ),
    Package(
        "bitsandbytes",
        "0.50.2",
        OWN_INDEX,
        {"bitsandbytes/__init__.py": "", "bitsandbytes/functional.py": FOUR_BITS},
        ("bitsandbytes/functional.py", FOUR_BITS.replace("return x\n", "return x - type(x)(9)\n")),
        "4 bits and back differ",
    ),
    Package(
        "sageattention",
        "1.0.6",
        OWN_INDEX,
        {"sageattention/__init__.py": EIGHT_BITS},
        ("sageattention/__init__.py", EIGHT_BITS.replace("Tensor()", "Tensor(9)")),
        "the cosine of both is",
    ),
    Package(
        "flash-attn-4",
        "4.0.0b36",
        OWN_INDEX,
        {"flash_attn/cute/__init__.py": CUTE},
        ("flash_attn/cute/__init__.py", CUTE.replace("Tensor()", "Tensor(9)")),
        "differs from PyTorch's own attention",
        ("torch", "nvidia-cutlass-dsl>=4.6.2"),
    ),
)  # fmt: skip


@pytest.fixture(params=PACKAGES, ids=str)
def package(request: pytest.FixtureRequest) -> Package:
    found: Package = request.param
    if found.name == "sageattention" and not stand_ins.PLATFORM.startswith("linux"):
        pytest.skip("on Windows it is a wheel of the catalogue")
    return found


@pytest.fixture
def with_torch(environment: Environment, server: Server) -> Environment:
    """The environment with a torch for CUDA 13.0."""
    index = server.folder / "index"
    stand_ins.wheel(index, "nvidia-cutlass-dsl", "4.8.0", {"cutlass.py": ""})
    torch = next((server.folder / "whl" / "cu130").glob("torch-*.whl"))
    environment.pip("install", "--find-links", str(index), str(torch))
    return environment


def test_it_is_planned_installed_verified_and_undone(
    with_torch: Environment, server: Server, package: Package
) -> None:
    wheel = package.publish(server)
    before = with_torch.tree()
    planned = with_torch.install(package.name, "--dry-run")
    (plan,) = (each for each in planned["packages"] if each["package"] == package.name)
    public, _, _ = package.version.partition("+")
    assert (plan["action"], plan["version"].partition("+")[0]) == ("install", public)
    # pip checks what it downloads from the user's own index against the hash there
    assert plan["sha256"] == (stand_ins.sha256(wheel) if package.index == PYTORCH else None)
    assert with_torch.tree() == before
    answer = with_torch.install(package.name)
    assert answer["status"] == "installed", answer["message"]
    assert with_torch.version(package.name) == package.version
    assert with_torch.version("torch") == "2.14.1+cu130"
    if package.name == "flash-attn-4":
        assert "nvidia-cutlass-dsl 4.8.0" in answer["also"]
    assert with_torch.install(package.name)["status"] == "unchanged"
    assert with_torch.install("--undo")["status"] == "undone"
    assert with_torch.tree() == before


def test_it_is_removed_if_it_does_not_work(with_torch: Environment, server: Server, package: Package) -> None:
    package.publish(server, working=False)
    before = with_torch.tree()
    answer = with_torch.install(package.name, status=4)
    assert answer["status"] == "rolled back"
    assert package.trouble in answer["message"]
    assert with_torch.tree() == before


def test_another_file_than_the_published_one_is_not_installed(
    with_torch: Environment, server: Server, package: Package
) -> None:
    wheel = package.publish(server)
    content = wheel.read_bytes()
    server.faults[wheel.name] = Fault(content=content[:-1] + b"!")
    before = with_torch.tree()
    answer = with_torch.install(package.name, status=1)
    assert answer["status"] == "refused"
    assert any(word in answer["message"] for word in ("SHA-256", "sha256", "HASHES")), answer["message"]
    assert with_torch.tree() == before


@pytest.mark.parametrize("first", ["flash-attn", "flash-attn-4"])
def test_flash_attn_with_the_folder_cute_and_flash_attn_4_do_not_overwrite_each_other(
    with_torch: Environment, server: Server, first: str
) -> None:
    PACKAGES[-1].publish(server)
    folder = server.folder / "files" / "v1"
    files = {
        "flash_attn/__init__.py": stand_ins.FLASH_ATTN.format(result=1.0),
        "flash_attn/cute/__init__.py": "",
    }
    source = stand_ins.wheel(
        folder, "flash-attn", f"2.8.3+{LABEL}", files, tag=stand_ins.NATIVE, metadata_version="2.8.3"
    )  # fmt: skip
    publish(with_torch.state, server, [source])
    (second,) = {"flash-attn", "flash-attn-4"} - {first}
    assert with_torch.install(first)["status"] == "installed"
    before = with_torch.tree()
    answer = with_torch.install(second, status=1)
    assert answer["status"] == "refused"
    assert "flash_attn/cute/__init__.py" in answer["message"]
    assert f"pip uninstall {first}" in answer["message"]
    assert with_torch.tree() == before
