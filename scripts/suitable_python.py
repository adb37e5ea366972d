"""Can aios live on the Python that runs this? Exit status 0: yes; 1: no, and why stands in a line on stdout.

Any Python 3 can run it, however old: nothing here is newer than 3.6.
"""

import os
import sys
import sysconfig

OLDEST, NEWEST = (3, 10), (3, 14)  # the newest that the wheels are made for


def why_not() -> str:
    """Why it cannot; empty: it can."""
    if sys.implementation.name != "cpython":
        return f"it is {sys.implementation.name}, and the wheels are for CPython"
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return "aios needs {}.{} to {}.{}".format(*OLDEST, *NEWEST)
    if sys.maxsize < 2**32 or (os.name == "nt" and sysconfig.get_platform() != "win-amd64"):
        return f"it is for {sysconfig.get_platform()}, and the wheels are not"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is the free-threaded build, which most of the wheels are not for"
    if "\\WindowsApps\\" in sys.base_prefix:
        return "it is the Microsoft Store's, which hides what it installs behind a long path"
    if os.path.isdir(os.path.join(sys.base_prefix, "conda-meta")):  # noqa: PTH112, PTH118 - paths as they are
        return "it is conda's, which pip must not change"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        return f"it cannot make environments ({error})"
    return ""


if __name__ == "__main__":
    reason = why_not()
    if reason:
        found = "Python {}.{}.{}".format(*sys.version_info[:3])
        line = f"{found} in {sys.base_prefix}: {reason}\n"
        sys.stdout.write(line.encode("ascii", "backslashreplace").decode())
    sys.exit(1 if reason else 0)
