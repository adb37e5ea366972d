"""Real installations by pip from a server on loopback, with the environment compared file by file afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.doctor.install import stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.fresh_environment import Environment, Tree
from tests.doctor.install.loopback import Fault, Server
from tests.doctor.install.stand_ins import LABEL

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "doctor" / "schemas" / "install.schema.json").read_text(encoding="utf-8")
)
FLASH = f"flash_attn-2.8.3+{LABEL}-{stand_ins.NATIVE}.whl"


def without_kept(tree: Tree) -> Tree:
    return {name: content for name, content in tree.items() if not name.startswith(".aios-kept")}


def of_pip(tree: Tree) -> Tree:
    """The files that do not depend on time and place: pip records a file's origin, and compiled code contains a time."""
    return {n: c for n, c in tree.items() if not n.endswith((".pyc", "/direct_url.json", "/RECORD"))}


def installed_by_pip_alone(environment: Environment, *wheels: Path) -> Tree:
    """The tree after pip alone has installed these wheels; they are uninstalled again."""
    environment.pip("install", "--no-deps", *map(str, wheels))
    tree = environment.tree()
    names = [wheel.name.partition("-")[0].replace("_", "-") for wheel in wheels]
    environment.pip("uninstall", "-y", *names)
    return tree


def packages(answer: dict) -> dict[str, tuple[str, str | None]]:
    return {each["package"]: (each["action"], each["version"]) for each in answer["packages"]}


def test_success(environment: Environment, server: Server) -> None:
    flash = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [flash])
    everything = [
        flash,
        *(server.folder / "index").glob("*.whl"),
        *(server.folder / "whl" / "cu130").glob("*.whl"),
    ]
    wanted = installed_by_pip_alone(environment, *everything)
    before = environment.tree()
    looked = ("doctor", "--only", "python-version", "--offline")
    environment.aios(*looked)
    answer = environment.install("torch", "flash-attn")
    jsonschema.validate(answer, SCHEMA)
    assert answer["status"] == "installed"
    assert packages(answer) == {"torch": ("install", "2.14.1+cu130"), "flash-attn": ("install", "2.8.3")}
    assert sorted(answer["also"]) == ["einops-stand-in 1.0", "networkx-stand-in 1.0"]
    assert of_pip(without_kept(environment.tree())) == of_pip(wanted)
    assert not (environment.state / "downloads").exists()
    again = environment.install("torch", "flash-attn")
    assert again["status"] == "unchanged"
    assert {each["action"] for each in again["packages"]} == {"keep"}
    runs = environment.aios("history").stdout
    assert "installed" in runs
    assert "install flash-attn" in runs
    environment.aios(*looked)
    first, _, last = sorted(folder.name for folder in (environment.state / "runs").iterdir())
    changed = environment.aios("doctor", "diff", first, last).stdout
    assert f"changed by {answer['run']}:" in changed
    assert "install torch 2.14.1+cu130" in changed
    shown = environment.aios("undo", "--dry-run").stdout
    assert "install torch 2.14.1+cu130" in shown and answer["run"] in shown
    undone = environment.aios("undo", "--yes")
    assert undone.returncode == 0 and "Undone." in undone.stdout
    assert environment.tree() == before
    assert environment.install("--undo")["status"] == "unchanged"


def test_packages_on_request_have_the_same_plan_and_undo(environment: Environment, server: Server) -> None:
    index = server.folder / "index"
    flash = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [flash])
    stand_ins.wheel(
        server.folder / "whl" / "cu130", "torchvision", "0.29.2+cu130", {"torchvision/__init__.py": ""}
    )
    four_bits = "def quantize_4bit(x):\n    return x, None\ndef dequantize_4bit(x, state):\n    return x\n"
    stand_ins.wheel(
        index,
        "bitsandbytes",
        "0.50.2",
        {"bitsandbytes/__init__.py": "", "bitsandbytes/functional.py": four_bits},
    )
    cute = "import torch\ndef flash_attn_func(q, k, v, causal):\n    return torch.Tensor(), None\n"
    stand_ins.wheel(
        index,
        "flash-attn-4",
        "4.0.0b36",
        {"flash_attn/cute/__init__.py": cute},
        requires=["torch", "nvidia-cutlass-dsl>=4.6.2"],
    )
    for version in ("4.6.1", "4.6.2"):
        stand_ins.wheel(index, "nvidia-cutlass-dsl", version, {"cutlass.py": ""})
    before = environment.tree()
    answer = environment.install("torch", "torchvision", "bitsandbytes", "flash-attn-4")
    assert answer["status"] == "installed", answer["message"]
    assert packages(answer) == {
        "torch": ("install", "2.14.1+cu130"),
        "triton": ("keep", None),
        "torchvision": ("install", "0.29.2+cu130"),
        "bitsandbytes": ("install", "0.50.2"),
        "flash-attn-4": ("install", "4.0.0b36"),
    }
    assert "nvidia-cutlass-dsl 4.6.2" in answer["also"]
    assert environment.install("--undo")["status"] == "undone"
    assert environment.tree() == before


