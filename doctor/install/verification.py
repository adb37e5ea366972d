"""Does what was installed work? Each package is imported and used in a process of its own, forwards and backwards."""

from __future__ import annotations

from doctor.host import Absent, Completed, Found, Host, Unreadable
from doctor.host.completed import crashed, exit_code, last_words

TIMEOUT = 600.0  # seconds; the first start after an installation reads gigabytes, and Triton compiles

TORCH = """
import torch
gpu = {gpu}
if gpu and not torch.cuda.is_available():
    raise SystemExit("torch " + torch.__version__ + " sees no GPU")
device = "cuda" if gpu else "cpu"
a = torch.randn(64, 64, device=device, requires_grad=True)
(a @ a).sum().backward()
assert torch.isfinite(a.grad).all().item(), "the gradient of a product is not finite"
"""

ATTENTION = """
torch.manual_seed(0)
q, k, v = (torch.randn(1, 128, 2, 64, device="cuda", dtype=torch.float16, requires_grad=True) for _ in range(3))
def transposed(*all):
    return [x.transpose(1, 2) for x in all]
from torch.nn.attention import SDPBackend, sdpa_kernel
with sdpa_kernel(SDPBackend.MATH):
    wanted = torch.nn.functional.scaled_dot_product_attention(*transposed(q.float(), k.float(), v.float()), is_causal=True)
wanted = wanted.transpose(1, 2)
def gradients(result):
    return torch.autograd.grad(result.float().square().sum(), (q, k, v), retain_graph=True)
for found, right in zip((result, *gradients(result)), (wanted, *gradients(wanted))):
    worst = (found.float() - right.float()).abs().max().item()
    assert worst <= 0.02 * max(1.0, right.float().abs().max().item()), f"it is wrong by {{worst}}"
"""

FLASH_ATTN = "import flash_attn, torch\ngpu = {gpu}\nif gpu:\n" + "".join(
    f"    {line}\n"
    for line in ATTENTION.replace(
        "def transposed",
        "from flash_attn import flash_attn_func\nresult = flash_attn_func(q, k, v, causal=True)\ndef transposed",
    ).splitlines()
)

XFORMERS = "import torch, xformers.ops\ngpu = {gpu}\nif gpu:\n" + "".join(
    f"    {line}\n"
    for line in ATTENTION.replace(
        "def transposed",
        "mask = xformers.ops.LowerTriangularMask()\n"
        "result = xformers.ops.memory_efficient_attention(q, k, v, attn_bias=mask)\ndef transposed",
    ).splitlines()
)

# Triton reads the source of a kernel from its file: torch.compile writes one.
TRITON = """
import triton, torch
gpu = {gpu}
if gpu:
    def double(x):
        return (x * 2).sin()
    x = torch.linspace(0, 1, 4096, device="cuda", requires_grad=True)
    compiled = torch.compile(double, fullgraph=True)(x)
    assert torch.allclose(compiled, double(x), atol=1e-5), "a compiled kernel is wrong"
    compiled.sum().backward()
"""

PROGRAMS = {
    "torch": TORCH,
    "flash-attn": FLASH_ATTN,
    "xformers": XFORMERS,
    "triton": TRITON,
    "triton-windows": TRITON,
}
PLAIN = "import importlib; importlib.import_module({module!r})"
MODULES = {"torchvision": "torchvision", "torchaudio": "torchaudio"}

VERSION = """
import importlib.metadata
found = importlib.metadata.version({name!r})
if found != {version!r}:
    raise SystemExit("{name} " + found + " is there instead of {version}")
"""


def program(name: str, version: str, *, gpu: bool) -> str:
    """What the child runs: is this version there, can it be imported, does it compute?"""
    text = VERSION.format(name=name, version=version)
    if name in PROGRAMS:
        return text + PROGRAMS[name].format(gpu=gpu)
    return text + (PLAIN.format(module=MODULES[name]) if name in MODULES else "")


def verify(host: Host, name: str, version: str, *, gpu: bool) -> tuple[str, str] | None:
    """Use one installed package. None: it works; else why not, and all that the child printed."""
    ran = host.run(
        [host.identity.executable, "-c", program(name, version, gpu=gpu)],
        TIMEOUT,
        {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if isinstance(ran, Absent):
        return "this Python cannot be started", ""
    if isinstance(ran, Unreadable):
        return ran.reason, ""
    assert isinstance(ran, Found)
    return _trouble(ran.value)


def _trouble(completed: Completed) -> tuple[str, str] | None:
    if completed.exit_code == 0:
        return None
    ended = (
        f"it crashed ({exit_code(completed)})" if crashed(completed) else f"exit code {exit_code(completed)}"
    )
    return last_words(completed) or ended, completed.stdout + completed.stderr
