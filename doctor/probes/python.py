"""This Python: its distribution, environment and headers, and what `python` starts on PATH."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Identity, Reader, Reading
from doctor.probes.paths import join, local_app_data, python_with_abi, roaming_app_data, standard_library
from doctor.probes.text_files import read_text
from doctor.probes.variables import Variable, read_variable

STORE_PACKAGE = "PythonSoftwareFoundation.Python."


@dataclass(frozen=True)
class PythonFacts:
    """Which distribution of Python this is.

    Attributes:
        base_names: names in the folder of the base installation, not of a virtual environment.
        externally_managed: the EXTERNALLY-MANAGED file, which forbids pip to install (PEP 668).
    """

    identity: Identity
    base_names: Reading[tuple[str, ...]]
    externally_managed: Reading[bytes]

    @property
    def in_virtual_environment(self) -> bool:
        return self.identity.in_virtual_environment

    @property
    def is_from_store(self) -> bool:
        """Whether it comes from the Microsoft Store, by its path: Windows does not let programs list its folder."""
        paths = (self.identity.base_prefix, self.identity.executable)
        return any(STORE_PACKAGE in path or "\\WindowsApps\\" in path for path in paths)


def externally_managed(host: Reader) -> Reading[bytes]:
    """Read the EXTERNALLY-MANAGED file, which forbids pip to install into this Python (PEP 668)."""
    return host.read_file(join(host, standard_library(host, host.identity.base_prefix), "EXTERNALLY-MANAGED"))


def _python(host: Reader) -> PythonFacts:
    return PythonFacts(
        identity=host.identity,
        base_names=host.list_directory(host.identity.base_prefix),
        externally_managed=externally_managed(host),
    )


def _file(host: Reader, folder: str, name: str) -> Reading[str]:
    """Return the file's path if its folder lists it. The file is not opened."""
    names = host.list_directory(folder)
    if not isinstance(names, Found):
        return names
    known = names.value
    if host.identity.os == "windows":
        name, known = name.lower(), tuple(map(str.lower, known))
    return Found(join(host, folder, name)) if name in known else Absent()


def _headers(host: Reader) -> dict[str, Reading[str]]:
    """The files of this Python that a C compiler needs, by path: Python.h and, on Windows, the import library."""
    base, python = host.identity.base_prefix, python_with_abi(host)
    if host.identity.os == "windows":
        library = f"{python.replace('.', '')}.lib"
        wanted = {join(host, base, "Include"): "Python.h", join(host, base, "libs"): library}
    else:
        wanted = {join(host, base, "include", python): "Python.h"}
    return {join(host, folder, name): _file(host, folder, name) for folder, name in wanted.items()}


@dataclass(frozen=True)
class VirtualEnvironmentFacts:
    """The files of this virtual environment; all Absent outside a virtual environment.

    Attributes:
        settings: the values in pyvenv.cfg.
        home: names in the folder of the Python it was created with.
        created_at: the path in its activation script; Absent without a script, or if the script computes the path.
        names_there: names in that folder.
    """

    python: PythonFacts
    settings: Reading[dict[str, str]]
    home: Reading[tuple[str, ...]]
    created_at: Reading[str]
    names_there: Reading[tuple[str, ...]]