def test_a_dry_run_changes_nothing(environment: Environment) -> None:
    before = environment.tree()
    done = environment.aios("install", "torch", "--dry-run")
    assert done.returncode == 0
    for part in ("2.14.1+cu130", "SHA-256", "/whl/cu130/"):
        assert part in done.stdout
    assert environment.tree() == before
    assert not (environment.state / "runs").exists()
    assert environment.install("torch", "--dry-run")["status"] == "planned"


def test_without_yes_or_a_terminal_nothing_is_changed(environment: Environment) -> None:
    before = environment.tree()
    done = environment.aios("install", "torch")
    assert done.returncode == 1
    assert "--yes" in done.stdout
    assert environment.tree() == before


def test_a_cpu_build_of_torch_is_replaced_and_restored_by_undo(
    environment: Environment, server: Server
) -> None:
    old = stand_ins.torch(server.folder / "old", "2.12.0", None)
    environment.pip("install", "--find-links", str(server.folder / "index"), str(old))
    (environment.site_packages / "torch" / "of the user.txt").write_text("kept")
    before = environment.tree()
    answer = environment.install("torch")
    assert answer["packages"][0]["installed"] == "2.12.0+cpu"
    assert environment.version("torch") == "2.14.1+cu130"
    environment.install("--undo")
    assert environment.tree() == before


def test_a_file_with_another_hash_is_not_installed(environment: Environment, server: Server) -> None:
    before = environment.tree()
    name = f"torch-2.14.1+cu130-{stand_ins.NATIVE}.whl"
    content = (server.folder / "whl" / "cu130" / name).read_bytes()
    server.faults[name] = Fault(content=content[:-1] + b"!")
    answer = environment.install("torch", status=1)
    assert answer["status"] == "refused"
    assert "expected SHA-256" in answer["message"]
    assert environment.tree() == before
    assert not any((environment.state / "downloads").iterdir())


def test_a_wheel_with_other_tags_inside_is_not_installed(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL, inside="cp38-cp38-linux_x86_64")
    publish(environment.state, server, [wheel])
    before = environment.tree()
    answer = environment.install("torch", "flash-attn", status=1)
    assert "cp38-cp38-linux_x86_64" in answer["message"]
    assert environment.tree() == before


