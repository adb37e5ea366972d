"""Output of nvcc, vswhere and nvidia-smi, and NVIDIA's header, in all known forms."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.host import Found
from doctor.probes.cuda import parse_host_config, parse_newest_gcc, parse_nvcc
from doctor.probes.msvc import parse_vswhere, version_key
from doctor.probes.nvidia import parse_visible_devices
from doctor.probes.nvidia_smi import parse_smi, parse_smi_cuda, parse_smi_version

BANNERS = {
    (
        11,
        8,
    ): "Copyright (c) 2005-2022 NVIDIA Corporation\nBuilt on Wed_Sep_21_10:41:10_Pacific_Daylight_Time_2022\nCuda compilation tools, release 11.8, V11.8.89\nBuild cuda_11.8.r11.8/compiler.31833905_0\n",
    (
        12,
        4,
    ): "Copyright (c) 2005-2024 NVIDIA Corporation\nBuilt on Thu_Mar_28_02:30:10_Pacific_Daylight_Time_2024\nCuda compilation tools, release 12.4, V12.4.131\nBuild cuda_12.4.r12.4/compiler.34097967_0\n",
    (
        12,
        9,
    ): "Copyright (c) 2005-2025 NVIDIA Corporation\nBuilt on Tue_May_27_02:24:01_Pacific_Daylight_Time_2025\nCuda compilation tools, release 12.9, V12.9.86\nBuild cuda_12.9.r12.9/compiler.36037853_0\n",
    (
        13,
        0,
    ): "Copyright (c) 2005-2025 NVIDIA Corporation\nBuilt on Wed_Aug_20_13:58:20_Pacific_Daylight_Time_2025\nCuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13.0.r13.0/compiler.36424714_0\n",
    (
        13,
        4,
    ): "Copyright (c) 2005-2026 NVIDIA Corporation\nBuilt on Mon_Jul_20_19:12:44_Pacific_Daylight_Time_2026\nCuda compilation tools, release 13.4, V13.4.92\n",
}


@pytest.mark.parametrize("version", BANNERS, ids=str)
def test_nvcc_banners(version: tuple[int, int]) -> None:
    assert parse_nvcc(f"nvcc: NVIDIA (R) Cuda compiler driver\n{BANNERS[version]}") == version


def test_output_without_an_nvcc_version() -> None:
    assert parse_nvcc("'nvcc' is not recognized as an internal or external command") is None


ERROR = "#error -- unsupported Microsoft Visual Studio version! Only the versions between 2017 and 2022 (inclusive) are supported!"
HEADERS = {
    "CUDA 12.3": (
        f"#if _MSC_VER < 1910 || _MSC_VER >= 1940\n\n{ERROR}\n\n#elif _MSC_VER >= 1910 && _MSC_VER < 1910\n",
        range(1910, 1940),
    ),
    "after other conditions": (
        f"#if defined(_MSC_VER)\n#if _MSC_VER >= 1900\n#endif\n#if _MSC_VER < 1920 || _MSC_VER >= 1950\n{ERROR}\n#if _MSC_VER < 1500\n",
        range(1920, 1950),
    ),
    "in brackets": (f"#if (_MSC_VER < 1920) || (_MSC_VER > 1959)\n{ERROR}\n", range(1920, 1960)),
    "numbers first": (f"# if 1919 >= _MSC_VER || 1950 <= _MSC_VER\n{ERROR}\n", range(1920, 1950)),
    "over two lines": (f"#if _MSC_VER < 1910 || \\\n    _MSC_VER >= 1950\n{ERROR}\n", range(1910, 1950)),
    "one bound": (f"#if _MSC_VER < 1910\n{ERROR}\n", None),
    "changed by hand: no bound": (f"#if 0\n{ERROR}\n", None),
    "the wrong way round": (f"#if _MSC_VER < 1950 || _MSC_VER >= 1910\n{ERROR}\n", None),
    "no such error": ("#if _MSC_VER < 1910 || _MSC_VER >= 1950\n#endif\n", None),
    "no condition": (f"{ERROR}\n", None),
}


@pytest.mark.parametrize("form", HEADERS)
def test_forms_of_host_config(form: str) -> None:
    text, accepted = HEADERS[form]
    assert parse_host_config(text) == accepted


@given(st.integers(1800, 2100), st.integers(1800, 2100), st.integers(1700, 2200))
def test_host_config_is_read_as_the_preprocessor_reads_it(low: int, high: int, compiler: int) -> None:
    """The header's condition, evaluated by Python, gives the rejected compilers."""
    condition = f"_MSC_VER < {low} || _MSC_VER >= {high}"
    accepted = parse_host_config(f"#if {condition}\n{ERROR}\n#endif\n")
    if low < high:
        refused = eval(re.sub(r"\|\|", "or", condition), {"_MSC_VER": compiler})
        assert accepted is not None
        assert (compiler in accepted) is not refused
    else:
        assert accepted is None


VSWHERE = """instanceId: 0a1b2c3d
installDate: 12.03.2024 10:22:41
installationName: VisualStudio/16.11.35+34601.136
installationPath: C:\\Program Files (x86)\\Microsoft Visual Studio\\2019\\BuildTools
installationVersion: 16.11.34601.136
productId: Microsoft.VisualStudio.Product.BuildTools
displayName: Visual Studio Build Tools 2019
description: Visual Studio Build Tools erm\\xf6glicht die Erstellung nativer und verwalteter MSBuild-Anwendungen.
properties_campaignId:
properties_nickname:

instanceId: 4e5f6071
installationPath: C:\\Program Files\\Microsoft Visual Studio\\2022\\Community
installationVersion: 17.14.36310.24
isPrerelease: 0
displayName: Visual Studio Community 2022
description: Kostenlose IDE mit vollem Funktionsumfang: f\ufffdr Studenten

instanceId: 8293a4b5
installationPath: D:\\Визуал\\18\\Insiders
installationVersion: 18.0.11205.157
isPrerelease: 1
"""


