"""Actions on folders and files."""

from __future__ import annotations

from typing import Any, Literal

from doctor.actions.base import BaseAction, UnreadableStateError, value_of
from doctor.files import is_temporary_of
from doctor.host import Absent, Found, Host, Reader
from doctor.host.machine import FileContent


class MakeDirectory(BaseAction):
    """A folder and its parents. `state` lists those of them that do not exist, outermost first."""

    kind: Literal["make-directory"] = "make-directory"
    path: str
    state: tuple[str, ...] = ()

    def describe(self) -> str:
        if self.state:
            return f"remove {', '.join(reversed(self.state))} if empty"
        return f"create the folder {self.path}"

    def show(self, state: Any) -> str:
        return f"without {', '.join(state)}" if state else "present"

    def read(self, host: Reader) -> tuple[str, ...]:
        path = host.identity.path(self.path)
        if value_of(host.list_directory(self.path), self.path) is not None:
            return ()
        missing = [str(path)]
        for folder in path.parents:
            if not isinstance(host.list_directory(str(folder)), Absent):
                break  # a folder that may not be listed exists
            missing.insert(0, str(folder))
        return tuple(missing)

    def apply(self, host: Host) -> None:
        removed = []
        for folder, inner in zip(reversed(self.state), ("", *reversed(self.state)), strict=False):
            names = value_of(host.list_directory(folder), folder)
            if names is None:  # it was not created, or is removed already
                continue
            removed.append(folder)
            if others := [name for name in names if not inner or name != host.identity.path(inner).name]:
                raise OSError(f"{folder} is not empty: it contains {others[0]}")
        for folder in removed:
            host.remove_directory(folder)
        if not self.state:
            for folder in self.read(host):
                host.make_directory(folder)

    def is_halfway(self, now: Any, before: Any) -> bool:
        """Only the outer folders were created, or only the inner ones removed."""
        return 0 < len(now) < len(before) and tuple(before[-len(now) :]) == tuple(now)


class MoveFolder(BaseAction):
    """A folder, moved aside on the same volume, so that undo can move it back."""

    kind: Literal["move-folder"] = "move-folder"
    path: str
    aside: str
    state: Literal["in place", "aside"] = "aside"

    def describe(self) -> str:
        if self.state == "aside":
            return f"move {self.path} to {self.aside}"
        return f"move {self.aside} to {self.path}"

    def read(self, host: Reader) -> str:
        in_place, aside = (value_of(host.list_directory(p), p) is not None for p in (self.path, self.aside))
        if in_place == aside:
            which = "both exist" if in_place else "neither exists"
            raise UnreadableStateError(f"{self.path} and {self.aside}: {which}")
        return "in place" if in_place else "aside"

    def apply(self, host: Host) -> None:
        if self.state == "aside":
            host.move_folder(self.path, self.aside)
        else:
            host.move_folder(self.aside, self.path)


class WriteFile(BaseAction):
    """The whole content of a small file; None removes it."""

    kind: Literal["write-file"] = "write-file"
    path: str
    state: FileContent | None

    def describe(self) -> str:
        return f"remove {self.path}" if self.state is None else f"write {self.path}"

    def show(self, state: Any) -> str:
        return "absent" if state is None else f"a file of {len(state.to_bytes())} bytes"

    def read(self, host: Reader) -> FileContent | None:
        content: bytes | None = value_of(host.read_file(self.path), self.path)
        return None if content is None else FileContent.of(content)

    def apply(self, host: Host) -> None:
        folder = str(host.identity.path(self.path).parent)
        if isinstance(host.list_directory(folder), Absent):
            raise FileNotFoundError(
                f"{folder}: no such folder"
            )  # undo would not remove a folder created here
        self.remove_leftovers(host)
        host.write_file(self.path, None if self.state is None else self.state.to_bytes())

    def remove_leftovers(self, host: Host) -> None:
        path = host.identity.path(self.path)
        listed = host.list_directory(str(path.parent))
        for name in listed.value if isinstance(listed, Found) else ():
            if is_temporary_of(name, path.name):
                host.write_file(str(path.with_name(name)), None)
