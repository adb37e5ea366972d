"""Paths on the examined machine, which may have another system than this one, and its standard folders."""

from __future__ import annotations

from doctor.host import Reader


def join(host: Reader, folder: str, *names: str) -> str:
    """Return `folder/names...` in the examined machine's path syntax."""
    return str(host.identity.path(folder).joinpath(*names))


def parent(host: Reader, path: str) -> str:
    return str(host.identity.path(path).parent)


def windows_folder(host: Reader) -> str:
    return host.variable("SystemRoot") or "C:\\Windows"


def system32(host: Reader) -> str:
    return join(host, windows_folder(host), "System32")


def system_drive(host: Reader) -> str:
    """The drive Windows is installed on, such as "C:"."""
    return host.variable("SystemDrive") or "C:"


def program_files(host: Reader) -> str:
    return host.variable("ProgramFiles") or "C:\\Program Files"


def program_files_x86(host: Reader) -> str:
    return host.variable("ProgramFiles(x86)") or "C:\\Program Files (x86)"


def local_app_data(host: Reader) -> str:
    """The folder of this user's application data on this machine."""
    return host.variable("LOCALAPPDATA") or join(host, host.identity.home, "AppData", "Local")


def roaming_app_data(host: Reader) -> str:
    """The folder of this user's application data that roams between machines."""
    return host.variable("APPDATA") or join(host, host.identity.home, "AppData", "Roaming")


def cache_home(host: Reader) -> str:
    """The XDG cache folder, which programs written for Linux use on every system."""
    return host.variable("XDG_CACHE_HOME") or join(host, host.identity.home, ".cache")


def user_cache(host: Reader) -> str:
    """The system's own cache folder of this user."""
    if host.identity.os == "windows":
        return local_app_data(host)
    if host.identity.os == "macos":
        return join(host, host.identity.home, "Library", "Caches")
    return cache_home(host)


def standard_library(host: Reader, prefix: str) -> str:
    """The folder of the standard library of the Python in `prefix`."""
    if host.identity.os == "windows":
        return join(host, prefix, "Lib")
    return join(host, prefix, "lib", python_with_abi(host))


def python_with_abi(host: Reader) -> str:
    """The name of this Python's folders on Linux and macOS: "python3.13t"."""
    return f"python{host.identity.python_minor}{'t' if host.identity.python_free_threaded else ''}"
