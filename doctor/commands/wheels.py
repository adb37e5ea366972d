"""`aios wheels`: which wheel fits a described machine, the catalogue, and the publishers' lists read again."""

from __future__ import annotations

import json as json_module
import sys
from collections import Counter
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from packaging.version import Version

from doctor.files import write_atomically
from doctor.host import Host
from doctor.host.live import live_host
from doctor.host.web import get
from doctor.probes.wheel_catalogue import refreshed_catalogue
from doctor.report.console import Printer
from doctor.runs.make_report import FINDINGS, HEALTHY, UNKNOWN
from doctor.wheel_search.candidates import candidates
from doctor.wheel_search.described_machine import described
from doctor.wheel_search.install_error import InstallError
from doctor.wheel_search.match_answer import MatchAnswer, answer, to_json
from doctor.wheel_search.refresh import Page, Reading, Refreshed, refresh
from wheels.catalogue import Catalogue, Wheel, shipped_catalogue
from wheels.catalogue import to_json as catalogue_to_json
from wheels.machine import Machine
from wheels.packages import PACKAGES
from wheels.publisher_lists import GITHUB, HUGGING_FACE
from wheels.resolve import plan

NEAREST = 8  # misses that are told of at a console
MEBIBYTE = 2**20
MIRRORS = {"AIOS_GITHUB_API": GITHUB, "HF_ENDPOINT": HUGGING_FACE}  # the second is Hugging Face's own name

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Which published wheel fits which machine.",
)


