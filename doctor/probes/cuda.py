"""The CUDA toolkits (nvcc) on this machine, and the one PyTorch would build with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Found, Reader, Reading, Unreadable
from doctor.host.completed import exit_code, first_line
from doctor.probes.paths import join, parent, program_files
from doctor.probes.text_files import read_text

TOOLKITS_KEY = r"HKLM\SOFTWARE\NVIDIA Corporation\GPU Computing Toolkit\CUDA"


@dataclass(frozen=True)
class Toolkit:
    """A folder that a variable, PATH, the registry or a default location names as a CUDA toolkit.

    Attributes:
        found_by: what named it.
        nvcc: the version of its nvcc; Absent if it has none.
        accepts: the compilers (_MSC_VER) that its host_config.h accepts; Absent without that header, and on other systems.
        newest_gcc: the newest gcc that it accepts; Absent without that header, and on other systems.
    """

    path: str
    found_by: tuple[str, ...]
    nvcc: Reading[tuple[int, int]]
    accepts: Reading[range]
    newest_gcc: Reading[int]


@dataclass(frozen=True)
class CudaFacts:
    """The toolkits found.

    Attributes:
        chosen: the path torch.utils.cpp_extension would use (torch 2.13, `_find_cuda_home`).
        unreadable: why parts of the search failed.
    """

    cuda_home: str | None
    cuda_path: str | None
    toolkits: tuple[Toolkit, ...]
    chosen: str | None
    unreadable: tuple[str, ...]

    @property
    def chosen_toolkit(self) -> Toolkit | None:
        """The toolkit at `chosen`."""
        return self.toolkit(self.chosen) if self.chosen else None

    @property
    def versions(self) -> tuple[tuple[int, int], ...]:
        """The version of every nvcc that answered."""
        return tuple(toolkit.nvcc.value for toolkit in self.toolkits if isinstance(toolkit.nvcc, Found))

    def toolkit(self, path: str) -> Toolkit | None:
        return next((toolkit for toolkit in self.toolkits if same_path(toolkit.path, path)), None)


def same_path(one: str, other: str) -> bool:
    def folded(path: str) -> str:
        return path.replace("/", "\\").rstrip("\\").casefold() if "\\" in path else path.rstrip("/")

    return folded(one) == folded(other)


def parse_nvcc(output: str) -> tuple[int, int] | None:
    """Return the version in the output of `nvcc --version`: "..., release 12.6, V12.6.77" -> (12, 6)."""
    match = re.search(r"release (\d{1,3})\.(\d{1,3})", output)
    return (int(match.group(1)), int(match.group(2))) if match else None


def _nvcc_version(host: Reader, toolkit: str) -> Reading[tuple[int, int]]:
    name = "nvcc.exe" if host.identity.os == "windows" else "nvcc"
    ran = host.run([join(host, toolkit, "bin", name), "--version"], timeout=10.0)
    if not isinstance(ran, Found):
        return ran
    version = parse_nvcc(ran.value.stdout)
    if version is None:
        said = first_line(ran.value)
        return Unreadable(f"nvcc --version ended with exit code {exit_code(ran.value)} and printed {said!r}")
    return Found(version)


def parse_host_config(text: str) -> range | None:
    """Return the _MSC_VER values that a toolkit's crt/host_config.h accepts.

    The `#if` before its "unsupported Microsoft Visual Studio" error states the rejected ones.
    """
    error = re.search(r"#\s*error\b[^\n]*unsupported Microsoft Visual Studio", text)
    conditions = re.findall(r"#\s*if\b(.*)", text[: error.start()].replace("\\\n", " ")) if error else []
    if not conditions:
        return None
    rejected = re.findall(r"_MSC_VER\s*(<=?|>=?)\s*(\d{4})\b", conditions[-1])
    reversed_ = re.findall(r"\b(\d{4})\s*(<=?|>=?)\s*_MSC_VER", conditions[-1])
    rejected += [(sign.translate(str.maketrans("<>", "><")), number) for number, sign in reversed_]
    start = [int(number) + (sign == "<=") for sign, number in rejected if sign.startswith("<")]
    stop = [int(number) + (sign == ">") for sign, number in rejected if sign.startswith(">")]
    return range(start[0], stop[0]) if len(start) == len(stop) == 1 and start < stop else None


def _accepted(host: Reader, toolkit: str) -> Reading[range]:
    if host.identity.os != "windows":
        return Absent()
    header = read_text(host, join(host, toolkit, "include", "crt", "host_config.h"))
    if not isinstance(header, Found):
        return header
    accepted = parse_host_config(header.value)
    if accepted is None:
        return Unreadable("host_config.h does not state which compilers it accepts")
    return Found(accepted)


def parse_newest_gcc(text: str) -> int | None:
    """Return the newest gcc that a toolkit's crt/host_config.h accepts."""
    found = re.search(r"#\s*if\s+__GNUC__\s*>\s*(\d{1,3})\s*\n", text)
    return int(found[1]) if found and "unsupported GNU version" in text else None


