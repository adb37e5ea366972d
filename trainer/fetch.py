"""Download a model from the Hugging Face hub, or a mirror named by HF_ENDPOINT, into the Hugging Face cache.

Only files that training reads: the configuration, the tokenizer and weights in safetensors, never code or pickles. Every file
is compared with the hash that the hub states. An interrupted download continues where it stopped.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor.bounded import read_bytes
from doctor.files import move, sha256_of, write_atomically
from trainer.errors import RunError, UserError
from trainer.say import Say

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
OTHERS = (
    *("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken"),
    *("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", "README.md"),
)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
SPARE = 1 << 28  # bytes that stay free on the disk


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model on the hub.

    Attributes:
        sha256: None for a small file, whose git hash is known instead.
    """

    name: str
    size: int
    sha256: str | None
    git_hash: str | None


@dataclass(frozen=True)
class RemoteModel:
    """A model on the hub at one commit, with the files that training reads.

    Attributes:
        revision: the branch, tag or commit that was asked for.
        licence: as the model card states it; None if it states none.
    """

    name: str
    revision: str
    commit: str
    licence: str | None
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def split_name(name: str) -> tuple[str, str]:
    """The id and the revision of MODEL or MODEL@REVISION."""
    model, _, revision = name.partition("@")
    return model, revision or "main"


