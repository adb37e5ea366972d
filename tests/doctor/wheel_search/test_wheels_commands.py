"""`aios wheels match` and `list`, through the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from doctor.host.live import live_host
from doctor.host.other_python import find_python
from doctor.wheel_search.described_machine import machine_with, parse_machine, parse_torch
from tests.doctor.install import stand_ins
from wheels.catalogue import shipped_catalogue

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "doctor/schemas/wheel-match.schema.json").read_text(encoding="utf-8"))
WINDOWS = ("--python", "3.12", "--torch", "2.8.0+cu128", "--platform", "win_amd64")


def aios(*arguments: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "aios.py", "wheels", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, encoding=encoding,
    )  # fmt: skip


def matched(*arguments: str) -> dict[str, Any]:
    done = aios("match", *arguments, "--json")
    answer: dict[str, Any] = json.loads(done.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(answer)
    assert done.returncode == (0 if answer["match"] or answer["kept"] else 1)
    assert done.stderr == ""
    return answer


def test_the_example_of_the_contract() -> None:
    answer = matched(*WINDOWS, "--compute-capability", "12.0")
    name = "flash_attn-2.8.3+cu128torch2.8-cp312-cp312-win_amd64.whl"
    download = "https://github.com/mjun0812/flash-attention-prebuild-wheels/releases/download/"
    assert answer["match"] | {"size": 0, "sha256": "", "url": ""} == {
        "filename": name,
        "url": "",
        "sha256": "",
        "size": 0,
        "publisher": "mjun0812/flash-attention-prebuild-wheels",
        "version": "2.8.3",
        "torch": "2.8",
        "cuda": "12.8",
        "python": "cp312",
        "platform": "win_amd64",
        "requirement": "flash-attn==2.8.3",
        "index": None,
    }
    url = answer["match"]["url"]
    assert url.startswith(download) and url.endswith("/" + name.replace("+", "%2B"))
    assert (answer["package"], answer["fallback"]) == ("flash-attn", None)
    candidates = {wheel.filename for wheel in shipped_catalogue().of("flash-attn", "win_amd64")}
    assert {rejected["filename"] for rejected in answer["rejected"]} < candidates


def test_a_compute_capability_that_no_gpu_has_is_pointed_out() -> None:
    notes = {
        given: " ".join(matched(*WINDOWS, "--compute-capability", given)["reasons"])
        for given in ("99", "8.9")
    }
    assert "no GPU of compute capability 9.9 is known" in notes["99"]
    assert "is known" not in notes["8.9"]


def test_every_rejected_candidate_has_a_reason_the_nearest_first() -> None:
    machine = ("--python", "3.13", "--torch", "2.15.0+cu130", "--platform", "win_amd64")
    answer = matched(*machine, "--compute-capability", "8.9", "--driver", "581.80")
    assert answer["match"] is None
    assert answer["fallback"] == "xformers"
    assert len(answer["rejected"]) == len(shipped_catalogue().of("flash-attn", "win_amd64"))
    first = answer["rejected"][0]
    assert first["filename"] == "flash_attn-2.8.3+cu130torch2.14-cp313-cp313-win_amd64.whl"
    assert first["reason"] == "was built for torch 2.14, not for 2.15"
    assert answer["reasons"] == [
        f"the nearest match, {first['filename']}, {first['reason']}",
        "the newest list of flash-attn wheels is that of mjun0812/flash-attention-prebuild-wheels of 2026-09-14; "
        "aios wheels refresh reads the current ones",
    ]


def test_unspecified_facts_are_listed_as_not_considered() -> None:
    answer = matched("--python", "3.12", "--torch", "2.13.0+cu130", "--platform", "linux_x86_64")
    assert answer["match"] is not None
    message = " ".join(answer["reasons"])
    for option in ("--compute-capability", "--driver", "--platform manylinux_2_28_x86_64"):
        assert option in message
    full = ("--platform", "manylinux_2_28_x86_64", "--compute-capability", "8.9", "--driver", "581.80")
    answer = matched("--python", "3.12", "--torch", "2.13.0+cu130", *full)
    assert "not checked" not in " ".join(answer["reasons"])


@pytest.mark.parametrize(
    ("package", "arguments", "requirement", "index"),
    [
        ("xformers", WINDOWS, "xformers==0.0.32.post2", "https://download.pytorch.org/whl/cu128"),
        ("triton", WINDOWS, "triton-windows==3.4.0.post21", None),
        (
            "torch",
            ("--python", "3.12", "--platform", "win_amd64", "--driver", "560.94"),
            "torch==2.14.1+cu126",
            "https://download.pytorch.org/whl/cu126",
        ),
    ],
)
def test_other_packages(
    package: str, arguments: tuple[str, ...], requirement: str, index: str | None
) -> None:
    found = matched(*arguments, "--compute-capability", "8.9", "--package", package)["match"]
    assert (found["requirement"], found["index"]) == (requirement, index)
    assert matched(*arguments, "--package", package)["fallback"] is None


def test_without_an_xformers_pytorchs_own_attention_is_the_fallback() -> None:
    torch = ("--python", "3.12", "--torch", "2.14.1+cu130", "--platform", "win_amd64")
    answer = matched(*torch, "--compute-capability", "12.0", "--package", "xformers")
    assert (answer["match"], answer["fallback"]) == (None, "sdpa")
    assert "needs flash-attn >=2.7.1,<=2.8.4" in answer["reasons"][0]


def test_an_installed_package_is_kept() -> None:
    answer = matched("--package", "torch", *WINDOWS, "--compute-capability", "8.9")
    assert (answer["match"], answer["kept"]) == (None, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--python", "two", *WINDOWS[2:]), ("two does not exist", "Or give a version, such as 3.12")),
        ((*WINDOWS[:4], "--platform", "win"), ("'win'", "win_amd64", "linux_aarch64")),
        ((*WINDOWS[:4], "--platform", "macosx_11_0_arm64"), ("'macosx_11_0_arm64'",)),
        ((*WINDOWS, "--torch", "new"), ("'new'", "2.8.0+cu128")),
        ((*WINDOWS, "--torch", "2.8.0+rocm6.4"), ("'rocm6.4'", "cu128")),
        ((*WINDOWS, "--torch", "2"), ("'2'",)),
        ((*WINDOWS, "--compute-capability", "RTX 4090"), ("'RTX 4090'", "8.9")),
        ((*WINDOWS, "--driver", "latest"), ("'latest'", "581.80")),
        ((*WINDOWS, "--package", "numpy"), ("'numpy'", "flash-attn", "triton")),
        (("--python", "3.12", "--platform", "win_amd64"), ("--torch", "2.8.0+cu128")),
        (("--torch", "2.8.0+cu128", "--platform", "win_amd64"), ("--python",)),
        (("--python", "3.12", "--torch", "2.8.0"), ("--platform",)),
    ],
)
def test_usage_errors_name_the_argument_and_the_valid_values(
    arguments: tuple[str, ...], message: tuple[str, ...]
) -> None:
    done = aios("match", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    words = " ".join(done.stderr.replace("│", " ").split())
    for part in message:
        assert part in words


def test_the_text_output_is_ascii_in_an_ascii_pipe() -> None:
    done = aios("match", *WINDOWS, encoding="ascii")
    assert done.returncode == 0
    assert "flash_attn-2.8.3+cu128torch2.8-cp312-cp312-win_amd64.whl" in done.stdout
    none = aios("match", *WINDOWS[:2], "--torch", "2.15.0+cu132", *WINDOWS[4:], encoding="ascii")
    assert none.returncode == 1
    assert "Nearest misses:" in none.stdout
    assert "(--json names them all)" in none.stdout
    assert "Instead: PyTorch's own attention (sdpa)" in none.stdout


def test_list_prints_counts_and_names() -> None:
    whole = aios("list")
    assert f"{len(shipped_catalogue().wheels)} wheels" in whole.stdout
    one = aios("list", "--package", "triton-windows")
    assert len(one.stdout.splitlines()) == len(shipped_catalogue().of("triton-windows"))
    unknown = aios("list", "--package", "numpy")
    assert unknown.returncode == 2
    assert "'numpy'" in unknown.stderr and "xformers" in unknown.stderr


@pytest.mark.parametrize(
    ("text", "system", "tag"),
    [
        ("2.8.0+cu128", "windows", "cu128"),
        ("2.8.0", "linux", "cu128"),
        ("2.8.0", "windows", None),
        ("2.8.0+cpu", "linux", None),
        ("2.9", "linux", None),  # no release, so what it was built for is unknown
    ],
)
def test_a_torch_without_a_label_is_the_build_of_a_plain_install(
    text: str, system: str, tag: str | None
) -> None:
    assert parse_torch(text, system).cuda_tag == tag


def test_a_described_machine() -> None:
    machine = parse_machine("3.13t", "manylinux_2_28_aarch64", "2.13.0+cu130", ("sm_120", "9.0"), "580.95.05")
    assert (machine.python, machine.free_threaded, machine.platform) == ("3.13", True, "linux_aarch64")
    assert (machine.glibc, machine.capabilities) == ((2, 28), ((12, 0), (9, 0)))
    assert parse_machine("3.12.7", "win_amd64", None, (), None).compute_capabilities is None


def test_a_path_describes_the_machine_by_the_python_there(tmp_path: Path) -> None:
    """The torch is read from the files of an environment in which nothing of aios is installed."""
    venv.create(tmp_path / "env")
    packages = Path(find_python(tmp_path / "env").site_packages)
    with zipfile.ZipFile(stand_ins.torch(tmp_path, "2.8.0+cu128", "12.8")) as wheel:
        wheel.extractall(packages)
    there = ("--python", str(tmp_path / "env"), "--compute-capability", "12.0", "--driver", "581.80")
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    machine = machine_with(live_host(find_python(tmp_path / "env")), None, None, ("12.0",), "581.80")
    assert (machine.python, str(machine.torch)) == (minor, "torch 2.8.0 for cu128")
    assert (machine.compute_capabilities, machine.driver) == (((12, 0),), "581.80")
    answer = matched(*there)
    assert answer["match"]["torch"] == "2.8"
    assert answer["match"]["python"] == f"cp{minor.replace('.', '')}"


def test_a_version_needs_a_platform_and_a_path_a_python(tmp_path: Path) -> None:
    assert "--platform is required with a version" in aios("match", "--python", "3.12").stderr
    done = aios("match", "--python", str(tmp_path / "nothing"))
    assert (done.returncode, "does not exist" in done.stderr) == (2, True)
