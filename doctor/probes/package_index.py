"""The package indexes that pip and uv use, from their configuration files and variables. Neither program is run."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading
from doctor.probes.paths import join, roaming_app_data
from doctor.probes.text_files import read_text
from doctor.probes.variables import Variable, read_variable

INDEX_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
)
COMMANDS = ("install", "global")  # sections of pip's files, highest priority first


@dataclass(frozen=True)
class PipFile:
    """One of pip's configuration files.

    Attributes:
        level: pip's name for it ("global", "user", "site"); empty for the file that PIP_CONFIG_FILE names.
        settings: values by name, such as "install.index-url".
        fault: why pip cannot parse it.
    """

    path: str
    level: str
    settings: Reading[dict[str, str]]
    fault: str | None = None


@dataclass(frozen=True)
class IndexFacts:
    """Every setting that decides which indexes are used.

    Attributes:
        files: pip's configuration files, lowest priority first.
        switches: PIP_NO_INDEX and PIP_REQUIRE_VIRTUALENV.
        variables: the index variables that are set.
        uv_files: the URLs in uv's configuration files, by path.
        pip_index: the default index of the installed pip.
    """

    files: tuple[PipFile, ...]
    switches: dict[str, str | None]
    variables: tuple[Variable, ...]
    uv_files: dict[str, Reading[tuple[str, ...]]]
    pip_index: Reading[str]

    def setting(self, name: str) -> str | None:
        """Return the value `pip install` uses for a setting such as "index-url", from its files only."""
        for file in reversed(self.files):
            known = file.settings.value if isinstance(file.settings, Found) else {}
            for command in COMMANDS:
                if value := known.get(f"{command}.{name}"):
                    return value
        return None


def configured_index(host: Reader) -> str | None:
    """Return the index that `pip install` uses, or a plain pip's default. None: not known."""
    facts = index_facts(host)
    default = facts.pip_index.value if isinstance(facts.pip_index, Found) else None
    return host.variable("PIP_INDEX_URL") or facts.setting("index-url") or default


def parse_pip_file(content: bytes) -> dict[str, str]:
    """Parse a pip.ini or pip.conf. Raises configparser.Error for a file that pip would reject."""
    parser = configparser.RawConfigParser()
    parser.read_string(content.decode("utf-8-sig", errors="replace"))
    return {
        f"{section}.{name.replace('_', '-')}": value
        for section in parser.sections()
        for name, value in parser.items(section)
    }


def parse_addresses(text: str) -> tuple[str, ...]:
    """Return the URLs in a uv.toml."""
    return tuple(re.findall(r"[\"'](https?://[^\"'\s]+)[\"']", text))


def parse_default_index(text: str) -> str | None:
    """Return the default index in pip's source, pip/_internal/models/index.py."""
    match = re.search(r"^PyPI\s*=\s*PackageIndex\(\s*[\"'](https://[^\"']+)", text, re.MULTILINE)
    return match.group(1) if match else None


def _user_folder(host: Reader, program: str) -> str:
    """The folder of a program's settings for this user."""
    if host.identity.os == "windows":
        return join(host, roaming_app_data(host), program)
    return join(host, host.variable("XDG_CONFIG_HOME") or join(host, host.identity.home, ".config"), program)


def _machine_folder(host: Reader, program: str) -> str:
    """The folder of a program's settings for all users."""
    if host.identity.os == "windows":
        return join(host, host.variable("ProgramData") or "C:\\ProgramData", program)
    return join(host, "/etc", program) if program == "uv" else "/etc"


def _pip_paths(host: Reader) -> tuple[tuple[str, str], ...]:
    """Each file with its level, lowest priority first."""
    windows = host.identity.os == "windows"
    name = "pip.ini" if windows else "pip.conf"
    named = host.variable("PIP_CONFIG_FILE")
    return (
        *(() if windows else (("/etc/xdg/pip/pip.conf", "global"),)),
        (join(host, _machine_folder(host, "pip"), name), "global"),
        (join(host, host.identity.home, "pip" if windows else ".pip", name), "user"),
        (join(host, _user_folder(host, "pip"), name), "user"),
        (join(host, host.identity.prefix, name), "site"),
        *(((named, ""),) if named else ()),
    )


def _pip_file(host: Reader, path: str, level: str) -> PipFile:
    content = host.read_file(path)
    if not isinstance(content, Found):
        return PipFile(path, level, content)
    try:
        return PipFile(path, level, Found(parse_pip_file(content.value)))
    except configparser.Error as error:  # its message quotes the line, which may contain a password
        line = getattr(error, "lineno", None)
        fault = type(error).__name__ + (f" in line {line}" if line else "")
        return PipFile(path, level, Found({}), fault)


def pip_files(host: Reader) -> tuple[PipFile, ...]:
    """Return pip's configuration files, lowest priority first. PIP_CONFIG_FILE set to the null device disables them."""
    if (host.variable("PIP_CONFIG_FILE") or "").lower() in ("nul", "/dev/null"):
        return ()
    return tuple(_pip_file(host, path, level) for path, level in _pip_paths(host))


def _uv_file(host: Reader, path: str) -> Reading[tuple[str, ...]]:
    content = read_text(host, path)
    return Found(parse_addresses(content.value)) if isinstance(content, Found) else content


def _pip_index(host: Reader) -> Reading[str]:
    pip = host.distribution("pip")
    if not isinstance(pip, Found):
        return pip
    source = read_text(host, join(host, pip.value.location, "pip", "_internal", "models", "index.py"))
    if not isinstance(source, Found):
        return source
    found = parse_default_index(source.value)
    return Found(found) if found else Absent()


def index_facts(host: Reader) -> IndexFacts:
    variables = (read_variable(host, name) for name in INDEX_VARIABLES)
    uv_paths = (join(host, folder(host, "uv"), "uv.toml") for folder in (_machine_folder, _user_folder))
    return IndexFacts(
        files=pip_files(host),
        switches={name: host.variable(name) for name in ("PIP_NO_INDEX", "PIP_REQUIRE_VIRTUALENV")},
        variables=tuple(variable for variable in variables if variable.value),
        uv_files={path: _uv_file(host, path) for path in uv_paths},
        pip_index=_pip_index(host),
    )


INDEX = Probe("package-index", index_facts)
