"""Where the Pythons of a machine may be: what Windows, conda, uv and pyenv list, and where applications keep theirs.

Only folders with known names are read, so that a home folder with thousands of others costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from doctor.host import Found, Reader
from doctor.host.other_python import IN_APPLICATIONS
from doctor.probes.paths import join, local_app_data, roaming_app_data, system_drive
from doctor.probes.text_files import read_text

# The names of folders that applications are unpacked or cloned into, by application
APPLICATIONS = {
    "ComfyUI": re.compile(r"comfyui.*|comfy", re.IGNORECASE),
    "kohya_ss": re.compile(r"kohya.*|sd-scripts.*", re.IGNORECASE),
    "Forge": re.compile(r".*forge.*", re.IGNORECASE),
    "A1111": re.compile(r"stable-diffusion-webui.*|sd[.-]webui.*|automatic1111.*", re.IGNORECASE),
    "text-generation-webui": re.compile(r"text-generation-webui.*|textgen.*|oobabooga.*", re.IGNORECASE),
    "OneTrainer": re.compile(r"onetrainer.*", re.IGNORECASE),
    "unsloth": re.compile(r"unsloth.*", re.IGNORECASE),
}
# Folders in which applications usually are, below the home folder and on each drive
USUAL = ("", "Documents", "Desktop", "Downloads", "AI", "ai", "Apps", "apps", "projects", "src", "git")
LETTERS = "CDEF"
ON_DRIVES = ("", "AI", "Apps", "Tools")
CONDA = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", "AppData/Local/miniconda3", "AppData/Local/miniforge3")  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A folder that may be an environment, and what it belongs to: "conda", "ComfyUI"."""

    folder: str
    owner: str


def places(host: Reader, here: str) -> Iterator[Place]:
    """Yield every folder that may be an environment. `here`: the current folder."""
    for name in (".venv", "venv"):
        yield Place(join(host, here, name), "this folder")
    yield from chain(_windows(host), _conda(host), _uv(host), _pyenv(host))
    yield from chain(_stability_matrix(host), _pinokio(host), _others(host), _applications(host))


def _names(host: Reader, folder: str) -> tuple[str, ...]:
    names = host.list_directory(folder)
    return names.value if isinstance(names, Found) else ()


def _each_in(host: Reader, folder: str, owner: str) -> Iterator[Place]:
    for name in _names(host, folder):
        if not name.startswith("."):
            yield Place(join(host, folder, name), owner)


def _windows(host: Reader) -> Iterator[Place]:
    """PEP 514, which the launcher `py` lists, and the folders of Python's install manager."""
    for root in ("HKCU", "HKLM"):
        for software in (r"SOFTWARE\Python", r"SOFTWARE\WOW6432Node\Python"):
            companies = host.registry_subkeys(f"{root}\\{software}")
            for company in companies.value if isinstance(companies, Found) else ():
                yield from _registered(host, f"{root}\\{software}\\{company}", company)
    if host.identity.os == "windows":
        yield from _each_in(host, join(host, local_app_data(host), "Python"), "Python")


def _registered(host: Reader, key: str, company: str) -> Iterator[Place]:
    tags = host.registry_subkeys(key)
    for tag in tags.value if isinstance(tags, Found) else ():
        folder = host.registry_value(f"{key}\\{tag}\\InstallPath", "")
        if isinstance(folder, Found) and isinstance(folder.value.value, str):
            yield Place(folder.value.value, "Python" if company == "PythonCore" else company)


def _conda(host: Reader) -> Iterator[Place]:
    """conda's own list, and the environments of the usual installations."""
    home = host.identity.home
    listed = read_text(host, join(host, home, ".conda", "environments.txt"))
    for line in listed.value.splitlines() if isinstance(listed, Found) else ():
        if line.strip():
            yield Place(line.strip(), "conda")
    for name in CONDA:
        root = join(host, home, *name.split("/"))
        yield Place(root, "conda")
        yield from _each_in(host, join(host, root, "envs"), "conda")


