"""A token cache on disk: a large data set is tokenized once and then memory-mapped.

Each combination of data set, tokenizer and text field has its own folder. manifest.json in it records what was tokenized
and which files hold the tokens. The manifest is written last, atomically, and files that it does not name are ignored, so
the incomplete files of a killed process are never used. One process writes at a time; others wait, then read.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from doctor.bounded import read_bytes
from doctor.files import flush, sha256_of, write_atomically
from trainer.data.instructions import Reading, Tally
from trainer.data.opening import Source
from trainer.data.sources import listed
from trainer.data.tokenizing import Writing, in_processes, in_this_process
from trainer.data.tokens import ARRAYS, Array, Tokenized, narrowest
from trainer.errors import RunError, UserError
from trainer.models.tokenizer import Tokenizer
from trainer.say import Say

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
NOTHING = ["there is no cache yet"]


class File(BaseModel):
    """A file of the data set at the time it was tokenized."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    size: int
    mtime_ns: int
    sha256: str
    kind: str  # see Source.kind


class Manifest(BaseModel):
    """What a cache contains: the tokenized files, the settings, and the names of the array files ("<array>-<files>.bin")."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int
    tokenizer: str
    vocabulary: int
    end_of_text: int
    text_field: str | None
    conversations: list[str | None]  # see Reading.key
    dtype: str
    sources: tuple[File, ...]
    tokens: int
    pieces: int
    ignored: int
    entropies: tuple[float, float]
    tally: Tally
    files: str
    largest: int | None = None  # token; caches of aios 0.1.0 do not have it

    def kind(self, array: str) -> str:
        return self.dtype if array == "tokens" else "int64"

    def length(self, array: str) -> int:
        return {"tokens": self.tokens, "ignored": self.ignored}.get(array, self.pieces)


class TokenCache:
    """The cached tokens of one data set and one tokenizer."""

    def __init__(
        self,
        folder: Path,
        data_set: Path,
        sources: list[Source],
        tokenizer: Tokenizer,
        reading: Reading,
        processes: int = 1,
    ) -> None:
        whole_name = [str(data_set.resolve()), tokenizer.fingerprint, *reading.key]
        key = hashlib.sha256(json.dumps(whole_name).encode("utf-8")).hexdigest()[:16]
        readable = re.sub(r"[^A-Za-z0-9]+", "-", data_set.stem)[:32].strip("-")
        self.folder = folder / f"{readable}-{key}".lstrip("-")
        self._sources, self._tokenizer, self._reading = sources, tokenizer, reading
        self._processes = processes

    @classmethod
    def unchanged(
        cls, folder: Path, data_set: Path, tokenizer: Tokenizer, reading: Reading
    ) -> Tokenized | None:
        """The tokens of a data set whose files have the names, sizes and times of when it was tokenized; None otherwise.

        No file of the data set is opened.
        """
        cache = cls(folder, data_set, [], tokenizer, reading)
        try:
            manifest = Manifest.model_validate_json(read_bytes(cache.folder / MANIFEST))
            now = {name: (status.st_size, status.st_mtime_ns) for name, status in listed(data_set)}
        except (OSError, ValidationError):
            return None
        before = {file.name: (file.size, file.mtime_ns) for file in manifest.sources}
        if now != before or [*cache._differences(manifest, files=False)]:
            return None
        return cache._tokenized(manifest)

    def tokens(self, say: Say) -> Tokenized:
        """The tokens, from the cache if it is valid. Otherwise tokenize the data set, and say why.

        Raises:
            UserError: the data set cannot be read.
            RunError: the cache cannot be written.
        """
        manifest, problems = self._look()
        if problems:
            with self._lock(say):
                manifest, problems = self._look()  # another process may have written it meanwhile
                if problems:
                    if problems != NOTHING:
                        say(
                            f"WARNING: the token cache {self.folder} is out of date, tokenizing again: {'; '.join(problems)}."
                        )
                    manifest = self._make(manifest, say)
        assert manifest is not None
        return self._tokenized(manifest)

    def _tokenized(self, manifest: Manifest) -> Tokenized:
        arrays = {name: self._map(manifest, name) for name in ARRAYS}
        return Tokenized(
            **arrays, entropies=manifest.entropies, tally=manifest.tally, largest=manifest.largest
        )

    def _look(self) -> tuple[Manifest | None, list[str]]:
        """The manifest in the folder, and how it differs from what this run needs."""
        try:
            manifest = Manifest.model_validate_json(read_bytes(self.folder / MANIFEST))
        except FileNotFoundError:
            return None, NOTHING
        except (OSError, ValidationError) as error:
            return None, [f"{MANIFEST} cannot be read ({str(error).splitlines()[0]})"]
        return manifest, list(self._differences(manifest))

    def _differences(self, manifest: Manifest, files: bool = True) -> Iterator[str]:
        """How a manifest differs from what this run needs. `files`: compare the data set's files as well."""
        tokenizer = self._tokenizer
        for what, found, wanted in (
            ("schema version", manifest.schema_version, SCHEMA_VERSION),
            ("tokenizer", manifest.tokenizer, tokenizer.fingerprint),
            ("vocabulary", manifest.vocabulary, tokenizer.vocab_size),
            ("end-of-text token", manifest.end_of_text, tokenizer.end_id),
            ("text field", manifest.text_field, self._reading.field),
            ("way of writing conversations", manifest.conversations, self._reading.key[1:]),
            ("dtype", manifest.dtype, narrowest(tokenizer.vocab_size).__name__),
        ):
            if found != wanted:
                yield f"its {what} is {found}, but this run uses {wanted}"
        before = {file.name: file for file in manifest.sources if files}
        now = {source.name: source for source in self._sources if files}
        for name in sorted(before.keys() | now.keys()):
            if name not in now or name not in before:
                yield f"{name} {'was removed' if name in before else 'was added'}"
            elif now[name].size != before[name].size:
                yield f"{name} has {now[name].size} bytes now, {before[name].size} when it was tokenized"
            elif now[name].kind != before[name].kind:
                yield f"{name} is read as {now[name].kind} now, as {before[name].kind} when it was tokenized"
            elif (
                now[name].mtime_ns != before[name].mtime_ns
                and sha256_of(now[name].path) != before[name].sha256
            ):
                yield f"{name} has changed"
        for array in ARRAYS:
            path = self._file(array, manifest.files)
            bytes_there = path.stat().st_size if path.is_file() else None
            wanted_bytes = manifest.length(array) * np.dtype(manifest.kind(array)).itemsize
            if bytes_there != wanted_bytes:
                there = (
                    "is missing"
                    if bytes_there is None
                    else f"has {bytes_there} bytes instead of {wanted_bytes}"
                )
                yield f"{path.name} {there}"

    def _make(self, before: Manifest | None, say: Say) -> Manifest:
        files = secrets.token_hex(4)
        self._tidy(before)  # a killed process may have left files
        sums = [self._sum(source) for source in self._sources]
        valid = before
        try:
            with ExitStack() as stack:
                opened = {name: stack.enter_context(self._file(name, files).open("wb")) for name in ARRAYS}
                writing = Writing(opened)
                tally, pairs = (
                    in_processes(self._sources, self._reading, self._tokenizer, writing, self._processes, say)
                    if self._processes > 1
                    else in_this_process(self._sources, self._reading, self._tokenizer, writing, say)
                )
            for name in ARRAYS:
                flush(self._file(name, files))
            for source in self._sources:
                self._check_unchanged(source)
            made = Manifest(
                schema_version=SCHEMA_VERSION,
                tokenizer=self._tokenizer.fingerprint,
                vocabulary=self._tokenizer.vocab_size,
                end_of_text=self._tokenizer.end_id,
                text_field=self._reading.field,
                conversations=self._reading.key[1:],
                dtype=narrowest(self._tokenizer.vocab_size).__name__,
                sources=tuple(
                    File(
                        name=source.name,
                        size=source.size,
                        mtime_ns=source.mtime_ns,
                        sha256=digest,
                        kind=source.kind,
                    )
                    for source, digest in zip(self._sources, sums, strict=True)
                ),
                tokens=writing.lengths["tokens"],
                pieces=writing.lengths["ends"],
                ignored=writing.lengths["ignored"],
                entropies=pairs.entropies(),
                tally=tally,
                files=files,
                largest=writing.largest,
            )
            write_atomically(self.folder / MANIFEST, f"{made.model_dump_json(indent=2)}\n".encode())
            valid = made
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            self._tidy(valid)
        say(f"INFO: {made.tokens:,} tokens cached in {self.folder}.")
        return made

    def _tidy(self, manifest: Manifest | None) -> None:
        """Delete files that the manifest does not name. On Windows, a file that another run has open is deleted next time."""
        named = {self._file(name, manifest.files) for name in ARRAYS} if manifest else set()
        for file in self.folder.glob("*.bin"):
            if file not in named:
                with suppress(PermissionError):
                    file.unlink(missing_ok=True)

    def _sum(self, source: Source) -> str:
        try:
            return sha256_of(source.path)
        except OSError as error:
            raise UserError(f"{source.path.absolute()} cannot be read: {error.strerror}.") from error

    def _check_unchanged(self, source: Source) -> None:
        if source.changed():
            raise RunError(
                f"{source.path.absolute()} changed while it was being read. Run again once it is complete."
            )

    def _file(self, array: str, files: str) -> Path:
        return self.folder / f"{array}-{files}.bin"

    def _map(self, manifest: Manifest, array: str) -> Array:
        if not manifest.length(array):  # an empty file cannot be mapped
            return np.empty(0, dtype=manifest.kind(array))
        path = self._file(array, manifest.files)
        return np.asarray(np.memmap(path, dtype=manifest.kind(array), mode="r"))

    @contextmanager
    def _lock(self, say: Say) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say(
                    f"INFO: waiting for another process, which is tokenizing this data set into {self.folder}."
                )
                lock.acquire()
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def _unwritable(self, error: OSError) -> RunError:
        there = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
        text = sum(source.text_size for source in self._sources)
        return RunError(
            f"Could not write the token cache to {self.folder.absolute()}: {error.strerror or error}. "
            f"{shutil.disk_usage(there).free / 1e6:,.0f} MB are free there; the data set has {text / 1e6:,.0f} MB, and its "
            "tokens can take twice that. Free some space, or choose another folder with data.cache_dir (--cache-dir)."
        )
