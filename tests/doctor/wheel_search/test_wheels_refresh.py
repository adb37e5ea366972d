"""`aios wheels refresh` against servers that answer like the publishers', correctly or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path

import jsonschema
import pytest

from doctor.host.machine import RecordedMachine, load_machine
from doctor.host.recorded import RecordedHost
from doctor.host.web import get
from doctor.probes.wheel_catalogue import known_wheels
from doctor.wheel_search.refresh import Reading, Refreshed, refresh
from tests.doctor.wheel_search.release_lists import ListServer, Page, list_server
from wheels.catalogue import Catalogue, Publisher, Wheel, read_catalogue, shipped_catalogue, to_json
from wheels.publisher_lists import merge

ROOT = Path(__file__).parents[3]
MACHINES = ROOT / "tests" / "machines"
REPOSITORY = "mjun0812/flash-attention-prebuild-wheels"
DOWNLOAD = f"https://github.com/{REPOSITORY}/releases/download/"
FIRST = f"/repos/{REPOSITORY}/releases?per_page=100"
SECOND = f"/repos/{REPOSITORY}/releases?per_page=100&page=2"
OLD, NEW = (f"flash_attn-2.8.3+cu130torch2.{minor}-cp312-cp312-win_amd64.whl" for minor in (13, 15))
A, B = "a" * 64, "b" * 64
NOW = datetime(2026, 12, 1, 12, 0, tzinfo=timezone.utc)


def catalogue(*wheels: tuple[str, str, str | None]) -> Catalogue:
    """A catalogue of one publisher; a wheel is given as name, release and hash."""
    publisher = Publisher(
        id=REPOSITORY, download=DOWNLOAD, releases=f"https://api.github.com/repos/{REPOSITORY}/releases"
    )
    rows = tuple((name, 0, folder, None, sha256) for name, folder, sha256 in wheels)
    return Catalogue(as_of="2026-11-20", publishers=(publisher,), wheels=rows)


def release(tag: str, *assets: tuple[str, str | None]) -> dict[str, object]:
    return {
        "tag_name": tag,
        "assets": [
            {
                "name": name.replace("+", "%2B") if "odd" in tag else name,
                "size": 1000,
                "digest": digest,
                "browser_download_url": f"{DOWNLOAD}{tag}/{name.replace('+', '%2B')}",
            }
            for name, digest in assets
        ],
    }


@pytest.fixture
def server() -> Iterator[ListServer]:
    with list_server() as server:
        yield server


def refreshed(server: ListServer, before: Catalogue, **more: object) -> Refreshed:
    address = server.address + "/"
    return refresh(before, Reading(get, NOW, address, address, **more), lambda line: None)  # type: ignore[arg-type]


def rows(done: Refreshed) -> dict[str, str | None]:
    return {row[0]: row[4] for row in done.merged.catalogue.wheels}


def test_every_page_is_read(server) -> None:
    server.pages[FIRST] = Page([release("v2", (NEW, f"sha256:{B}"))], next=SECOND)
    server.pages[SECOND] = Page([release("v1", (OLD, f"sha256:{A}"))])
    done = refreshed(server, catalogue((OLD, "v1", None)))
    assert rows(done) == {OLD: A, NEW: B}
    assert (done.merged.new, done.merged.hashed, done.problems) == (1, 1, ())
    wheel = next(w for w in done.merged.catalogue.of("flash-attn") if w.filename == NEW)
    assert wheel.url == f"{DOWNLOAD}v2/{NEW.replace('+', '%2B')}"
    assert wheel.size == 1000
    assert done.merged.catalogue.as_of == "2026-12-01"


def test_an_unchanged_page_is_not_sent_again(server) -> None:
    server.pages[FIRST] = Page([release("v2", (NEW, None))], etag='"1"', next=SECOND)
    server.pages[SECOND] = Page([release("v1", (OLD, None))], etag='"2"')
    first = refreshed(server, catalogue((OLD, "v1", None)))
    server.asked.clear()
    again = refreshed(server, first.merged.catalogue, known=first.pages)
    assert server.asked == [(FIRST, '"1"'), (SECOND, '"2"')]
    assert rows(again) == rows(first)
    assert (again.merged.new, again.read_any) == (0, True)


@pytest.mark.parametrize(
    ("status", "headers", "when"),
    [
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1796126400"}, "2026-12-01 12:00 UTC"),
        (429, {"Retry-After": "3600"}, "2026-12-01 13:00 UTC"),
        (429, {}, "in an hour"),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, "in an hour"),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 30}, "in an hour"),
    ],
)
def test_a_rate_limit_says_when_to_retry_and_the_pages_read_are_used(server, status, headers, when) -> None:
    server.pages[FIRST] = Page([release("v2", (NEW, f"sha256:{B}"))], etag='"1"', next=SECOND)
    server.pages[SECOND] = Page(status=status, headers=headers)
    done = refreshed(server, catalogue((OLD, "v1", A)))
    assert rows(done) == {OLD: A, NEW: B}
    assert len(done.problems) == 1
    assert when in done.problems[0]
    assert REPOSITORY in done.problems[0]


@pytest.mark.parametrize(
    "page",
    [
        Page(raw=b'[{"assets": [{"name"'),
        Page(raw=b"<html>please log in</html>"),
        Page(raw=b""),
        Page(raw=b"[" * 100_000),
        Page({"message": "Not Found"}),
        Page([["a", "list"]]),
        Page([{"tag_name": "v1", "assets": "none"}]),
        Page([{"tag_name": "v1"}]),
        Page(status=500),
        Page(status=403),
        Page(status=302, headers={"Location": "/elsewhere"}),
    ],
)
def test_an_invalid_list_is_reported_and_leaves_the_catalogue_unchanged(server, page) -> None:
    server.pages[FIRST] = page
    done = refreshed(server, catalogue((OLD, "v1", A)))
    assert rows(done) == {OLD: A}
    assert len(done.problems) == 1
    assert "rate limit" not in done.problems[0]
    assert done.read_any is False
    assert not done.pages, "it is requested again next time"


def test_incomplete_assets_are_skipped(server) -> None:
    whole = release("v2", (NEW, f"sha256:{B}"))
    assets = [
        {"name": OLD},
        {"browser_download_url": "https://elsewhere/x.whl"},
        {"name": None, "browser_download_url": 7},
        {"name": "notes.txt", "browser_download_url": DOWNLOAD + "v2/notes.txt", "size": -1},
        {"name": "a.whl", "browser_download_url": DOWNLOAD + "v2/a.whl", "digest": "md5:abc", "size": "big"},
        *whole["assets"],  # type: ignore[misc]
    ]
    server.pages[FIRST] = Page([{"tag_name": "v2", "assets": assets}, {"assets": []}])
    done = refreshed(server, catalogue((OLD, "v1", None)))
    assert rows(done) == {OLD: None, NEW: B}
    assert done.problems == ()


@pytest.mark.parametrize(
    "digest", [None, "", "sha256:", "sha256:abc", "sha512:" + A, A, "sha256:" + "Z" * 64]
)
def test_a_digest_that_is_not_a_sha256_is_ignored(server, digest) -> None:
    server.pages[FIRST] = Page([release("v2", (NEW, digest))])
    done = refreshed(server, catalogue())
    assert rows(done) == {NEW: None}
    assert done.without_hash == 1


def test_a_changed_hash_is_reported_and_the_first_is_kept(server) -> None:
    server.pages[FIRST] = Page([release("v1", (OLD, f"sha256:{B}"))])
    done = refreshed(server, catalogue((OLD, "v1", A)))
    assert rows(done) == {OLD: A}
    (changed,) = done.merged.changed
    assert (changed.before, changed.now) == (A, B)
    assert changed.url.endswith(f"v1/{OLD}")


def test_a_file_on_another_server_is_not_added(server) -> None:
    assets = [{"name": NEW, "size": 1, "digest": None, "browser_download_url": f"https://evil.example/{NEW}"}]
    server.pages[FIRST] = Page([{"tag_name": "v2", "assets": assets}])
    assert rows(refreshed(server, catalogue((OLD, "v1", A)))) == {OLD: A}


def test_pages_that_link_in_a_circle_are_read_once(server) -> None:
    server.pages[FIRST] = Page([release("v2", (NEW, None))], next=SECOND)
    server.pages[SECOND] = Page([release("v1", (OLD, None))], next=FIRST)
    assert len(rows(refreshed(server, catalogue()))) == 2
    assert len(server.asked) == 2


def test_a_page_on_another_server_is_not_followed(server) -> None:
    link = {"Link": '<https://evil.example/releases?page=2>; rel="next"'}
    server.pages[FIRST] = Page([release("v2", (NEW, None))], headers=link)
    assert rows(refreshed(server, catalogue())) == {NEW: None}


def test_files_on_hugging_face_have_the_hash_of_their_lfs_object(server) -> None:
    repository = "Wildminder/AI-windows-whl"
    download = f"https://huggingface.co/{repository}/resolve/main/"
    publisher = Publisher(
        id=repository,
        download=download,
        files=f"https://huggingface.co/api/models/{repository}/tree/main",
    )
    known = Catalogue(as_of="2026-11-20", publishers=(publisher,), wheels=())
    server.pages[f"/api/models/{repository}/tree/main?recursive=true"] = Page(
        [
            {"type": "directory", "path": "xformers", "oid": "1"},
            {"type": "file", "path": f"new/{NEW}", "size": 9, "lfs": {"oid": A, "size": 9}},
            {"type": "file", "path": OLD, "size": 9, "oid": "2"},
        ]
    )
    done = refreshed(server, known)
    assert {row[0]: row[2:] for row in done.merged.catalogue.wheels} == {
        NEW: ("new", 9, A),
        OLD: (None, 9, None),
    }
    assert {w.url for w in done.merged.catalogue.of("flash-attn")} == {
        download + "new/" + NEW.replace("+", "%2B"),
        download + OLD.replace("+", "%2B"),
    }


def test_the_package_index_is_read_as_pip_reads_it(server) -> None:
    known = Catalogue(
        as_of="2026-11-20",
        publishers=(Publisher(id="package index", download=None),),
        wheels=(("triton_windows-3.8.0.post29-cp312-cp312-win_amd64.whl", 0, None, 7, A),),
    )
    new = "triton_windows-3.9.0.post30-cp312-cp312-win_amd64.whl"
    page = f'<a href="../../files/{new}#sha256={B}">{new}</a><a href="/f/notes.txt">notes</a>'
    server.pages["/simple/triton-windows/"] = Page(raw=page.encode())
    done = refreshed(server, known, package_index=f"{server.address}/simple")
    assert rows(done)[new] == B
    (wheel,) = [wheel for wheel in done.merged.catalogue.of("triton-windows") if wheel.filename == new]
    assert (wheel.url, wheel.publisher.id) == (None, "package index")
    assert done.merged.catalogue.listed_on == {"package index": "2026-12-01"}
    unknown = refreshed(server, known)
    assert unknown.problems == ("package index: the index that pip uses is not known: set PIP_INDEX_URL",)


def test_a_publisher_with_a_page_of_links_is_read(server) -> None:
    download = f"{server.address}/whl/cu130/flash-attn/"
    known = Catalogue(as_of="2026-11-20", publishers=(Publisher(id="page", download=download),), wheels=())
    page = f'<a href="{NEW}#sha256={B}">a</a> <a href="https://elsewhere.example/{OLD}">b</a>'
    server.pages["/whl/cu130/flash-attn/"] = Page(raw=page.encode())
    assert rows(refreshed(server, known)) == {NEW: B}


def test_a_list_has_the_date_on_which_it_was_last_read_completely(server) -> None:
    known = catalogue((OLD, "v1", A)).model_copy(update={"listed_on": {REPOSITORY: "2026-09-14"}})
    server.pages[FIRST] = Page([release("v2", (NEW, None))], etag='"1"', next=SECOND)
    half = refreshed(server, known)
    assert half.problems and half.merged.catalogue.listed_on == {REPOSITORY: "2026-09-14"}
    server.pages[SECOND] = Page([], etag='"2"')
    whole = refreshed(server, known)
    assert whole.merged.catalogue.listed_on == {REPOSITORY: "2026-12-01"}
    unchanged = refreshed(server, known, known=whole.pages)
    assert unchanged.merged.catalogue.listed_on == {REPOSITORY: "2026-12-01"}


def test_a_list_is_old_after_30_days() -> None:
    known = catalogue().model_copy(update={"listed_on": {"new": "2026-11-01", "old": "2026-10-31"}})
    assert known.old_lists(date(2026, 12, 1)) == ("old (2026-10-31)",)
    assert known.old_lists(date(2026, 11, 30)) == ()
    assert not [name for name in shipped_catalogue().listed_on if name not in ids(shipped_catalogue())]


def ids(known: Catalogue) -> set[str]:
    return {publisher.id for publisher in known.publishers}


def test_a_catalogue_refreshed_before_an_upgrade_of_aios_lacks_nothing(tmp_path) -> None:
    file = tmp_path / "catalogue.json"
    older = catalogue((NEW, "v2", B)).model_copy(update={"as_of": "2030-01-01", "includes": "2026-11-20"})
    file.write_text(to_json(older), encoding="utf-8")
    content = load_machine(MACHINES / "windows-rtx4090.json").model_dump()
    content["environment"] |= {"AIOS_HOME": str(tmp_path)}
    host = RecordedHost(RecordedMachine.model_validate(content))
    assert len(known_wheels(host).wheels) == len(shipped_catalogue().wheels) + 1
    current = older.model_copy(update={"includes": shipped_catalogue().as_of})
    file.write_text(to_json(current), encoding="utf-8")
    assert len(known_wheels(host).wheels) == 1, "it contains the shipped one, so it is not merged again"


def test_a_server_that_does_not_answer_is_reported() -> None:
    with list_server() as server:
        address = server.address
    reading = Reading(get, NOW, address + "/", address + "/")
    done = refresh(catalogue((OLD, "v1", A)), reading, lambda line: None)
    assert len(done.problems) == 1
    assert not done.read_any


def test_a_guessed_address_is_confirmed_by_the_list() -> None:
    seen, guessed = catalogue((OLD, "v1", A)), catalogue((OLD, "v1", None))
    publisher = guessed.publishers[0].model_copy(update={"confirmed": False})
    merged = merge(guessed.model_copy(update={"publishers": (publisher,)}), seen).catalogue
    (wheel,) = merged.of("flash-attn")
    assert (wheel.publisher.confirmed, wheel.sha256) == (True, A)


# -- through the command line


def aios(home: Path, *arguments: str, api: str = "http://127.0.0.1:9") -> subprocess.CompletedProcess[str]:
    mirrors = {"AIOS_GITHUB_API": api, "HF_ENDPOINT": api, "PIP_INDEX_URL": f"{api}/simple"}
    environment = {**os.environ, "AIOS_HOME": str(home), **mirrors}
    return subprocess.run(
        [sys.executable, "aios.py", "wheels", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip


MATCH = ("match", "--python", "3.12", "--platform", "win_amd64", "--compute-capability", "8.9")


def matched(home: Path, torch: str) -> dict[str, object] | None:
    found = json.loads(aios(home, *MATCH, "--torch", torch, "--json").stdout)["match"]
    assert found is None or isinstance(found, dict)
    return found


def test_match_reads_the_catalogue_that_refresh_wrote(server, tmp_path) -> None:
    assert matched(tmp_path, "2.15.0+cu130") is None
    server.pages[FIRST] = Page([release("v2", (NEW, f"sha256:{B}"))], etag='"1"')
    done = aios(tmp_path, "refresh", api=server.address)
    assert done.returncode == 3, "the lists of the other publishers are missing"
    assert done.stdout.startswith("1 new wheel, 0 hashes filled in")
    assert "the server answered 404" in done.stderr
    found = matched(tmp_path, "2.15.0+cu130")
    assert found and (found["filename"], found["sha256"]) == (NEW, B)
    server.asked.clear()
    again = aios(tmp_path, "refresh", api=server.address)
    assert again.stdout.startswith("0 new wheels")
    assert (FIRST, '"1"') in server.asked


def test_without_a_readable_list_the_catalogue_is_unchanged(tmp_path) -> None:
    done = aios(tmp_path, "refresh")
    assert (done.returncode, done.stdout) == (3, "No list could be read: the catalogue is unchanged.\n")
    assert not list(tmp_path.glob("catalogue*"))


def test_a_changed_file_is_a_finding(server, tmp_path) -> None:
    known = next(w for w in shipped() if w.sha256 and w.publisher.id == REPOSITORY)
    server.pages[FIRST] = Page([release(known.folder or "", (known.filename, f"sha256:{B}"))])
    done = aios(tmp_path, "refresh", api=server.address)
    assert done.returncode == 1
    assert f"WARNING: The file at {DOWNLOAD}{known.folder}/{known.filename} has changed" in done.stderr


def shipped() -> tuple[Wheel, ...]:
    return shipped_catalogue().of("flash-attn")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema_version": 9}', b"\xff\xfe", b"[]"])
def test_a_damaged_catalogue_is_named_and_rebuilt_by_refresh(server, tmp_path, content) -> None:
    file = tmp_path / "catalogue.json"
    file.write_bytes(content)
    (tmp_path / "catalogue-pages.json").write_bytes(content)
    result = aios(tmp_path, *MATCH, "--torch", "2.8.0+cu128")
    assert result.returncode == 3
    assert str(file) in result.stderr and "aios wheels refresh" in result.stderr
    server.pages[FIRST] = Page([release("v2", (NEW, None))])
    answer = json.loads(aios(tmp_path, "refresh", "--json", api=server.address).stdout)
    schema = ROOT / "doctor" / "schemas" / "wheel-refresh.schema.json"
    jsonschema.validate(answer, json.loads(schema.read_text(encoding="utf-8")))
    assert (answer["read"], answer["new"], answer["catalogue"]) == (True, 1, str(file))
    assert len(read_catalogue(file).wheels) > 4000


def test_an_unwritable_folder_is_reported(server, tmp_path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    server.pages[FIRST] = Page([release("v2", (NEW, None))])
    done = aios(tmp_path / "file" / "state", "refresh", api=server.address)
    assert done.returncode == 3
    assert "cannot be written" in done.stderr and "AIOS_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_secrets_of_mirrors_are_not_printed(tmp_path) -> None:
    """Nothing listens at these addresses, so each of them is reported."""
    done = aios(tmp_path, "refresh", api="http://me:CanaryPass@127.0.0.1:9/CanaryPath")
    other = aios(tmp_path, "refresh", api="http://me:CanaryPass@mirror.invalid/CanaryPath")
    assert "Not read: " in done.stderr and "<mirror>" in other.stderr
    assert "CanaryPass" not in done.stdout + done.stderr + other.stdout + other.stderr
    assert "CanaryPath" not in other.stdout + other.stderr