@app.command("match")
def match_wheel(
    python: Annotated[str, typer.Option(help="The Python: 3.12, or 3.13t for a free-threaded one.")],
    platform: Annotated[str, typer.Option(help="win_amd64, linux_x86_64, manylinux_2_28_x86_64 and so on.")],
    torch: Annotated[str | None, typer.Option(help="The torch that is there: 2.8.0+cu128.")] = None,
    capabilities: Annotated[
        list[str] | None,
        typer.Option(
            "--compute-capability", help="Of the GPU: 12.0. Once for each GPU.", metavar="CAPABILITY"
        ),
    ] = None,
    package: Annotated[str, typer.Option(help=f"{', '.join(PACKAGES)}.")] = "flash-attn",
    driver: Annotated[str | None, typer.Option(help="The NVIDIA driver: 581.80.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Name the wheel for a described machine, or say why there is none."""
    if package not in PACKAGES:
        raise typer.BadParameter(f"--package: {package!r} is none of {', '.join(PACKAGES)}")
    if torch is None and package != "torch":
        raise typer.BadParameter(
            f"--torch is missing: a {package} is built for one torch. Say it as 2.8.0+cu128"
        )
    try:
        machine = described(python, platform, torch, tuple(capabilities or ()), driver)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    asked = ("flash-attn", "xformers") if package == "flash-attn" else (package,)
    found = answer(
        package,
        plan(machine, _catalogue(live_host()), asked),
        machine.python,
        machine.platform,
        _unknown(machine),
    )
    if json:
        sys.stdout.write(to_json(found))
    else:
        _print_match(Printer(sys.stdout), found, machine)
    raise typer.Exit(HEALTHY if found.match or found.kept else FINDINGS)


@app.command("list", short_help="List the wheels of the catalogue.")
def list_wheels(
    package: Annotated[str | None, typer.Option(help="Only this package, and its wheels one by one.")] = None,
) -> None:
    """Show the catalogue: whose wheels it knows, or every wheel of a package."""
    catalogue = _catalogue(live_host())
    printer = Printer(sys.stdout)
    names = sorted({row[0].partition("-")[0].replace("_", "-") for row in catalogue.wheels})
    if package is None:
        printer.line(f"{len(catalogue.wheels)} wheels, as listed by {catalogue.as_of}")
        for name in names:
            wheels = catalogue.of(name)
            newest = max((wheel.name.version for wheel in wheels), key=Version)
            printer.line()
            printer.line(f"{name}: {len(wheels)} wheels, the newest of version {newest}")
            for publisher, count in Counter(wheel.publisher.id for wheel in wheels).most_common():
                printer.line(f"  {count:5}  {publisher}")
        return
    if package not in names:
        raise typer.BadParameter(
            f"--package: there is no {package!r} in the catalogue; there are {', '.join(names)}"
        )
    for wheel in catalogue.of(package):
        printer.line(_shown(wheel))


@app.command("refresh")
def refresh_catalogue() -> None:
    """Read the publishers' lists again. What they have that was not known is kept with your own data."""
    host, printer = live_host(), Printer(sys.stderr)
    path = refreshed_catalogue(host)
    pages = path.with_name("catalogue-pages.json")
    try:
        known, read_before = candidates(host), _read_pages(pages) if path.exists() else {}
    except InstallError as error:
        printer.line(f"{error} It is made anew now.")
        known, read_before = shipped_catalogue(), {}
    mirrors = {name: (host.variable(name) or own).rstrip("/") + "/" for name, own in MIRRORS.items()}
    reading = Reading(
        get, datetime.now(timezone.utc), mirrors["AIOS_GITHUB_API"], mirrors["HF_ENDPOINT"], read_before
    )
    done = refresh(known, reading, printer.line)
    if done.read_any:
        content = {url: [page.etag, page.next] for url, page in done.pages.items()}
        try:  # the catalogue first: pages that are not remembered are only read once more
            write_atomically(path, catalogue_to_json(done.merged.catalogue).encode())
            write_atomically(pages, json_module.dumps(content, indent=1).encode())
        except OSError as error:
            printer.line(
                f"{path} cannot be written: {error.strerror or error}. AIOS_HOME names another folder."
            )
            raise typer.Exit(UNKNOWN) from error
    raise typer.Exit(_told(done, printer, path))


def _told(done: Refreshed, printer: Printer, path: Path) -> int:
    """Say what came of it; gives the exit status."""
    merged = done.merged
    for changed in merged.changed:
        printer.line(
            f"WARNING: {changed.url} is another file than it was: its SHA-256 was {changed.before}, and is {changed.now}. "
            "The first is kept: installing it will be refused. Ask its publisher."
        )
    for complaint in done.complaints:
        printer.line(f"Not read: {complaint}")
    if done.without_hash:
        printer.line(f"Of {done.without_hash} files their publishers give no hash.")
    if done.read_any:
        new = "1 new wheel" if merged.new == 1 else f"{merged.new} new wheels"
        sys.stdout.write(
            f"{new}, {merged.hashed} hashes filled in; {len(merged.catalogue.wheels)} wheels in {path}\n"
        )
    else:
        sys.stdout.write("Nothing was read: the catalogue stays as it is.\n")
    if merged.changed:
        return FINDINGS
    return UNKNOWN if done.complaints else HEALTHY


def _read_pages(path: Path) -> dict[str, Page]:
    """What the pages were when they were read last; damaged, it is forgotten, and all is read again."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        content: dict[str, Any] = json_module.loads(path.read_text(encoding="utf-8"))
        return {url: Page(str(etag), following) for url, (etag, following) in content.items()}
    return {}


def _catalogue(host: Host) -> Catalogue:
    try:
        return candidates(host)
    except InstallError as error:
        Printer(sys.stderr).line(str(error))
        raise typer.Exit(UNKNOWN) from error


def _unknown(machine: Machine) -> tuple[str, ...]:
    """What was left out of the description, and so of the judgement."""
    missing = []
    if machine.compute_capabilities is None:
        missing.append(
            "the GPU is not known (--compute-capability): whether there is code for it was not considered"
        )
    if machine.driver is None:
        missing.append("the driver is not known (--driver): whether it runs this CUDA was not considered")
    if machine.platform.startswith("linux_") and machine.glibc is None:
        missing.append(
            "the C library is not known (--platform manylinux_2_28_x86_64 says which): it was not considered"
        )
    return tuple(missing)


def _print_match(printer: Printer, found: MatchAnswer, machine: Machine) -> None:
    place = f"Python {machine.python}{'t' * machine.free_threaded}, {machine.platform}"
    where = f"{machine.torch}, {place}" if machine.torch else place
    if found.match:
        this = found.match
        printer.line((f"{found.package} {this.version}", "bold"), f" for {where}")
        for label, value in (
            ("file", this.filename or f"the one that pip finds for {this.requirement}"),
            ("from", this.url or this.index or this.publisher),
            ("size", this.size and f"{this.size / MEBIBYTE:.1f} MiB"),
            (
                "SHA-256",
                this.sha256 or (this.url and "not known yet: aios wheels refresh asks its publisher"),
            ),
        ):
            if value:
                printer.line(f"  {label:8}{value}")
    else:
        kept = "stays as it is" if found.kept else "fits"
        printer.line(("" if found.kept else "No ") + f"{found.package} {kept}: {where}")
    for reason in found.reasons:
        printer.paragraph(("  - ",), reason)
    if found.match is None and found.rejected:
        printer.line("Nearest misses:")
        misses = dict.fromkeys(f"{rejected.filename} {rejected.reason}" for rejected in found.rejected)
        for miss in list(misses)[:NEAREST]:
            printer.paragraph(("  - ",), miss)
        if len(found.rejected) > NEAREST:
            printer.line(f"  and {len(found.rejected) - NEAREST} more (--json names them all)")
    if found.fallback:
        serves = "PyTorch's own attention (sdpa)" if found.fallback == "sdpa" else found.fallback
        printer.line(f"Instead: {serves}")


def _shown(wheel: Wheel) -> str:
    size = f"{wheel.size / MEBIBYTE:7.1f} MiB" if wheel.size else " " * 11
    return f"{size}  {'hash' if wheel.sha256 else '    '}  {wheel.filename}  {wheel.publisher.id}"