def parse_settings(text: str) -> dict[str, str]:
    """Parse pyvenv.cfg, lines of the form `key = value`."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def parse_activation(text: str) -> str | None:
    """Return the path in an activation script of venv, virtualenv or uv; None if the script computes it."""
    assigned = [_word(rest) for rest in re.findall(r"\bVIRTUAL_ENV=([^\r\n]+)", text)]
    looped = re.findall(r"\bin \(\"([^\"\r\n]+)\"\) do", text)
    plain = (path.strip() for path in (*assigned, *looped) if not re.search(r"[$%`]", path))
    return next((path for path in plain if re.match(r"/|[A-Za-z]:[\\/]", path)), None)


def _word(rest: str) -> str:
    """Return the value at the beginning of the rest of a line: quoted for sh, or as in `set "NAME=value"` of cmd."""
    if quoted := re.match(r"(?:\"[^\"]*\"|'[^']*')+", rest):
        return "".join(part[1:-1] for part in re.findall(r"\"[^\"]*\"|'[^']*'", quoted[0]))
    return rest.strip("\"'").partition('"')[0]


def _virtual_environment(host: Reader) -> VirtualEnvironmentFacts:
    python = _python(host)
    prefix = host.identity.prefix
    if not python.in_virtual_environment:
        return VirtualEnvironmentFacts(python, Absent(), Absent(), Absent(), Absent())
    content = read_text(host, join(host, prefix, "pyvenv.cfg"))
    settings = Found(parse_settings(content.value)) if isinstance(content, Found) else content
    home: Reading[tuple[str, ...]] = Absent()
    if isinstance(settings, Found):
        home = host.list_directory(settings.value.get("home", ""))
    script = ("Scripts", "activate.bat") if host.identity.os == "windows" else ("bin", "activate")
    created_at: Reading[str] = read_text(host, join(host, prefix, *script))
    if isinstance(created_at, Found):
        path = parse_activation(created_at.value)
        created_at = Found(path) if path else Absent()
    names_there = host.list_directory(created_at.value) if isinstance(created_at, Found) else Absent()
    return VirtualEnvironmentFacts(python, settings, home, created_at, names_there)


@dataclass(frozen=True)
class AliasFacts:
    """What `python` starts in a terminal.

    Attributes:
        program: the path of the python found on PATH.
        alias_folder: the folder of Windows' app execution aliases, at the end of PATH.
        aliases: names in that folder. A Python from the Microsoft Store has a subfolder there.
    """

    program: Reading[str]
    alias_folder: str
    aliases: Reading[tuple[str, ...]]


def _alias(host: Reader) -> AliasFacts:
    folder = join(host, local_app_data(host), "Microsoft", "WindowsApps")
    return AliasFacts(host.find_program("python"), folder, host.list_directory(folder))


@dataclass(frozen=True)
class MixedEnvironmentsFacts:
    """Everything that can bring packages of another Python into this one.

    Attributes:
        home: the variable PYTHONHOME.
        path: the variable PYTHONPATH.
        environments: the values of VIRTUAL_ENV and CONDA_PREFIX.
        user_packages: where `pip install --user` puts packages.
        locations: the folder of each installed distribution's metadata, by name.
    """

    identity: Identity
    home: Variable
    path: Variable
    environments: dict[str, str | None]
    user_packages: str
    locations: Reading[dict[str, str]]


def _user_packages(host: Reader) -> str:
    home, base = host.identity.home, host.variable("PYTHONUSERBASE")
    if host.identity.os == "windows":
        return base or join(host, roaming_app_data(host), "Python")
    default = (home, "Library", "Python") if host.identity.os == "macos" else (home, ".local")
    return join(host, base or join(host, *default), "lib")


def _mixed_environments(host: Reader) -> MixedEnvironmentsFacts:
    installed = host.distributions()
    locations: Reading[dict[str, str]]
    if isinstance(installed, Found):
        locations = Found({distribution.name: distribution.location for distribution in installed.value})
    else:
        locations = installed
    return MixedEnvironmentsFacts(
        identity=host.identity,
        home=read_variable(host, "PYTHONHOME"),
        path=read_variable(host, "PYTHONPATH"),
        environments={name: host.variable(name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX")},
        user_packages=_user_packages(host),
        locations=locations,
    )


PYTHON = Probe("python", _python)
HEADERS = Probe("python-headers", _headers)
VIRTUAL_ENVIRONMENT = Probe("virtual-environment", _virtual_environment)
ALIAS = Probe("python-alias", _alias)
MIXED_ENVIRONMENTS = Probe("mixed-environments", _mixed_environments)
