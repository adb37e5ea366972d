"""Describe the Python that runs this: `python -I -S -B python_query.py` prints one tagged JSON object.

A program of its own that imports only the standard library and runs in Python 3.6 to 3.14. With -S neither .pth files
nor sitecustomize run, and in a virtual environment sys.prefix is that of the base Python (before 3.14), so the
environment is found by its pyvenv.cfg.
"""

import json
import os
import site
import struct
import sys
import sysconfig

TAG = "aios-python: "


def environment_of(executable: str) -> "str | None":
    """Return the folder of the virtual environment that this program belongs to, as Python finds it."""
    folder = os.path.dirname(executable)  # noqa: PTH120 - pathlib is one more import
    for each in (folder, os.path.dirname(folder)):  # noqa: PTH120
        if os.path.isfile(os.path.join(each, "pyvenv.cfg")):  # noqa: PTH113, PTH118
            return each
    return None


def uses_system_packages(environment: str) -> bool:
    """Whether pyvenv.cfg says include-system-site-packages = true."""
    with open(os.path.join(environment, "pyvenv.cfg"), encoding="utf-8", errors="replace") as file:  # noqa: PTH118, PTH123
        pairs = [line.partition("=") for line in file]
    return any(
        key.strip().lower() == "include-system-site-packages" and value.strip().lower() == "true"
        for key, _, value in pairs
    )


def paths_of(environment: "str | None") -> "dict[str, str]":
    """Return the installation paths: purelib, platlib, scripts."""
    if environment is None:
        return sysconfig.get_paths()
    usual = "nt" if os.name == "nt" else "posix_prefix"
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else usual
    return sysconfig.get_paths(scheme, vars={"base": environment, "platbase": environment})


def has_underscore_pth_file() -> bool:
    """Whether a ._pth file beside the program sets sys.path, as in the embeddable Python."""
    folder, name = os.path.split(sys.executable)
    minor = f"python{sys.version_info[0]}{sys.version_info[1]}"
    stems = (os.path.splitext(name)[0], minor)  # noqa: PTH122
    return os.name == "nt" and any(os.path.isfile(os.path.join(folder, stem + "._pth")) for stem in stems)  # noqa: PTH113, PTH118


def package_folders(environment: "str | None", paths: "dict[str, str]") -> "list[str]":
    """Return the folders of packages, in the order of sys.path, if `site` ran."""
    if has_underscore_pth_file():
        return [] if sys.flags.no_site else site.getsitepackages([sys.prefix])
    folders = []
    if environment is not None:
        folders += [paths["purelib"], paths["platlib"]]
    if environment is None or uses_system_packages(environment):
        if not os.environ.get("PYTHONNOUSERSITE"):
            folders.append(site.getusersitepackages())
        folders += site.getsitepackages([sys.base_prefix])
    return folders


def glibc() -> "list[int] | None":
    """Return the version of the C library; None: not Linux, or Linux with another one."""
    if sys.platform == "win32":
        return None
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return [int(part) for part in version.split(".")[:2]] if name == "glibc" else None
    except (AttributeError, OSError, ValueError):
        return None


def describe() -> "dict[str, object]":
    """Return what identifies this Python, and where it looks for packages."""
    environment = environment_of(sys.executable)
    paths = paths_of(environment)
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "python": version if sys.version_info.releaselevel == "final" else sys.version.split()[0],
        "implementation": sys.implementation.name,
        "bits": struct.calcsize("P") * 8,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "platform": sysconfig.get_platform(),
        "executable": sys.executable,
        "prefix": environment or sys.prefix,
        "base_prefix": sys.base_prefix,
        "site_packages": paths["purelib"],
        "scripts": paths["scripts"],
        "standard_path": [entry for entry in sys.path if entry],
        "package_folders": list(dict.fromkeys(package_folders(environment, paths))),
        "glibc": glibc(),
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + TAG + json.dumps(describe()) + "\n")
