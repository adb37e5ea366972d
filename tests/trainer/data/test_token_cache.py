"""Cached tokens equal a fresh tokenization, and are never out of date or incomplete."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import data
from trainer.config import DataSection
from trainer.data import documents, tokenizing, tokens
from trainer.data import token_cache as cache
from trainer.errors import RunError, UserError
from trainer.models.tokenizer import ByteTokenizer

ROOT = Path(__file__).parents[3]
TEXT = "".join(f"Zeile {n}: äöü und noch ein paar Wörter.\n" for n in range(300))


class Wide(ByteTokenizer):
    """A byte tokenizer with a vocabulary too large for 16 bits."""

    vocab_size = 70_000
    fingerprint = "wide"


class CacheOnly(ByteTokenizer):
    """A tokenizer that cannot encode, so it is usable only with a valid cache."""

    def encode_batch(self, texts: list[bytes], continued: Any = None) -> list[Any]:
        raise AssertionError("tokenized again")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PIECE", 500)
    monkeypatch.setattr(tokens, "GROUP", 2000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of three files."""
    path = tmp_path / "Däta set"
    path.mkdir()
    (path / "a.txt").write_text(TEXT + "<|endoftext|>" + TEXT[:700], encoding="utf-8")
    (path / "b.jsonl").write_text(json.dumps({"text": TEXT[:99]}) + "\n" + json.dumps({"text": "x"}))
    (path / "c.csv").write_text("id,text\n1,short\n", encoding="utf-8")
    return path


Load = Callable[..., tuple[data.Dataset, str]]


@pytest.fixture
def load(folder: Path, tmp_path: Path) -> Load:
    def run(tokenizer: Any = None, **others: Any) -> tuple[data.Dataset, str]:
        """The data set, and the messages."""
        said: list[str] = []
        values = {"cache_dir": tmp_path / "cache", "max_length": 16, **others}
        settings = DataSection(dataset_file=folder, **values)
        return data.load(settings, tokenizer or ByteTokenizer(), said.append), "\n".join(said)

    return run


def arrays(dataset: data.Dataset) -> list[np.ndarray[Any, Any]]:
    found = [getattr(dataset.training.source, name) for name in tokens.ARRAYS]
    return [*found, np.array(dataset.training.source.entropies), dataset.training.tokens]


def manifest(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache").glob("*/manifest.json")
    return found


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), Wide()])
def test_cached_tokens_equal_a_fresh_tokenization(load: Load, tmp_path: Path, tokenizer: Any) -> None:
    built, said = load(tokenizer)
    assert "tokens cached in" in said
    cached, said = load(tokenizer)
    assert said == ""
    fresh, _ = load(tokenizer, cache_dir=None)
    assert not isinstance(fresh.training.source.tokens.base, np.memmap)
    for one, two, three in zip(arrays(built), arrays(cached), arrays(fresh), strict=True):
        assert one.dtype == two.dtype == three.dtype
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)
    assert cached.training.tokens.dtype == (np.uint16 if tokenizer.vocab_size < 65536 else np.uint32)
    assert built.training.source.documents[-1] == 4
    assert [path.suffix for path in manifest(tmp_path).parent.glob("*.bin")] == [".bin"] * 5


def test_nothing_is_tokenized_twice(load: Load) -> None:
    load()
    for changes in ({}, {"max_length": 8, "eval_fraction": 0.2, "packing": False}):
        assert "tokens cached in" not in load(CacheOnly(), **changes)[1]


