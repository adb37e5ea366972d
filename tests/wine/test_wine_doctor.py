"""The doctor's report on Windows: its content, its encoding, and programs that fail or hang."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.wine.windows_box import HERE, REPOSITORY, Aios, Completed, FakePrograms, Windows, c_compiler

pytestmark = pytest.mark.wine

WITHOUT_TORCH = ["--skip", "backend-*"]
SMI_FIELDS = ["0", "NVIDIA GeForce RTX 4090", "581.80", "8.9", "24564", "WDDM"]


def report(done: Completed) -> Any:
    """The report that a run printed, which must be its only output."""
    assert done.stdout.isascii(), "--json is ASCII for streams of any encoding"
    return json.loads(done.stdout)


def finding(done: Completed, check: str) -> Any:
    return next(found for found in report(done)["findings"] if found["check"] == check)


def test_the_whole_report_fits_its_schema_and_the_backends_ran(aios: Aios, workplace: Path) -> None:
    done = aios("doctor", "--json")
    schema = json.loads((REPOSITORY / "doctor/schemas/report.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(report(done), schema)
    assert done.stderr == b""
    assert report(done)["machine"]["os"] == "windows"
    assert report(done)["machine"]["architecture"] == "AMD64"
    assert done.returncode == (1 if report(done)["summary"]["error"] else 0)
    assert finding(done, "backend-sdpa")["status"] == finding(done, "backend-manual")["status"] == "ok"
    capability = json.loads((workplace / "state" / "capability.json").read_text(encoding="utf-8"))
    schema = json.loads((REPOSITORY / "doctor/schemas/capability.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(capability, schema)
    assert capability["backends"]["sdpa"]["status"] == "available"
    assert capability["recommended"]["cpu"] == "sdpa"


@pytest.mark.parametrize("admin", [True, False], ids=["administrator", "ordinary-user"])
def test_the_rights_of_the_process_are_detected(aios: Aios, admin: bool) -> None:
    done = aios("doctor", "--json", "--only", "python-version", admin=admin)
    assert report(done)["machine"]["elevated"] is admin
    assert done.returncode == 0


@pytest.mark.parametrize(
    "code_page", [pytest.param(1252, marks=pytest.mark.long), pytest.param(437, marks=pytest.mark.long), 1251]
)
def test_every_text_can_be_encoded_in_the_code_page_of_the_pipe(aios: Aios, code_page: int) -> None:
    """The letters of the user folder are in none of them; they must neither end the run nor be replaced by other letters."""
    done = aios("doctor", *WITHOUT_TORCH, "--verbose", code_page=code_page)
    text = done.stdout.decode(f"cp{code_page}")
    assert "long-paths" in text
    assert "Traceback" not in done.stderr.decode(errors="replace")
    explained = aios("doctor", "--help", code_page=code_page)
    assert explained.returncode == 0, explained.stderr


def test_a_console_gets_unicode_letters_and_glyphs(aios: Aios, windows: Windows) -> None:
    done = aios("doctor", "--only", "temp-dir", "--only", "python-version", console=True)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.stdout.decode())  # the console draws the text in pieces
    assert "✓" in text
    assert windows.user_folder().name.split()[-1] in text


def test_a_hung_nvidia_smi_is_ended_at_its_time_limit_and_reported(
    aios: Aios, programs: FakePrograms
) -> None:
    programs.add("nvidia-smi", end="hang")
    done = aios("doctor", "--json", "--only", "nvidia-driver", programs=programs.folder)
    found = finding(done, "nvidia-driver")
    assert found["status"] not in ("ok", "skipped")
    assert "answer" in json.dumps(found)


@pytest.mark.parametrize(
    "trouble", [{"end": "crash"}, {"prints": b"\x00\xff\xfe garbage \x81\n"}], ids=["crash", "garbage"]
)
def test_a_broken_nvidia_smi_is_not_a_missing_gpu(
    aios: Aios, programs: FakePrograms, trouble: dict[str, Any]
) -> None:
    programs.add("nvidia-smi", **trouble)
    done = aios("doctor", "--json", "--only", "nvidia-driver", programs=programs.folder)
    assert finding(done, "nvidia-driver")["status"] not in ("ok", "skipped")
    assert done.returncode in (1, 3)


def test_nvidia_smi_is_used_if_the_library_fails(aios: Aios, programs: FakePrograms) -> None:
    programs.add("nvidia-smi", prints=", ".join(SMI_FIELDS).encode() + b"\r\n")
    done = aios("doctor", "--json", "--only", "nvidia-driver", "--only", "gpu", programs=programs.folder)
    assert finding(done, "nvidia-driver")["status"] == "ok"
    assert "RTX 4090" in finding(done, "gpu")["summary"]


@pytest.fixture
def nvml(windows: Windows) -> Iterator[None]:
    """A fake NVML in the folder where drivers install it."""
    if not windows.is_wine:
        pytest.skip("Windows loads the library of its own driver first")
    folder = windows.user_folder().parents[1] / "Program Files" / "NVIDIA Corporation"
    (folder / "NVSMI").mkdir(parents=True)
    library = folder / "NVSMI" / "nvml.dll"
    subprocess.run([c_compiler(), "-O2", "-shared", "-o", library, HERE / "fakes" / "nvml.c"], check=True)
    yield
    shutil.rmtree(folder)


@pytest.mark.usefixtures("nvml")
def test_the_library_of_the_driver_is_used_first(aios: Aios) -> None:
    done = aios("doctor", "--json", "--only", "nvidia-driver", "--only", "gpu")
    assert finding(done, "nvidia-driver")["status"] == "ok"
    assert "581.80" in json.dumps(finding(done, "nvidia-driver"))
    assert "RTX 4090" in finding(done, "gpu")["summary"]


@pytest.mark.usefixtures("nvml")
def test_a_library_that_does_not_match_its_driver_is_not_a_missing_gpu(aios: Aios) -> None:
    done = aios("doctor", "--json", "--only", "nvidia-driver", environment={"FAKE_NVML_INIT": "18"})
    assert finding(done, "nvidia-driver")["status"] not in ("ok", "skipped")
    assert done.returncode in (1, 3)


def test_usage_errors_are_explained_and_end_with_status_2(
    aios: Aios, workplace: Path, windows: Windows
) -> None:
    unreadable = workplace / "machine.json"
    unreadable.write_bytes(b"\xff\x00 no JSON")
    for arguments in (["--only", "no-such-check"], ["--machine", windows.path(unreadable)]):
        done = aios("doctor", *arguments)
        assert done.returncode == 2
        assert done.stdout == b""
        assert b"Traceback" not in done.stderr