def _newest_gcc(host: Reader, toolkit: str) -> Reading[int]:
    if host.identity.os == "windows":
        return Absent()
    header = read_text(host, join(host, toolkit, "include", "crt", "host_config.h"))
    if not isinstance(header, Found):
        return header
    newest = parse_newest_gcc(header.value)
    return Found(newest) if newest else Unreadable("host_config.h does not state which gcc it accepts")


def _default_folders(host: Reader) -> Reading[tuple[str, ...]]:
    """The default install locations, in the order torch searches them."""
    windows = host.identity.os == "windows"
    if windows:
        root = join(host, program_files(host), "NVIDIA GPU Computing Toolkit", "CUDA")
    else:
        root = "/usr/local"
    names = host.list_directory(root)
    if not isinstance(names, Found):
        return names
    pattern = r"v\d+\.\d+" if windows else r"cuda(-\d+\.\d+)?"
    return Found(tuple(join(host, root, name) for name in sorted(names.value) if re.fullmatch(pattern, name)))


def _registered(host: Reader) -> Reading[tuple[str, ...]]:
    versions = host.registry_subkeys(TOOLKITS_KEY)
    if not isinstance(versions, Found):
        return versions
    folders = (host.registry_value(f"{TOOLKITS_KEY}\\{version}", "InstallDir") for version in versions.value)
    return Found(tuple(str(folder.value.value) for folder in folders if isinstance(folder, Found)))


def _cuda(host: Reader) -> CudaFacts:
    candidates: list[tuple[str, str]] = []  # (path, found by)
    for variable in ("CUDA_HOME", "CUDA_PATH", *host.variable_names("CUDA_PATH_V")):
        # Quotes around the path are a mistake, reported by cuda-home; the path inside them is what was meant
        if value := (host.variable(variable) or "").strip('"'):
            candidates.append((value, variable))
    if isinstance(nvcc := host.find_program("nvcc"), Found):
        candidates.append((parent(host, parent(host, nvcc.value)), "PATH"))
    unreadable = []
    registered = _registered(host) if host.identity.os == "windows" else Absent()
    folders = _default_folders(host)
    for found_by, reading in (("registry", registered), ("folder", folders)):
        if isinstance(reading, Found):
            candidates += [(path, found_by) for path in reading.value]
        elif isinstance(reading, Unreadable):
            unreadable.append(f"{found_by}: {reading.reason}")

    distinct: list[tuple[str, list[str]]] = []
    for path, found_by in candidates:
        known = next((names for other, names in distinct if same_path(other, path)), None)
        if known is None:
            distinct.append((path, [found_by]))
        else:
            known.append(found_by)
    order = ("CUDA_HOME", "CUDA_PATH", "PATH", "folder")
    chosen = next((path for wanted in order for path, found_by in candidates if found_by == wanted), None)
    return CudaFacts(
        cuda_home=host.variable("CUDA_HOME"),
        cuda_path=host.variable("CUDA_PATH"),
        toolkits=tuple(
            Toolkit(
                path, tuple(names), _nvcc_version(host, path), _accepted(host, path), _newest_gcc(host, path)
            )
            for path, names in distinct
        ),
        chosen=chosen,
        unreadable=tuple(unreadable),
    )


CUDA = Probe("cuda", _cuda, timeout=30.0)