def test_a_file_that_is_not_an_archive_is_not_installed(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    wheel.write_bytes(b"<!DOCTYPE html><title>Sign in</title>")
    publish(environment.state, server, [wheel])
    before = environment.tree()
    assert "archive" in environment.install("torch", "flash-attn", status=1)["message"]
    assert environment.tree() == before


def test_an_interrupted_download_is_resumed(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [wheel])
    server.faults[wheel.name] = Fault(breaks_off_after=400, times=2)
    assert environment.install("torch", "flash-attn")["status"] == "installed"
    assert server.ranges_of(wheel.name) == [None, "bytes=400-", "bytes=800-"]


def test_a_download_restarts_where_the_server_cannot_resume(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [wheel])
    server.faults[wheel.name] = Fault(breaks_off_after=400, times=2, resumable=False)
    assert environment.install("torch", "flash-attn")["status"] == "installed"


def test_a_partial_download_is_kept_for_the_next_run(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [wheel])
    server.faults[wheel.name] = Fault(breaks_off_after=10, times=99)
    before = environment.tree()
    answer = environment.install("torch", "flash-attn", status=1)
    assert "The download failed" in answer["message"]
    assert environment.tree() == before
    part = environment.state / "downloads" / f"{wheel.name}.part"
    assert part.stat().st_size == 50
    server.faults.clear()
    server.asked.clear()
    environment.install("torch", "flash-attn")
    assert server.ranges_of(wheel.name) == ["bytes=50-"]


def test_a_partial_download_of_another_file_is_discarded(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [wheel])
    part = environment.state / "downloads" / f"{wheel.name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"another file")
    assert environment.install("torch", "flash-attn")["status"] == "installed"


def test_an_index_that_is_down_changes_nothing(environment: Environment, server: Server) -> None:
    before = environment.tree()
    server.down = True
    answer = environment.install("torch", status=1)
    assert answer["status"] == "refused"
    assert "503" in answer["message"]
    assert "AIOS_PYTORCH_INDEX" in answer["message"]
    assert environment.tree() == before


def test_a_package_that_would_replace_a_cuda_torch_by_a_cpu_build_is_refused(
    environment: Environment, server: Server
) -> None:
    environment.install("torch")
    stand_ins.torch(server.folder / "index", "2.12.0", None)
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL, requires=["torch==2.12.0"])
    publish(environment.state, server, [wheel])
    before = environment.tree()
    answer = environment.install("flash-attn", status=1)
    assert answer["status"] == "refused"
    assert "flash-attn 2.8.3 requires torch==2.12.0" in answer["message"]
    assert "torch 2.12.0" in answer["message"]
    assert environment.tree() == before


def test_a_package_that_cannot_be_imported_is_rolled_back_to_the_previous_version(
    environment: Environment, server: Server
) -> None:
    old = stand_ins.flash_attn(server.folder / "old", "cu130torch2.12", metadata_version="2.8.2")
    environment.pip("install", "--no-deps", str(old))
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL, result=None)
    publish(environment.state, server, [wheel])
    before = environment.tree()
    answer = environment.install("torch", "flash-attn", status=4)
    assert answer["status"] == "rolled back"
    assert "DLL load failed" in answer["message"]
    assert "built for another torch" in answer["message"] or "torch" in answer["message"]
    assert environment.tree() == before
    assert "rolled back" in environment.aios("doctor", "runs").stdout


def test_a_package_with_wrong_results_is_rolled_back(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL, result=2.0)
    publish(environment.state, server, [wheel])
    before = environment.tree()
    answer = environment.install("torch", "flash-attn", status=4)
    assert "differs from PyTorch's own attention by 1.0" in answer["message"]
    assert environment.tree() == before


def test_a_wheel_without_a_published_hash_is_not_installed(environment: Environment, server: Server) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [wheel], hashed=False)
    answer = environment.install("torch", "flash-attn")
    assert packages(answer)["flash-attn"] == ("none", None)
    assert "release list cannot be read" in answer["packages"][1]["reasons"][0]  # the server has no such page
    assert answer["fallback"] == "sdpa"
    assert environment.version("flash-attn") is None


def test_a_missing_hash_is_read_from_the_publishers_release_list(
    environment: Environment, server: Server
) -> None:
    wheel = stand_ins.flash_attn(server.folder / "files" / "v1", LABEL)
    publish(environment.state, server, [wheel], hashed=False)
    release = server.folder / "api" / "releases" / "tags" / "v1"
    release.parent.mkdir(parents=True)
    release.write_text(json.dumps({"assets": [{"name": wheel.name, "digest": None}]}))
    without = environment.install("torch", "flash-attn", "--dry-run")["packages"][1]
    assert without["reasons"] == [
        f"test gives no hash to check {FLASH} against",
        f"to use it anyway, download {server.address}/files/v1/{FLASH.replace('+', '%2B')} yourself "
        "into a folder and pass it: aios install flash-attn --wheel-dir FOLDER",
    ]
    asset = {"name": wheel.name, "digest": f"sha256:{stand_ins.sha256(wheel)}"}
    release.write_text(json.dumps({"assets": [asset]}))
    assert packages(environment.install("torch", "flash-attn"))["flash-attn"] == ("install", "2.8.3")