def test_tokenizers_and_fields_do_not_share_tokens(load: Load) -> None:
    load()
    assert "tokens cached in" in load(Wide())[1]
    assert "tokens cached in" in load(text_field="text")[1]
    assert load()[1] == load(Wide())[1] == ""


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def change_content(folder: Path, kept: Path) -> None:
    """Another text of the same size."""
    (folder / "c.csv").write_text("id,text\n1,shirt\n")
    os.utime(folder / "c.csv", (1, 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda folder, kept: (folder / "c.csv").write_text("id,text\n1,longer\n"),
            "c.csv has 17 bytes now, 16 when it was tokenized",
        ),
        (lambda folder, kept: (folder / "c.csv").unlink(), "c.csv was removed"),
        (lambda folder, kept: (folder / "d.txt").write_text("more"), "d.txt was added"),
        (
            change_content,
            "c.csv has changed",
        ),
        (
            lambda folder, kept: edit(kept, tokenizer="other"),
            "its tokenizer is other, but this run uses byte",
        ),
        (lambda folder, kept: edit(kept, vocabulary=5), "its vocabulary is 5, but this run uses 258"),
        (lambda folder, kept: edit(kept, end_of_text=5), "its end-of-text token is 5, but this run uses 256"),
        (lambda folder, kept: edit(kept, schema_version=9), "its schema version is 9, but this run uses 3"),
        (lambda folder, kept: edit(kept, dtype="uint32"), "its dtype is uint32, but this run uses uint16"),
        (lambda folder, kept: edit(kept, text_field="b"), "its text field is b, but this run uses None"),
        (lambda folder, kept: edit(kept, unknown=1), "manifest.json cannot be read"),
        (lambda folder, kept: kept.write_bytes(kept.read_bytes()[:99]), "manifest.json cannot be read"),
        (lambda folder, kept: next(kept.parent.glob("ends-*")).unlink(), ".bin is missing"),
        (
            lambda folder, kept: os.truncate(next(kept.parent.glob("tokens-*")), 100),
            ".bin has 100 bytes instead of",
        ),
    ],
)
def test_out_of_date_tokens_are_never_used_and_the_reason_is_given(
    load: Load, folder: Path, tmp_path: Path, change: Callable[[Path, Path], None], words: str
) -> None:
    load()
    change(folder, manifest(tmp_path))
    built, said = load()
    assert "is out of date, tokenizing again" in said
    assert words in said
    fresh, _ = load(cache_dir=None)
    assert all(np.array_equal(one, two) for one, two in zip(arrays(built), arrays(fresh), strict=True))
    assert load(CacheOnly())[1] == ""
    assert len(list(manifest(tmp_path).parent.glob("*.bin"))) == 5


def test_a_touched_file_is_not_tokenized_again(load: Load, folder: Path) -> None:
    load()
    os.utime(folder / "a.txt", (1, 1))
    assert load(CacheOnly())[1] == ""


