"""The registry, against the real one on Windows and against a dictionary of its rules elsewhere."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from doctor.host import Absent, Found, RegistryValue, Unreadable

KEY = r"HKCU\Software\aios-test"


class FakeKey(dict[str, tuple[Any, int]]):
    """A registry key: name → (data, type). `writable` is what it was opened for."""

    writable = False

    def __enter__(self) -> FakeKey:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class FakeWinreg(types.ModuleType):
    """winreg on a dictionary. HKLM cannot be opened for writing, and some keys cannot be opened at all."""

    HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE = 1, 2
    KEY_SET_VALUE, KEY_READ, KEY_WOW64_64KEY = 0x2, 0x20019, 0x100
    REG_NONE, REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD, REG_LINK, REG_MULTI_SZ, REG_QWORD = (
        *range(5),
        6,
        7,
        11,
    )

    def __init__(self) -> None:
        super().__init__("winreg")
        self.sizes: dict[str, int] = {}  # of values whose data has not the length that its type has
        self.keys: dict[tuple[int, str], FakeKey] = {
            (1, "software"): FakeKey(),
            (2, "system"): FakeKey(Value=(1, 4), Odd=("x", 6)),
        }

    def OpenKeyEx(self, root: int, path: str, reserved: int, access: int) -> FakeKey:  # noqa: N802
        assert access & self.KEY_WOW64_64KEY, "a 32-bit Python must see what Windows sees"
        if (root, path.lower()) not in self.keys:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        if path == "locked" or (root == 2 and access & self.KEY_SET_VALUE):
            raise PermissionError(13, "Access is denied")
        return self.keys[root, path.lower()]

    def CreateKeyEx(self, root: int, path: str, reserved: int, access: int) -> FakeKey:  # noqa: N802
        self.keys.setdefault((root, path.lower()), FakeKey())
        return self.OpenKeyEx(root, path, reserved, access)

    def QueryValueEx(self, key: FakeKey, name: str) -> tuple[Any, int]:  # noqa: N802
        if name not in key:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        return key[name]

    def SetValueEx(self, key: FakeKey, name: str, reserved: int, number: int, data: Any) -> None:  # noqa: N802
        wanted = {4: int, 11: int, 7: list, 3: bytes, 0: bytes}.get(number, str)
        assert isinstance(data, wanted)
        key[name] = (data, number)

    def size(self, key: FakeKey, name: str) -> int:
        """The size from RegQueryValueExW, which winreg does not return."""
        return self.sizes.get(name, {4: 4, 11: 8}.get(key[name][1], 0))

    def DeleteValue(self, key: FakeKey, name: str) -> None:  # noqa: N802
        self.QueryValueEx(key, name)
        del key[name]

    def QueryInfoKey(self, key: FakeKey) -> tuple[int, int, int]:  # noqa: N802
        return len(self._below(key)), len(key), 0

    def EnumKey(self, key: FakeKey, index: int) -> str:  # noqa: N802
        return self._below(key)[index]

    def _below(self, key: FakeKey) -> list[str]:
        ((root, path),) = (place for place, known in self.keys.items() if known is key)
        below = [p.removeprefix(path + "\\") for r, p in self.keys if r == root and p.startswith(path + "\\")]
        return [name for name in below if "\\" not in name]


@pytest.fixture
def winreg() -> FakeWinreg:
    return FakeWinreg()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, winreg: FakeWinreg) -> Iterator[types.ModuleType]:
    """The module under test, on the fake."""
    monkeypatch.setitem(sys.modules, "winreg", winreg)
    monkeypatch.delitem(sys.modules, "doctor.host.registry", raising=False)
    with monkeypatch.context() as pretended:
        pretended.setattr(sys, "platform", "win32")
        module = importlib.import_module("doctor.host.registry")
    monkeypatch.setattr(module, "_size", winreg.size)
    yield module
    sys.modules.pop("doctor.host.registry")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (RegistryValue(type="REG_DWORD", value=2**32 - 1), (2**32 - 1, 4)),
        (RegistryValue(type="REG_QWORD", value=2**40), (2**40, 11)),
        (RegistryValue(type="REG_SZ", value="1"), ("1", 1)),
        (RegistryValue(type="REG_EXPAND_SZ", value=r"%USERPROFILE%\ż"), (r"%USERPROFILE%\ż", 2)),
        (RegistryValue(type="REG_MULTI_SZ", value=("a", "b")), (["a", "b"], 7)),
        (RegistryValue(type="REG_BINARY", value="00ff"), (b"\x00\xff", 3)),
        (RegistryValue(type="REG_NONE", value=""), (b"", 0)),
    ],
)
def test_a_value_keeps_its_type(
    registry: Any, winreg: FakeWinreg, value: RegistryValue, stored: tuple[Any, int]
) -> None:
    assert registry.read_value(KEY, "Value") == Absent()
    registry.write_value(KEY, "Value", value)
    assert winreg.keys[1, r"software\aios-test"]["Value"] == stored
    assert registry.read_value(KEY, "Value") == Found(value)
    registry.write_value(KEY, "Value", None)
    assert registry.read_value(KEY, "Value") == Absent()


def test_hklm_is_opened_for_reading_only(registry: Any, winreg: FakeWinreg) -> None:
    one = RegistryValue(type="REG_DWORD", value=1)
    assert registry.read_value(r"HKLM\SYSTEM", "Value") == Found(one)
    for value in (one, None):
        with pytest.raises(PermissionError):
            registry.write_value(r"hklm\SYSTEM", "Value", value)


def test_absent_is_not_unreadable(registry: Any, winreg: FakeWinreg) -> None:
    winreg.keys[1, "locked"] = FakeKey()
    assert registry.read_value(r"HKCU\missing", "Value") == registry.read_subkeys(r"HKCU\missing") == Absent()
    denied = Unreadable("access denied")
    assert registry.read_value(r"HKCU\locked", "Value") == registry.read_subkeys(r"HKCU\locked") == denied
    assert isinstance(registry.read_value(r"HKLM\SYSTEM", "Odd"), Unreadable)


def test_text_that_is_not_unicode_is_unreadable(registry: Any, winreg: FakeWinreg) -> None:
    winreg.keys[1, "software"].update(Text=("a\ud800", 1), Texts=(["a", "\udfff"], 7))
    for name in ("Text", "Texts"):
        reading = registry.read_value(r"HKCU\Software", name)
        assert reading == Unreadable("its text is not valid Unicode")


@pytest.mark.parametrize(("number", "size"), [(4, 3), (4, 0), (4, 8), (11, 4), (1, 5), (2, 1), (7, 7)])
def test_data_of_a_wrong_length_is_unreadable(
    registry: Any, winreg: FakeWinreg, number: int, size: int
) -> None:
    """winreg makes a number from three bytes and whatever follows them in memory."""
    data = {4: 1, 11: 1, 7: ["a"]}.get(number, "a")
    winreg.keys[1, "software"]["Damaged"] = (data, number)
    winreg.sizes["Damaged"] = size
    reading = registry.read_value(r"HKCU\Software", "Damaged")
    assert isinstance(reading, Unreadable) and reading.reason.startswith(f"{size} bytes are not a REG_")


def test_the_name_of_a_subkey_need_not_be_unicode(registry: Any, winreg: FakeWinreg) -> None:
    winreg.keys[1, "software\\odd \ud800"] = FakeKey()
    assert registry.read_subkeys(r"HKCU\Software") == Found(("odd \\ud800",))


def test_binary_data_may_be_empty(registry: Any, winreg: FakeWinreg) -> None:
    winreg.keys[1, "software"]["Empty"] = (None, 3)
    found = registry.read_value(r"HKCU\Software", "Empty")
    assert found == Found(RegistryValue(type="REG_BINARY", value=""))


def test_subkeys_are_listed(registry: Any) -> None:
    for name in ("b", r"b\deep", "a"):
        registry.write_value(rf"HKCU\Software\{name}", "x", RegistryValue(type="REG_SZ", value=""))
    assert registry.read_subkeys(r"HKCU\Software") == Found(("b", "a"))


def test_a_value_must_be_of_its_type() -> None:
    for kind, value in (("REG_DWORD", "1"), ("REG_SZ", 1), ("REG_MULTI_SZ", "a"), ("REG_BINARY", "xyz")):
        with pytest.raises(ValueError, match=kind):
            RegistryValue.model_validate({"type": kind, "value": value})
