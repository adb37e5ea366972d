"""The status of each environment of a machine, as `aios doctor environments` prints it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from doctor.host import Absent, Found, Frozen, Unreadable
from doctor.probes.environments import Environment


class ListedEnvironment(Frozen):
    """One environment, read from its files."""

    path: str = Field(description="its folder, which --python takes")
    owner: str = Field(description='what it belongs to: "conda", "ComfyUI", "this folder"')
    status: Literal["ok", "warnings", "broken"]
    python: str | None
    torch: str | None = Field(description='"2.13.0+cu130"')
    cuda: str | None = Field(description="the CUDA version of torch; null: a CPU build, or no torch")
    packages: dict[str, str] = Field(
        description="flash-attn, xformers, triton, sageattention: their versions"
    )
    size: int = Field(description="bytes of its packages")
    problems: tuple[str, ...] = ()


class EnvironmentList(Frozen):
    """`aios doctor environments --json` prints exactly this."""

    schema_version: Literal[1] = 1
    environments: tuple[ListedEnvironment, ...]


def list_environments(found: Iterable[Environment], has_gpu: bool) -> EnvironmentList:
    """Return the environments. `has_gpu`: the machine has an NVIDIA GPU."""
    return EnvironmentList(environments=tuple(_listed(each, has_gpu) for each in found))


def _listed(found: Environment, has_gpu: bool) -> ListedEnvironment:
    torch = found.torch.value if isinstance(found.torch, Found) else None
    broken, warnings = tuple(_broken(found)), tuple(_warnings(found, has_gpu))
    return ListedEnvironment(
        path=found.folder,
        owner=found.owner,
        status="broken" if broken else "warnings" if warnings else "ok",
        python=found.python,
        torch=str(torch.version) if torch else None,
        cuda=torch.cuda_version if torch else None,
        packages=found.packages,
        size=found.size,
        problems=(*broken, *warnings),
    )


def _broken(found: Environment) -> Iterator[str]:
    if isinstance(found.program, Absent):
        yield "it has no interpreter"
    elif not found.base_exists:
        yield f"its Python no longer exists: {found.base}"
    if isinstance(found.torch, Unreadable):
        yield f"torch is damaged: {found.torch.reason}"


def _warnings(found: Environment, has_gpu: bool) -> Iterator[str]:
    torch = found.torch.value if isinstance(found.torch, Found) else None
    if torch and has_gpu and torch.cuda_tag is None:
        yield f"torch {torch.version} is a CPU build, and this machine has an NVIDIA GPU"
    needing = [name for name in ("flash-attn", "xformers", "sageattention") if name in found.packages]
    if isinstance(found.torch, Absent) and needing:
        yield f"{', '.join(needing)} installed without torch"