def test_a_full_disk_is_reported_and_leaves_no_files(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(cache, "flush", full)
        with pytest.raises(RunError, match=r"No space left on device\. .* MB are free there.*--cache-dir"):
            load()
    assert not list((tmp_path / "cache").glob("*/*.bin"))
    assert "tokens cached in" in load()[1]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_explained(load: Load, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o555)
    with pytest.raises(RunError, match="Permission denied"):
        load()


def test_a_file_at_the_path_of_the_cache_is_explained(load: Load, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(RunError, match="Could not write the token cache to"):
        load()


def test_an_error_in_the_data_leaves_no_files(load: Load, folder: Path, tmp_path: Path) -> None:
    (folder / "d.jsonl").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        load()
    assert not list((tmp_path / "cache").glob("*/*.bin"))
    (folder / "d.jsonl").unlink()
    load()


def test_a_file_that_changes_while_it_is_read_is_refused(load: Load, folder: Path) -> None:
    class FileChanger(ByteTokenizer):
        def encode_batch(self, texts: list[bytes], continued: Any = None) -> list[Any]:
            (folder / "c.csv").write_text("id,text\n1,something else\n")
            return super().encode_batch(texts)

    with pytest.raises(RunError, match=r"c\.csv changed while it was being read"):
        load(FileChanger())


SLOW_BUILD = """
import sys, time
from pathlib import Path
from trainer import data
from trainer.config import DataSection
from trainer.data import tokens
from trainer.models.tokenizer import ByteTokenizer
tokens.GROUP = 2000
class Slow(ByteTokenizer):
    def encode_batch(self, texts, continued):
        time.sleep(float(sys.argv[3]))
        return super().encode_batch(texts)
settings = DataSection(dataset_file=Path(sys.argv[1]), cache_dir=Path(sys.argv[2]), max_length=16)
dataset = data.load(settings, Slow(), lambda line: print(line, flush=True))
print(len(dataset.training.tokens), int(dataset.training.tokens.astype("int64").sum()))
"""


def start_build(folder: Path, cache_dir: Path, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW_BUILD, str(folder), str(cache_dir), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, encoding="utf-8")


def test_leftovers_of_a_killed_process_are_never_taken_for_complete(
    load: Load, folder: Path, tmp_path: Path
) -> None:
    process = start_build(folder, tmp_path / "cache", 30)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("*/*.bin")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    left = set((tmp_path / "cache").glob("*/*.bin"))
    assert left
    built, said = load()
    assert "tokens cached in" in said
    fresh, _ = load(cache_dir=None)
    assert np.array_equal(built.training.tokens, fresh.training.tokens)
    assert not left & set((tmp_path / "cache").glob("*/*.bin"))


def test_two_processes_at_once_tokenize_once(load: Load, folder: Path, tmp_path: Path) -> None:
    processes = [start_build(folder, tmp_path / "cache", 0.3) for _ in range(2)]
    printed = [process.communicate()[0] for process in processes]
    assert sum("tokens cached in" in text for text in printed) == 1
    fresh, _ = load(cache_dir=None)
    expected = f"{len(fresh.training.tokens)} {fresh.training.tokens.astype('int64').sum()}"
    assert [text.splitlines()[-1] for text in printed] == [expected, expected]


MEASURE = """
import sys
from pathlib import Path
from trainer import data
from trainer.config import DataSection
from trainer.models.tokenizer import ByteTokenizer

def peak():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

# The peak starts again here: a child inherits its parent's.
Path("/proc/self/clear_refs").write_text("5")
before = peak()
settings = DataSection(dataset_file=Path(sys.argv[1]), cache_dir=Path(sys.argv[2]), max_length=512, packing=sys.argv[3] == "1")
dataset = data.load(settings, ByteTokenizer(), print)
order = data.Order(1)
for first in range(0, 4000, 8):
    dataset.training.batch(order.samples(first, 8, dataset.training.blocks))
print(peak() - before)
"""


def growth(path: Path, cache_dir: Path, packing: bool) -> float:
    """MiB by which a process grows while it tokenizes a file and then reads a chunk of it."""
    command = [sys.executable, "-c", MEASURE, str(path), str(cache_dir), str(int(packing))]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True, encoding="utf-8", check=True)
    return float(done.stdout.splitlines()[-1])


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux can restart the count of the peak"
)
@pytest.mark.parametrize(
    ("megabytes", "kind"), [(60, "jsonl"), pytest.param(200, "txt", marks=pytest.mark.slow)]
)
def test_memory_does_not_grow_with_the_size_of_the_data(tmp_path: Path, megabytes: int, kind: str) -> None:
    line = json.dumps({"text": TEXT[:2000]}, ensure_ascii=False) + "\n"
    small, large = tmp_path / f"small.{kind}", tmp_path / f"large.{kind}"
    # Large enough to fill every buffer
    small.write_text(line * (30_000_000 // len(line.encode())), encoding="utf-8")
    large.write_text(line * (megabytes * 1_000_000 // len(line.encode())), encoding="utf-8")
    grown = [growth(path, tmp_path / "cache", packing=kind == "txt") for path in (small, large)]
    assert grown[1] < grown[0] + 20, grown


def bytes_read() -> int:
    """The bytes that this process has read from files so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


@pytest.mark.skipif(sys.platform != "linux", reason="counts bytes with /proc")
def test_a_data_set_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "many files"
    for number in range(200):
        path = folder / f"{number % 7}" / f"{number:04d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number} " * 20_000, encoding="utf-8")
    settings = DataSection(dataset_file=folder, cache_dir=tmp_path / "cache", max_length=64)
    first = data.load(settings, ByteTokenizer(), lambda line: None)
    manifest = next((tmp_path / "cache").rglob("manifest.json")).stat().st_size
    before = bytes_read()
    second = data.load(settings, CacheOnly(), pytest.fail)
    assert bytes_read() - before < manifest + 100_000 < first.training.text_bytes / 50
    assert second.content == first.content
    (folder / "0" / "0000.txt").write_text("another text " * 2000, encoding="utf-8")
    said: list[str] = []
    assert data.load(settings, ByteTokenizer(), said.append).content != first.content
    assert any("0/0000.txt has 26000 bytes now" in line for line in said)


@pytest.mark.parametrize("kind", [ByteTokenizer, Wide])
def test_several_processes_write_the_same_cache_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[ByteTokenizer]
) -> None:
    """Files without an end, with an empty document, with conversations; entropies across files."""
    folder = tmp_path / "Däta"
    folder.mkdir()
    for number in range(9):
        (folder / f"{number}.txt").write_text(TEXT[: 900 * number] + "<|endoftext|>x", encoding="utf-8")
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    (folder / "talk.jsonl").write_text(
        "\n".join([json.dumps(chat)] * 5 + ['{"messages": []}']), encoding="utf-8"
    )
    monkeypatch.setattr(tokenizing, "TASK", 3000)
    monkeypatch.setattr(documents, "PIECE", 1 << 18)  # as in the other processes
    found = {}
    for processes in (1, 3):
        settings = DataSection(dataset_file=folder, cache_dir=tmp_path / f"cache {processes}", max_length=64)
        loaded = data.load(settings, kind(), lambda line: None, processes)
        source = loaded.training.source
        arrays = {name: getattr(source, name) for name in tokens.ARRAYS}
        found[processes] = loaded.content, arrays, source.tally, source.largest, source.entropies
        assert not [*(tmp_path / f"cache {processes}").rglob("parts-*")]
    assert found[1][0] == found[3][0]
    assert found[1][2:] == found[3][2:]
    for name, array in found[1][1].items():
        assert array.dtype == found[3][1][name].dtype
        assert np.array_equal(array, found[3][1][name]), name
