"""pip, or pip as uv brings it where this Python has none: trying out, fetching and installing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from doctor.host import Absent, Found, Host
from doctor.wheel_search.install_error import InstallError
from wheels.compatibility import parse_version

TIMEOUT = 3600.0  # seconds; a slow line, an old disk
LAST_LINES = 12
CRASH = "Exception:"
OLDEST = Version("22.2")  # the first with `install --dry-run --report`
# Linux: it ends with whoever started it, however that ends. On Windows a job object sees to that.
BOUND = "import ctypes, runpy, sys; ctypes.CDLL(None).prctl(1, 9); sys.path[:] = filter(None, sys.path); "
OWN_PIP = BOUND + "sys.argv[0] = 'pip'; runpy.run_module('pip', run_name='__main__', alter_sys=True)"
PIP_ELSEWHERE = BOUND + "sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
RUNNER = "__pip-runner__.py"  # pip's own way of being run by a Python that has none
SAFELY = {"PYTHONSAFEPATH": "1"}  # a pip.py in the current folder is no pip
QUIET = ("--no-input", "--disable-pip-version-check", "--no-color")


@dataclass(frozen=True)
class Resolved:
    """What pip would install of one distribution. `requires`: its Requires-Dist."""

    name: str  # normalised
    version: str
    url: str
    sha256: str | None
    requires: tuple[str, ...]

    @property
    def filename(self) -> str:
        return Path(self.url.partition("#")[0]).name.replace("%2B", "+").replace("%2b", "+")


@dataclass(frozen=True)
class Sources:
    """Where pip may look besides the package index that it is set up to use; `offline`: in the folders alone."""

    extra: str | None = None
    folders: tuple[str, ...] = ()
    offline: bool = False

    @property
    def options(self) -> list[str]:
        where = ["--no-index"] if self.offline else []
        if not self.offline:
            where += ["--extra-index-url", self.extra] if self.extra else []
        return [*where, *(part for folder in self.folders for part in ("--find-links", folder))]


@dataclass(frozen=True)
class Pip:
    """Calls pip for the Python that runs this."""

    host: Host
    program: tuple[str, ...]

    def try_out(self, requirements: Sequence[str], sources: Sources) -> tuple[Resolved, ...]:
        """All that pip would install for these, here and now. Raises InstallError."""
        return self._report(["--upgrade-strategy", "only-if-needed", *sources.options, *requirements])

    def fetch(self, wanted: Sequence[str], folder: Path, sources: Sources) -> None:
        """Download wheels of exact versions. Raises InstallError."""
        if wanted:
            plain = ["--only-binary", ":all:", "--no-deps", "--dest", str(folder)]
            self._call("download", [*plain, *sources.options, *wanted])

    def fetch_one(self, wanted: str, folder: Path) -> Path:
        """Download the wheel of an exact version; gives the file. Raises InstallError, OSError."""
        with TemporaryDirectory(prefix="fetched-", dir=_made(folder)) as own:
            self.fetch([wanted], Path(own), Sources())
            file = next(Path(own).iterdir())
            return file.replace(folder / file.name)

    def install(self, lines: Sequence[str], folders: Sequence[Path]) -> None:
        """Install exactly the files of these lines, each with its hash. Raises InstallError."""
        with TemporaryDirectory(prefix="aios-") as folder:
            wanted = Path(folder, "requirements.txt")
            wanted.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
            links = [part for place in folders for part in ("--find-links", str(place))]
            alone = ["--isolated", "--no-index", "--no-deps", "--force-reinstall", "--require-hashes"]
            self._call("install", [*alone, *links, "--requirement", str(wanted)])

    def uninstall(self, names: Sequence[str]) -> None:
        """Remove what these distributions have. Raises InstallError."""
        if names:
            self._call("uninstall", ["--yes", *names])

    def _report(self, arguments: Sequence[str]) -> tuple[Resolved, ...]:
        with TemporaryDirectory(prefix="aios-") as folder:
            report = Path(folder, "report.json")
            options = ["--dry-run", "--only-binary", ":all:", "--report", str(report)]
            self._call("install", [*options, *arguments])
            return parse_report(report.read_bytes())

    def _call(self, command: str, arguments: Sequence[str]) -> None:
        line = [*self.program, command, *QUIET, *arguments]
        ran = self.host.run(line, TIMEOUT, SAFELY)
        if not isinstance(ran, Found):
            reason = "it is gone" if isinstance(ran, Absent) else ran.reason
            raise InstallError(f"pip cannot be run: {reason}")
        if ran.value.exit_code:
            printed = ran.value.stdout + ran.value.stderr
            raise InstallError(f"pip {command} failed: {_said(printed)}", printed)


def find_pip(host: Host, folder: Path | None = None, *, offline: bool = False) -> Pip:
    """This Python's own pip, else the one that uv brings, run by this Python. Raises InstallError."""
    python, on_linux = host.identity.executable, host.identity.os == "linux"
    own = host.distribution("pip")
    version = parse_version(own.value.version) if isinstance(own, Found) else None
    if version and version >= OLDEST:
        return Pip(host, (python, *(("-c", OWN_PIP) if on_linux else ("-m", "pip"))))
    if isinstance(uv := host.find_program("uv"), Found):
        runner = str(Path(_brought_by(uv.value, host, folder, offline), RUNNER))
        return Pip(host, (python, *(("-c", PIP_ELSEWHERE) if on_linux else ()), runner))
    if version:
        raise InstallError(
            f"This Python's pip is {version}; {OLDEST} or newer is needed. "
            f'Run: "{python}" -m pip install --upgrade pip'
        )
    raise InstallError(
        f'This Python has no pip, and there is no uv either. Run: "{python}" -m ensurepip - or, where it has '
        "no ensurepip, get pip as https://pip.pypa.io/en/stable/installation/ says."
    )