def test_torchvision_is_replaced_together_with_torch(environment: Environment, server: Server) -> None:
    tag = stand_ins.NATIVE
    old = stand_ins.wheel(server.folder / "old", "torchvision", "0.27.0", {"torchvision.py": ""}, tag=tag)
    asks, folder = ["torch==2.14.1"], server.folder / "whl" / "cu130"
    stand_ins.wheel(folder, "torchvision", "0.29.2+cu130", {"torchvision.py": ""}, tag=tag, requires=asks)
    environment.pip("install", "--no-deps", str(old))
    before = environment.tree()
    answer = environment.install("torch")
    assert packages(answer)["torchvision"] == ("install", "0.29.2+cu130")
    environment.install("--undo")
    assert environment.tree() == before


@pytest.mark.long
def test_the_real_torch_for_the_cpu(environment: Environment, tmp_path: Path) -> None:
    (environment.programs / "nvidia-smi").unlink()
    folder = tmp_path / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--dest", str(folder), "torch==2.13.0"], check=True
    )
    before = environment.tree()
    answer = environment.install("torch", "--offline", "--wheel-dir", str(folder))
    assert answer["status"] == "installed"
    assert "sympy" in " ".join(answer["also"])
    environment.install("--undo")
    assert environment.tree() == before


def test_offline_from_a_folder_of_wheels(environment: Environment, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    stand_ins.torch(folder, "2.14.1+cu130", "13.0")
    stand_ins.flash_attn(folder, LABEL)
    stand_ins.wheel(folder, "networkx-stand-in", "1.0", {"networkx_stand_in.py": "x = 1\n"})
    stand_ins.wheel(folder, "einops-stand-in", "1.0", {"einops_stand_in.py": "x = 1\n"})
    before = sorted(folder.iterdir())
    answer = environment.install("torch", "flash-attn", "--offline", "--wheel-dir", str(folder))
    assert answer["status"] == "installed"
    assert server.asked == []
    assert sorted(folder.iterdir()) == before
    assert environment.version("flash-attn") == "2.8.3"


def test_offline_takes_the_best_torch_of_the_folder(environment: Environment, tmp_path: Path) -> None:
    for version, cuda in (("2.12.0+cu130", "13.0"), ("2.11.0+cu130", "13.0"), ("2.15.0+cpu", None)):
        stand_ins.torch(tmp_path / "wheels", version, cuda)
    stand_ins.wheel(tmp_path / "wheels", "networkx-stand-in", "1.0", {"networkx_stand_in.py": "x = 1\n"})
    answer = environment.install("torch", "--offline", "--wheel-dir", str(tmp_path / "wheels"))
    assert packages(answer) == {"torch": ("install", "2.12.0+cu130")}


def test_offline_without_the_required_wheel_changes_nothing(
    environment: Environment, server: Server, tmp_path: Path
) -> None:
    before = environment.tree()
    answer = environment.install("torch", "--offline", "--wheel-dir", str(tmp_path), status=1)
    assert "torch==2.14.1+cu130" in answer["message"]
    assert (server.asked, environment.tree()) == ([], before)


def test_a_machine_without_a_gpu_gets_torch_for_the_cpu(environment: Environment) -> None:
    (environment.programs / "nvidia-smi").unlink()
    answer = environment.install()
    assert packages(answer) == {
        "torch": ("install", "2.15.0"),
        "flash-attn": ("none", None),
        "xformers": ("none", None),
        "triton": ("none", None),
    }
    assert environment.version("torch") == "2.15.0"


def test_xformers_comes_from_pytorchs_index(environment: Environment, server: Server) -> None:
    wheel = stand_ins.xformers(server.folder / "whl" / "cu130", "0.0.35")
    stand_ins.xformers(server.folder / "index", "0.0.35", requires=["torch==2.10.0"])
    publish(environment.state, server, [])
    answer = environment.install("torch", "xformers")
    xformers = answer["packages"][1]
    assert (xformers["version"], xformers["sha256"]) == ("0.0.35", stand_ins.sha256(wheel))
    assert answer["fallback"] is None
    assert environment.install("xformers")["status"] == "unchanged"


def test_usage(environment: Environment) -> None:
    for wrong in (["nonsense"], ["--undo", "torch"], ["--wheel-dir", "nowhere"]):
        assert environment.aios("install", *wrong).returncode == 2