def look_up(name: str) -> RemoteModel:
    """What the hub says about MODEL or MODEL@REVISION.

    Raises:
        UserError: there is no such model, it may not be read, it has no safetensors, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    model, revision = split_name(name)
    with _explained(name):
        info = HfApi(endpoint=_endpoint()).model_info(model, revision=revision, files_metadata=True)
    files = [_file(each) for each in info.siblings or () if _is_read(each.rfilename)]
    names = [file.name for file in files]
    if CONFIG not in names or not any(_matches(each, WEIGHTS) for each in names):
        kinds = sorted({Path(each.rfilename).suffix for each in info.siblings or ()} - {""})
        raise UserError(
            f"{name} has no {CONFIG} with weights in safetensors; it has files of the types {', '.join(kinds) or 'none'}. aios "
            "reads models of transformers whose weights are in model.safetensors. Choose another repository of the model."
        )
    return RemoteModel(info.id or model, revision, str(info.sha), _licence(info), tuple(files))


def _file(sibling: Any) -> RemoteFile:
    lfs = sibling.lfs
    size = sibling.size if sibling.size is not None else lfs.size if lfs else 0
    return RemoteFile(
        sibling.rfilename, int(size), lfs.sha256 if lfs else None, None if lfs else sibling.blob_id
    )


def _is_read(name: str) -> bool:
    return "/" not in name and _matches(name, (*WEIGHTS, *OTHERS))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _licence(info: Any) -> str | None:
    card = info.card_data.to_dict() if info.card_data else {}
    stated = card.get("license_name") or card.get("license")
    tagged = (tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:"))
    return str(stated) if stated else next(tagged, None)


def missing(model: RemoteModel) -> tuple[RemoteFile, ...]:
    """The files that are not in the cache yet."""
    from huggingface_hub import try_to_load_from_cache

    return tuple(
        file
        for file in model.files
        if not isinstance(try_to_load_from_cache(model.name, file.name, revision=model.commit), str)
    )


def check_space(files: tuple[RemoteFile, ...]) -> None:
    """Check that the disk of the cache has space for these files.

    Raises:
        UserError: it has not.
    """
    needed, folder = sum(file.size for file in files), cache()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed + SPARE > free:
        raise UserError(
            f"The download needs {gib(needed)}, but the disk of the Hugging Face cache, {folder}, has {gib(free)} free. Free "
            "some space, or set HF_HOME to a folder on another disk."
        )


def download(model: RemoteModel, files: tuple[RemoteFile, ...], say: Say) -> Path:
    """Download files into the cache, and return the folder with all files of the model.

    Raises:
        UserError: as in `look_up`.
        RunError: the connection broke, the disk is full, or a file does not have the hash that the hub states.
    """
    from huggingface_hub import hf_hub_download

    check_space(files)
    for number, file in enumerate(files, 1):
        say(f"INFO: {number}/{len(files)} {file.name}, {gib(file.size)}")
        with _explained(model.name):
            if file.sha256:
                _download_large(model, file)
            path = Path(hf_hub_download(model.name, file.name, revision=model.commit, endpoint=_endpoint()))
        _verify(path, file)
    folder = snapshot(model)
    if model.revision != model.commit:  # so that the name alone finds this commit
        reference = _storage(model) / "refs" / model.revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(reference, model.commit.encode())
    return folder


def _download_large(model: RemoteModel, file: RemoteFile) -> None:
    """Download a file to where the cache keeps its content, and continue an earlier attempt.

    huggingface_hub 2 retries within one call, but deletes what it has when the call fails or its process is ended.
    """
    from huggingface_hub import hf_hub_url, utils
    from huggingface_hub.file_download import http_get

    helpers: Any = utils  # it exports its functions lazily
    content = _storage(model) / "blobs" / str(file.sha256)
    if content.exists():
        return
    partial = content.with_name(f"{content.name}.aios-partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    url = hf_hub_url(model.name, file.name, revision=model.commit, endpoint=_endpoint())
    with partial.open("ab") as opened:
        there = opened.tell()
        if there > file.size:
            opened.truncate(there := 0)
        http_get(url, opened, resume_size=there, headers=helpers.build_hf_headers(), expected_size=file.size)
    _verify(partial, file)  # a wrong one is deleted
    move(partial, content)


def snapshot(model: RemoteModel) -> Path:
    """The folder of the cache with the files of this commit."""
    return _storage(model) / "snapshots" / model.commit


def _storage(model: RemoteModel) -> Path:
    return cache() / f"models--{model.name.replace('/', '--')}"


def cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def configuration(name: str) -> Path:
    """The config.json of a model on the hub, from the cache or downloaded: a few kilobytes.

    Raises:
        UserError: as in `look_up`.
    """
    from huggingface_hub import hf_hub_download

    model, revision = split_name(name)
    with _explained(name):
        return Path(hf_hub_download(model, CONFIG, revision=revision, endpoint=_endpoint()))


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _verify(path: Path, file: RemoteFile) -> None:
    """Check a downloaded file against the hub's hash; a wrong one is deleted, so that it is downloaded again."""
    if file.sha256:
        wrong = sha256_of(path) != file.sha256
    elif file.git_hash:
        content = read_bytes(path)
        header = f"blob {len(content)}\0".encode()
        wrong = hashlib.sha1(header + content, usedforsecurity=False).hexdigest() != file.git_hash
    else:
        wrong = path.stat().st_size != file.size
    if wrong:
        content_file = path.resolve()
        path.unlink()
        content_file.unlink(missing_ok=True)
        raise RunError(
            f"{file.name} was damaged on its way, or changed by the mirror: it does not have the hash that the hub states. It was "
            "deleted. Run the same command again; if that fails, too, use another mirror (HF_ENDPOINT)."
        )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """While entered, errors of huggingface_hub become sentences."""
    from huggingface_hub import errors

    http_error: type[Exception] = vars(errors)["HTTPError"]  # of the package for HTTP that this release uses
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{name} may only be read by those who accepted its licence. Accept it on the model's page, run `hf auth login` with "
            "a token of that account (or set HF_TOKEN), then run the same command again."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{_endpoint()} has no model {name}, or it is private. Check the spelling; for a private model, run `hf auth login` "
            "(or set HF_TOKEN)."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{name}: the model has no such revision. Name a branch, a tag or a commit."
        ) from error
    except errors.HFValidationError as error:
        raise UserError(
            f"{name!r} is neither a folder nor the id of a model, such as Qwen/Qwen3-4B-Base."
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise UserError(f"{name} has no {CONFIG}: it is not a model of transformers.") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise UserError(
            f"{name} is not in the Hugging Face cache ({cache()}), and {_endpoint()} cannot be reached. Check the connection "
            "(HTTPS_PROXY behind a proxy, HF_ENDPOINT for a mirror), unset HF_HUB_OFFLINE, or copy the model's folder to this "
            "computer and name it."
        ) from error
    except (http_error, OSError) as error:
        if getattr(error, "errno", None) in NO_SPACE:
            raise RunError(
                f"The disk of the Hugging Face cache, {cache()}, is full. Free some space, then run the same command again: it "
                "continues."
            ) from error
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> Exception:
    """What an error of the connection or of the hub means."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return UserError(
            f"{_endpoint()} refuses to show {name} (HTTP status {status}). Run `hf auth login`, or set HF_TOKEN to a valid token; "
            "an expired one is refused even for public models."
        )
    cause = " ".join(str(error).split())
    return RunError(
        f"The download of {name} from {_endpoint()} was interrupted: {cause}. Run the same command again: it continues."
    )


def gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**28 else f"{size / 2**20:.1f} MiB"
