"""Whether a wheel would overwrite files of another package that stays installed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from doctor.host import Distribution
from doctor.install.affected_files import Scheme, files_of, files_written_by
from doctor.install.wheel_file import WheelFile

# Both may contain the folder flash_attn/cute
SAME_FOLDER = ("flash-attn", "flash-attn-4")


def why_overwritten(
    wheels: Collection[WheelFile], installed: Mapping[str, Distribution], scheme: Scheme
) -> str | None:
    """Return why these wheels cannot be installed together or beside `installed`; None: they can.

    Raises OSError.
    """
    new = {wheel.name: wheel for wheel in wheels if wheel.name in SAME_FOLDER}
    for name, wheel in new.items():
        (other,) = (each for each in SAME_FOLDER if each != name)
        if other in new:
            theirs, version = files_written_by(new[other], scheme), new[other].version
        elif other in installed:
            theirs, version = files_of(installed[other]), installed[other].version
        else:
            continue
        if shared := files_written_by(wheel, scheme) & theirs:
            example = min(shared).relative_to(scheme.packages).as_posix()
            return (
                f"{name} {wheel.version} and {other} {version} contain {len(shared)} files of the same name, such as "
                f"{example}: one would overwrite those of the other. Nothing was changed. To use "
                f"{name} instead: pip uninstall {other}"
            )
    return None