def test_vswhere_lists_all_generations_in_any_language() -> None:
    found = parse_vswhere(VSWHERE.replace("\n", "\r\n"))
    assert [table["installationVersion"] for table in found] == [
        "16.11.34601.136",
        "17.14.36310.24",
        "18.0.11205.157",
    ]
    assert [table["installationPath"].rpartition("\\")[2] for table in found] == [
        "BuildTools",
        "Community",
        "Insiders",
    ]


def test_versions_are_compared_as_numbers() -> None:
    assert version_key("17.9.1") < version_key("17.14.2") < version_key("18.0")
    assert version_key("") == version_key("none") == ()


@pytest.mark.parametrize(
    ("banner", "cuda"),
    [
        (
            "| NVIDIA-SMI 581.80                 Driver Version: 581.80         CUDA Version: 13.0     |",
            (13, 0),
        ),
        ("| NVIDIA-SMI 610.47             KMD Version: 610.47        CUDA UMD Version: 13.3     |", (13, 3)),
        ("| NVIDIA-SMI 550.54   Driver Version: 551.61   CUDA Version: 12.4 |", (12, 4)),
        ("| NVIDIA-SMI 580.65   Driver Version: 580.65   CUDA Version: N/A |", None),
        ("", None),
    ],
)
def test_the_cuda_of_a_driver(banner: str, cuda: tuple[int, int] | None) -> None:
    assert parse_smi_cuda(banner) == cuda


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("DRIVER version      : 581.80\nCUDA Version        : 13.0\n", "581.80"),
        (
            'NVML version        : 610.62\nDRIVER version      : Deprecated, see "KMD version" instead\n'
            "KMD version         : 610.62\nCUDA UMD version    : 13.3\n",
            "610.62",
        ),
        ("| NVIDIA-SMI 470.182.03   Driver Version: 470.182.03   CUDA Version: 11.4     |", "470.182.03"),
        ("| NVIDIA-SMI 610.47             KMD Version: 610.47        CUDA UMD Version: 13.3     |", "610.47"),
        ("NVIDIA-SMI version  : 610.62\nDRIVER version : Deprecated\n", ""),
    ],
)
def test_the_version_of_a_driver(output: str, version: str) -> None:
    assert parse_smi_version(output) == version


SMI_LOST = """Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error
0, NVIDIA RTX PRO 6000, 610.57.04, 12.0, 97887
2, [Unknown Error], 610.57.04, [Unknown Error], [Unknown Error]
3, NVIDIA GB10, 610.57.04, 12.1, [N/A]
"""


def test_one_lost_gpu_does_not_hide_the_others() -> None:
    read = parse_smi(SMI_LOST)
    assert isinstance(read, Found)
    assert [(gpu.index, gpu.total_memory_bytes >> 20) for gpu in read.value.gpus] == [(0, 97887), (3, 0)]
    assert read.value.driver_version == "610.57.04"
    lines = SMI_LOST.splitlines()
    assert read.value.complaints == (lines[0], lines[2])


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("0", (0,)),
        ("1,0", (1, 0)),
        (" 1 , 2", (1, 2)),
        ("0,-1,2", (0,)),
        ("0,7,1", (0,)),
        ("-1", ()),
        ("", ()),
        ("all", ()),
        ("cuda:0", ()),
        ("1gpu2,2ampere", (1, 2)),
        ("0,0", ()),
        ("+1", (1,)),
    ],
)
def test_visible_devices_as_torch_reads_them(text: str, chosen: tuple[int, ...]) -> None:
    """Compare with torch.cuda._parse_visible_devices, which ignores the number of GPUs: here there are four."""
    assert parse_visible_devices(text, 4) == chosen


@pytest.mark.parametrize(
    "text", ["0", "1,0", "0,-1,2", "-1", "", "all", "cuda:0", "1gpu2,2ampere", "0,0", "+1", "3,x"]
)
def test_torch_itself_agrees_about_visible_devices(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pytest.importorskip("torch").cuda
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert list(parse_visible_devices(text, 64)) == cuda._parse_visible_devices()


@pytest.mark.parametrize("parse", [parse_nvcc, parse_host_config, parse_vswhere, parse_smi_cuda, version_key])
@given(text=st.text() | st.text(alphabet="#if_MSCVER<>=|0123456789\n \\:.error"))
def test_parsers_take_any_text(parse, text: str) -> None:
    assert repr(parse(text))


@given(st.text(), st.integers(0, 8))
def test_visible_devices_can_be_any_text(text: str, count: int) -> None:
    chosen = parse_visible_devices(text, count)
    assert len(set(chosen)) == len(chosen)
    assert all(0 <= number < count for number in chosen)


def test_the_newest_gcc_that_a_toolkit_accepts() -> None:
    """As crt/host_config.h of CUDA 12.8 states it."""
    header = (
        "#if defined(__GNUC__)\n\n#if __GNUC__ > 14\n\n"
        "#error -- unsupported GNU version! gcc versions later than 14 are not supported!\n\n"
        "#endif /* __GNUC__ > 14 */\n"
    )
    assert parse_newest_gcc(header) == 14
    assert parse_newest_gcc("#if __GNUC__ > 14\n#define SOMETHING\n#endif\n") is None