def _brought_by(uv: str, host: Host, folder: Path | None, offline: bool) -> str:
    """The folder of the pip that uv keeps, or gets now, be it from the folder of wheels. Raises InstallError."""
    links = ["--find-links", str(folder)] if folder else []
    ran = host.run([uv, "tool", "run", *["--offline"] * offline, *links, "pip", "--version"], TIMEOUT)
    if not isinstance(ran, Found):
        raise InstallError(f"uv cannot be run: {'it is gone' if isinstance(ran, Absent) else ran.reason}")
    found = re.search(r"^pip \S+ from (.+) \(python [\d.]+\)$", ran.value.stdout.strip(), re.MULTILINE)
    if ran.value.exit_code or not found:
        printed = ran.value.stdout + ran.value.stderr
        raise InstallError(
            f"This Python has no pip of version {OLDEST} or newer, and uv could not bring one: {_said(printed)}"
            + " Without a network its wheel may lie in --wheel-dir." * offline,
            printed,
        )
    return found.group(1)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def parse_report(content: bytes) -> tuple[Resolved, ...]:
    """What `pip install --report` wrote (version 1 of its format). Raises InstallError."""
    try:
        return tuple(_resolved(entry) for entry in json.loads(content)["install"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InstallError(f"pip's report cannot be understood: {error!r}") from error


def _resolved(entry: Mapping[str, Any]) -> Resolved:
    metadata, source = entry["metadata"], entry["download_info"]
    hashes = source.get("archive_info", {}).get("hashes")
    return Resolved(
        name=str(canonicalize_name(metadata["name"])),
        version=str(metadata["version"]),
        url=str(source["url"]),
        sha256=hashes.get("sha256"),
        requires=tuple(metadata.get("requires_dist", ())),
    )


def _said(printed: str) -> str:
    """pip's own errors; where it crashed, the last line of its traceback."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if CRASH in errors:
        errors = lines[-1:]
    return " ".join(errors or lines[-LAST_LINES:])[:1500] or "it says nothing"
