"""Run pip (dry run, download, install, uninstall), or the pip that uv provides if this Python has none."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from doctor.bounded import parse_json, read_bytes
from doctor.host import Absent, Found, Host
from doctor.host.completed import exit_code, last_error_line
from doctor.quoting import in_text, quoted
from doctor.wheel_search.install_error import InstallError
from wheels.compatibility import parse_version

TIMEOUT = 3600.0  # seconds: slow connections and disks
START_TIMEOUT = 120.0  # seconds; a sitecustomize may import torch
LAST_LINES = 12
CRASH = "Exception:"
OLDEST = Version("22.2")  # the first with `install --dry-run --report`
# Linux: pip is killed when its parent dies (PR_SET_PDEATHSIG). On Windows a job object does that.
BOUND = "import ctypes, runpy, sys; ctypes.CDLL(None).prctl(1, 9); sys.path[:] = filter(None, sys.path); "
OWN_PIP = BOUND + "sys.argv[0] = 'pip'; runpy.run_module('pip', run_name='__main__', alter_sys=True)"
PIP_ELSEWHERE = BOUND + "sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
RUNNER = "__pip-runner__.py"  # the script in pip by which a Python without pip runs it
SAFELY = {"PYTHONSAFEPATH": "1"}  # ignore a pip.py in the current folder
QUIET = ("--no-input", "--disable-pip-version-check", "--no-color")


@dataclass(frozen=True)
class Resolved:
    """A distribution that pip would install. `requires`: its Requires-Dist."""

    name: str  # normalized
    version: str
    url: str
    sha256: str | None
    requires: tuple[str, ...]

    @property
    def filename(self) -> str:
        return Path(self.url.partition("#")[0]).name.replace("%2B", "+").replace("%2b", "+")


@dataclass(frozen=True)
class Sources:
    """Where pip looks in addition to its configured index. `extra`: an index; `offline`: only in the folders."""

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
    """pip for the running Python. `program`: the command line that starts it."""

    host: Host
    program: tuple[str, ...]

    def dry_run(self, requirements: Sequence[str], sources: Sources) -> tuple[Resolved, ...]:
        """Return everything that pip would install for these requirements. Raises InstallError."""
        return self._report(["--upgrade-strategy", "only-if-needed", *sources.options, *requirements])

    def fetch(self, wanted: Sequence[str], folder: Path, sources: Sources) -> None:
        """Download wheels of exact versions, without dependencies. Raises InstallError."""
        if wanted:
            plain = ["--only-binary", ":all:", "--no-deps", "--dest", str(folder)]
            self._call("download", [*plain, *sources.options, *wanted])

    def fetch_one(self, wanted: str, folder: Path) -> Path:
        """Download the wheel of an exact version and return the file. Raises InstallError, OSError."""
        with TemporaryDirectory(prefix="fetched-", dir=_existing(folder)) as own:
            self.fetch([wanted], Path(own), Sources())
            file = next(Path(own).iterdir())
            return file.replace(folder / file.name)

    def install(self, lines: Sequence[str], folders: Sequence[Path]) -> None:
        """Install exactly these requirement lines, each with its hash, from local folders. Raises InstallError."""
        with TemporaryDirectory(prefix="aios-") as folder:
            wanted = Path(folder, "requirements.txt")
            wanted.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
            links = [part for place in folders for part in ("--find-links", str(place))]
            alone = ["--isolated", "--no-index", "--no-deps", "--force-reinstall", "--require-hashes"]
            quiet = ["--no-warn-script-location"]
            self._call("install", [*alone, *quiet, *links, "--requirement", str(wanted)])

    def uninstall(self, names: Sequence[str]) -> None:
        """Uninstall these distributions. Raises InstallError."""
        if names:
            self._call("uninstall", ["--yes", *names])

    def _report(self, arguments: Sequence[str]) -> tuple[Resolved, ...]:
        with TemporaryDirectory(prefix="aios-") as folder:
            report = Path(folder, "report.json")
            options = ["--dry-run", "--only-binary", ":all:", "--report", str(report)]
            self._call("install", [*options, *arguments])
            return parse_report(read_bytes(report))

    def _call(self, command: str, arguments: Sequence[str]) -> None:
        line = [*self.program, command, *QUIET, *arguments]
        ran = self.host.run(line, TIMEOUT, SAFELY)
        if not isinstance(ran, Found):
            reason = "it was not found" if isinstance(ran, Absent) else ran.reason
            raise InstallError(f"pip cannot be started: {reason}")
        if ran.value.exit_code:
            printed = ran.value.stdout + ran.value.stderr
            raise InstallError(f"pip {command} failed: {_errors_in(printed)}", printed)


def find_pip(host: Host, folder: Path | None = None, *, offline: bool = False) -> Pip:
    """Return the pip of this Python, else one from elsewhere that this Python runs. Raises InstallError.

    The pip from elsewhere is that of aios, for another Python, or the one that uv provides.
    """
    python, on_linux = host.identity.executable, host.identity.os == "linux"
    this = in_text(quoted(python, windows=host.identity.os == "windows"))
    own = host.distribution("pip")
    version = parse_version(own.value.version) if isinstance(own, Found) else None
    if version and version >= OLDEST:
        alone = ("-s",) if _is_embeddable(host) else ()  # as its applications start it
        return Pip(host, (python, *alone, *(("-c", OWN_PIP) if on_linux else ("-m", "pip"))))
    if host.identity.other_python and (pip := importlib.util.find_spec("pip")) and pip.origin:
        runner = str(Path(pip.origin).with_name(RUNNER))
        return Pip(host, (python, *(("-c", PIP_ELSEWHERE) if on_linux else ()), runner))
    if isinstance(uv := host.find_program("uv"), Found):
        runner = str(Path(_pip_of_uv(uv.value, host, folder, offline), RUNNER))
        return Pip(host, (python, *(("-c", PIP_ELSEWHERE) if on_linux else ()), runner))
    if version:
        raise InstallError(
            f"This Python's pip is version {version}; {OLDEST} or newer is required. "
            f"Run: {this} -m pip install --upgrade pip"
        )
    raise InstallError(
        f"This Python has no pip, and uv was not found. Run: {this} -m ensurepip - or, if it has no "
        "ensurepip, install pip as described at https://pip.pypa.io/en/stable/installation/"
    )


def why_not_started(host: Host) -> str | None:
    """Return why another Python does not start as pip starts it, with its sitecustomize and .pth files; None: it does."""
    python = host.identity.executable
    if not host.identity.other_python:
        return None
    ran = host.run([python, "-c", ""], START_TIMEOUT, SAFELY)
    if isinstance(ran, Found):
        if ran.value.exit_code == 0:
            return None
        said = last_error_line(ran.value)
        reason = f"it ends with exit code {exit_code(ran.value)}" + (f": {said}" if said else "")
    else:
        reason = "it was not found" if isinstance(ran, Absent) else ran.reason
    return (
        f"pip cannot run in this Python: {reason}. Without its sitecustomize and .pth files it starts, so one of these may be "
        f"the cause; they are usually in {host.identity.site_packages}."
    )


def _is_embeddable(host: Host) -> bool:
    """Whether this is the embeddable Python, which belongs to a single application and has no environments."""
    names = host.list_directory(host.identity.prefix)
    return isinstance(names, Found) and any(
        name.lower().startswith("python") and name.lower().endswith("._pth") for name in names.value
    )


def _pip_of_uv(uv: str, host: Host, folder: Path | None, offline: bool) -> str:
    """Return the folder of uv's pip, which uv downloads if needed or takes from `folder`. Raises InstallError."""
    links = ["--find-links", str(folder)] if folder else []
    ran = host.run([uv, "tool", "run", *["--offline"] * offline, *links, "pip", "--version"], TIMEOUT)
    if not isinstance(ran, Found):
        raise InstallError(
            f"uv cannot be started: {'it was not found' if isinstance(ran, Absent) else ran.reason}"
        )
    found = re.search(r"^pip \S+ from (.+) \(python [\d.]+\)$", ran.value.stdout.strip(), re.MULTILINE)
    if ran.value.exit_code or not found:
        printed = ran.value.stdout + ran.value.stderr
        message = (
            f"This Python has no pip {OLDEST} or newer, and uv could not provide one: {_errors_in(printed)}"
        )
        if offline:
            message += " For an installation without a network, add pip's wheel to the folder of --wheel-dir."
        raise InstallError(message, printed)
    return found.group(1)


def _existing(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def parse_report(content: bytes) -> tuple[Resolved, ...]:
    """Parse what `pip install --report` wrote (version 1 of the format). Raises InstallError."""
    try:
        return tuple(_resolved(entry) for entry in parse_json(content)["install"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InstallError(f"pip's report cannot be parsed: {error!r}") from error


def _resolved(entry: Mapping[str, Any]) -> Resolved:
    metadata, source = entry["metadata"], entry["download_info"]
    archive = source.get("archive_info") or {}
    # pip 23.1 and 23.2 give a local file only the older field
    algorithm, _, digest = archive.get("hash", "").partition("=")
    hashes = archive.get("hashes") or {algorithm: digest}
    return Resolved(
        name=str(canonicalize_name(metadata["name"])),
        version=str(metadata["version"]),
        url=str(source["url"]),
        sha256=hashes.get("sha256"),
        requires=tuple(metadata.get("requires_dist", ())),
    )


def _errors_in(printed: str) -> str:
    """Return pip's error lines; if it crashed, the last line of the traceback."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if CRASH in errors:
        errors = lines[-1:]
    return " ".join(errors or lines[-LAST_LINES:])[:1500] or "it printed nothing"