def _uv(host: Reader) -> Iterator[Place]:
    data = _data_folder(host)
    pythons = host.variable("UV_PYTHON_INSTALL_DIR") or join(host, data, "uv", "python")
    tools = host.variable("UV_TOOL_DIR") or join(host, data, "uv", "tools")
    yield from _each_in(host, pythons, "uv")
    yield from _each_in(host, tools, "uv tool")


def _data_folder(host: Reader) -> str:
    if host.identity.os == "windows":
        return roaming_app_data(host)
    return host.variable("XDG_DATA_HOME") or join(host, host.identity.home, ".local", "share")


def _pyenv(host: Reader) -> Iterator[Place]:
    root = host.variable("PYENV_ROOT") or join(host, host.identity.home, ".pyenv")
    for folder in (join(host, root, "versions"), join(host, root, "pyenv-win", "versions")):
        yield from _each_in(host, folder, "pyenv")


def _drives(host: Reader) -> tuple[str, ...]:
    if host.identity.os != "windows":
        return ()
    own = system_drive(host).upper()
    return tuple(
        root for letter in dict.fromkeys((own[:1], *LETTERS)) if _is_fixed(host, root := f"{letter}:\\")
    )


def _is_fixed(host: Reader, root: str) -> bool:
    """Whether it is a drive in this machine. A network drive without its server would block for a minute."""
    volume = host.volume(root)
    return isinstance(volume, Found) and volume.value.kind == "fixed"


def _stability_matrix(host: Reader) -> Iterator[Place]:
    """Its packages are in %APPDATA%, or in the folder `Data` of a portable one."""
    roots = [join(host, roaming_app_data(host), "StabilityMatrix")]
    for drive in (*_drives(host), host.identity.home):
        roots += [
            join(host, drive, "StabilityMatrix"),
            join(host, drive, "StabilityMatrix", "Data"),
            join(host, drive, "AI", "StabilityMatrix", "Data"),
        ]
    for root in roots:
        for package in _each_in(host, join(host, root, "Packages"), "Stability Matrix"):
            yield from _inside(host, package)


def _pinokio(host: Reader) -> Iterator[Place]:
    """Its applications have their environment beside their code, or in its folder `app`."""
    for root in (*_drives(host), host.identity.home):
        folder = join(host, root, "pinokio")
        yield Place(join(host, folder, "bin", "miniconda"), "Pinokio")
        for application in _each_in(host, join(host, folder, "api"), "Pinokio"):
            yield from _inside(host, application)
            yield from _inside(host, Place(join(host, application.folder, "app"), "Pinokio"))


def _others(host: Reader) -> Iterator[Place]:
    home = host.identity.home
    vendor = join(host, home, ".lmstudio", "extensions", "backends", "vendor", "_amphibian")
    yield from _each_in(host, vendor, "LM Studio")
    for name in ("unsloth_studio", ".venv"):
        yield Place(join(host, home, ".unsloth", "studio", name), "unsloth")


def _applications(host: Reader) -> Iterator[Place]:
    roots = [join(host, host.identity.home, name) for name in USUAL]
    roots += [join(host, drive, name) for drive in _drives(host) for name in ON_DRIVES]
    for root in roots:
        for name in _names(host, root):
            owner = next((owner for owner, pattern in APPLICATIONS.items() if pattern.fullmatch(name)), None)
            if owner:
                yield from _inside(host, Place(join(host, root, name), owner))


def _inside(host: Reader, application: Place) -> Iterator[Place]:
    """The places of an environment in the folder of an application, and one folder deeper, as archives unpack."""
    names = set(_names(host, application.folder))
    for place in IN_APPLICATIONS:
        if not place or place.partition("/")[0] in names:
            yield Place(join(host, application.folder, *filter(None, place.split("/"))), application.owner)
    for name in names:
        if name.lower().startswith("comfyui_windows_portable"):
            yield Place(join(host, application.folder, name, "python_embeded"), application.owner)
