"""`aios doctor explain-log` from the outside."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner, Result

import aios
import doctor.commands.common
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from tests.doctor.failures.samples import FAILING, HEALTHY, wrapped

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "doctor" / "schemas" / "explained-log.schema.json").read_text(encoding="utf-8"))
KEYS = {
    "id",
    "title",
    "package",
    "line",
    "text",
    "cause",
    "fix",
    "harmless",
    "check",
    "finding",
}  # the contract's
FILE_SYSTEM = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem"
LONG_PATHS_OFF = (
    b"HINT: This error might have occurred since this system does not have Windows Long Path support enabled."
)


def explain(*arguments: str, log: bytes = b"") -> Result:
    return CliRunner().invoke(aios.app, ["doctor", "explain-log", *arguments], input=log, prog_name="aios")


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let the command run on a recorded Windows, its long paths on or off."""

    def use(long_paths: bool) -> None:
        content = json.loads((ROOT / "tests" / "machines" / "windows-rtx4090.json").read_text("utf-8"))
        value = {"type": "REG_DWORD", "value": int(long_paths)}
        content["registry"][FILE_SYSTEM]["LongPathsEnabled"] = value
        host = RecordedHost(RecordedMachine.model_validate(content))
        monkeypatch.setattr(doctor.commands.common, "live_host", lambda: host)

    return use


@pytest.mark.parametrize("path", [*FAILING, *HEALTHY[:2]], ids=lambda path: path.stem)
def test_json_validates_against_the_schema(path: Path) -> None:
    result = explain("--json", str(path))
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    jsonschema.validate(answer, SCHEMA)
    assert answer["schema_version"] == 1
    assert bool(answer["matches"]) == (path in FAILING)
    for match in answer["matches"]:
        assert set(match) == KEYS
        assert match["text"].strip(".") in path.read_text(encoding="utf-8").splitlines()[match["line"] - 1]


def test_a_log_from_a_pipe(on_windows: Callable[[bool], None]) -> None:
    on_windows(False)
    result = explain("-", log=LONG_PATHS_OFF)
    assert result.exit_code == 0
    assert result.stdout.startswith("1. Windows refuses long paths\n   line 1: HINT: ")
    assert "on this machine, long-paths: Windows refuses paths longer" in result.stdout
    assert "aios doctor fix long-paths" in result.stdout


def test_a_healthy_machine_is_reported_without_a_fix(
    on_windows: Callable[[bool], None],
) -> None:
    on_windows(True)
    result = explain("-", log=LONG_PATHS_OFF)
    assert "on this machine, long-paths:" in result.stdout
    assert "aios doctor fix" not in result.stdout
    (match,) = json.loads(explain("--json", "-", log=LONG_PATHS_OFF).stdout)["matches"]
    assert match["finding"]["status"] == "ok"


def test_a_failure_that_no_check_can_find_has_neither_check_nor_finding() -> None:
    (match,) = json.loads(explain("--json", "-", log=b"zipfile.BadZipFile: x").stdout)["matches"]
    assert (match["id"], match["check"], match["finding"]) == ("B06", None, None)


def test_a_log_without_a_known_failure() -> None:
    result = explain("-", log=wrapped("all well").encode())
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No known failure was found" in result.stderr
    assert json.loads(explain("--json", "-").stdout) == {"schema_version": 1, "matches": []}


def test_consequences_are_indented_below_their_cause() -> None:
    lines = explain(
        str(next(path for path in FAILING if path.stem.startswith("xformers")))
    ).stdout.splitlines()
    starts = [line for line in lines if line.lstrip()[:2] in ("1.", "2.", "3.", "4.")]
    assert [len(line) - len(line.lstrip()) for line in starts] == [0, 4, 4, 4]


def test_an_uncertain_cause_is_marked_as_possible() -> None:
    shared = b"RuntimeError: CUDA error: no kernel image is available for execution on the device"
    assert explain("--no-machine", "-", log=shared).stdout.count("Possibly: ") == 1
    assert "Possibly" not in explain("-", log=b"OMP: Error #15: twice").stdout


def test_a_harmless_warning_is_called_harmless() -> None:
    warning = b"UserWarning: 1Torch was not compiled with flash attention."
    assert "does not include FlashAttention (harmless by itself)\n" in explain("-", log=warning).stdout
    (match,) = json.loads(explain("--json", "--no-machine", "-", log=warning).stdout)["matches"]
    assert match["harmless"] is True


def test_the_explanation_comes_before_the_facts_of_the_machine(on_windows: Callable[[bool], None]) -> None:
    on_windows(False)
    answer = explain("--no-machine", "-", log=LONG_PATHS_OFF).stdout
    whole = explain("-", log=LONG_PATHS_OFF).stdout
    assert whole.startswith(answer)
    assert "on this machine" not in answer
    (match,) = json.loads(explain("--no-machine", "--json", "-", log=LONG_PATHS_OFF).stdout)["matches"]
    assert (match["id"], match["finding"]) == ("A01", None)


def test_the_failing_package_is_named() -> None:
    log = b"ImportError: DLL load failed while importing exllamav2_ext: The specified procedure could not be found."
    assert explain("--no-machine", "-", log=log).stdout.startswith(
        "1. exllamav2_ext was built for another torch\n"
    )
    (match,) = json.loads(explain("--no-machine", "--json", "-", log=log).stdout)["matches"]
    assert (match["id"], match["package"]) == ("D16", "exllamav2_ext")


def test_a_missing_standard_input_is_a_usage_error() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, aios; sys.stdin = None; aios.main()",
            "doctor",
            "explain-log",
            "-",
        ],
        cwd=ROOT,
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"started without stdin" in done.stderr


@pytest.mark.parametrize("name", ["no such file.log", "."])
def test_a_log_that_cannot_be_read_is_a_usage_error(name: str, tmp_path: Path) -> None:
    result = explain(str(tmp_path / name))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot read" in result.stderr
    assert "or - to read from a pipe" in result.stderr.replace("\n", " ").replace("│", "").replace("  ", " ")


def test_text_of_a_log_is_printed_unchanged_in_any_pipe(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(
        "[bold]日本[/bold] \x1b[31m OMP: Error #15: C:\\data\\[toolchain] Größe\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "aios", "doctor", "explain-log", str(log)],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "cp1252:strict"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode("cp1252")
    assert "[bold]\\u65e5\\u672c[/bold]" in said
    assert "C:\\data\\[toolchain] Größe" in said
    assert "\x1b" not in said


def test_json_is_ascii_in_a_pipe_of_any_encoding() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aios", "doctor", "explain-log", "--json", "-"],
        input="OMP: Error #15: Größe 日本 \U0001f600".encode(),
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "cp437:strict"},
        capture_output=True,
    )
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["matches"][0]["text"].endswith("Größe 日本 \U0001f600")


def test_standard_input_may_contain_any_bytes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aios", "doctor", "explain-log", "--json", "-"],
        input=bytes(range(256)) * 100 + b"\nOMP: Error #15: twice\n",
        cwd=ROOT,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [match["id"] for match in json.load(io.BytesIO(done.stdout))["matches"]] == ["C12"]
