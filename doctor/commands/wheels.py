"""`aios wheels`: match a wheel to a described machine, list the catalogue, refresh it from the publishers' lists."""

from __future__ import annotations

import json as json_module
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from doctor.bounded import read_json
from doctor.commands.common import this_machine
from doctor.files import write_atomically
from doctor.host import Host, addresses
from doctor.host.live import live_host
from doctor.host.redaction import CREDENTIALS
from doctor.host.web import get
from doctor.models import to_json
from doctor.probes.package_index import configured_index
from doctor.probes.wheel_catalogue import refreshed_catalogue
from doctor.report.console import Printer
from doctor.runs.make_report import ExitStatus
from doctor.wheel_search.candidates import candidates
from doctor.wheel_search.catalogue_answers import RefreshAnswer, packages_of, wheel_list
from doctor.wheel_search.described_machine import (
    COMPUTE_CAPABILITIES,
    is_version,
    machine_with,
    parse_machine,
)
from doctor.wheel_search.install_error import InstallError
from doctor.wheel_search.match_answer import MatchAnswer, make_match_answer
from doctor.wheel_search.refresh import Page, Reading, Refreshed, refresh
from wheels.catalogue import Catalogue, Wheel, shipped_catalogue
from wheels.catalogue import to_json as catalogue_to_json
from wheels.machine import Machine
from wheels.packages import INSTALLABLE
from wheels.publisher_lists import GITHUB, HUGGING_FACE
from wheels.resolve import resolve_one

REFRESH = "aios wheels refresh"
NEAREST = 8  # misses shown on the console
MEBIBYTE = 2**20
MIRRORS = {
    "AIOS_GITHUB_API": GITHUB,
    "HF_ENDPOINT": HUGGING_FACE,
}  # HF_ENDPOINT is Hugging Face's own variable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find out which published wheel fits a machine.",
)


@app.command("match")
def match_wheel(
    python: Annotated[
        str,
        typer.Option(
            help="Python version: 3.12, or 3.13t for free-threaded. Or the path of an interpreter, an environment or an "
            "application on this machine, whose platform, torch, GPU and driver are then read."
        ),
    ],
    platform: Annotated[
        str | None, typer.Option(help="Platform tag: win_amd64, linux_x86_64, manylinux_2_28_x86_64, ...")
    ] = None,
    torch: Annotated[str | None, typer.Option(help="Installed torch: 2.8.0+cu128.")] = None,
    capabilities: Annotated[
        list[str] | None,
        typer.Option(
            "--compute-capability",
            help="Compute capability of the GPU: 12.0. Repeat it for each GPU.",
            metavar="CAPABILITY",
        ),
    ] = None,
    package: Annotated[str, typer.Option(help=f"{', '.join(INSTALLABLE)}.")] = "flash-attn",
    driver: Annotated[str | None, typer.Option(help="NVIDIA driver: 581.80.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show the wheel for a described machine, or why there is none."""
    if package not in INSTALLABLE:
        raise typer.BadParameter(f"--package: {package!r} is not one of {', '.join(INSTALLABLE)}")
    machine = _machine(python, platform, torch, tuple(capabilities or ()), driver)
    if machine.torch is None and package != "torch":
        raise typer.BadParameter(
            f"--torch is required, for example 2.8.0+cu128: each {package} is built for one torch"
        )
    found = make_match_answer(
        package,
        resolve_one(machine, _catalogue(live_host()), package),
        machine.python,
        machine.platform,
        _unknown(machine),
    )
    if json:
        sys.stdout.write(to_json(found))
    else:
        _print_match(Printer(sys.stdout), found, machine)
    raise typer.Exit(ExitStatus.HEALTHY if found.match or found.kept else ExitStatus.FINDINGS)


def _machine(
    python: str, platform: str | None, torch: str | None, capabilities: tuple[str, ...], driver: str | None
) -> Machine:
    """The described machine: of a Python version, or of a Python on this machine."""
    try:
        if not is_version(python):
            return machine_with(_host_at(python), platform, torch, capabilities, driver)
        if platform is None:
            raise typer.BadParameter(
                "--platform is required with a version in --python, for example win_amd64"
            )
        return parse_machine(python, platform, torch, capabilities, driver)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _host_at(python: str) -> Host:
    try:
        return this_machine(Path(python))
    except typer.BadParameter as error:
        message = f"{error.message} Or give a version, such as 3.12."
        raise typer.BadParameter(message, param_hint="--python") from error


@app.command("list", short_help="List the wheels of the catalogue.")
def list_wheels(
    package: Annotated[str | None, typer.Option(help="List every wheel of this package.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the catalogue by publisher, or every wheel of a package."""
    catalogue = _catalogue(live_host())
    printer = Printer(sys.stdout)
    names = packages_of(catalogue)
    if package is not None and package not in names:
        other = " `aios wheels match` also answers for packages that pip finds in an index, such as torch."
        raise typer.BadParameter(
            f"--package: {package!r} is not in the catalogue; use one of {', '.join(names)}.{other}"
        )
    listed = wheel_list(catalogue, package)
    if json:
        sys.stdout.write(to_json(listed))
        return
    if package is not None:
        for wheel in catalogue.of(package):
            printer.line(_shown(wheel))
        return
    printer.line(f"{len(catalogue.wheels)} wheels in the catalogue of {catalogue.as_of}")
    for each in listed.packages:
        printer.line()
        printer.sentence(f"{each.package}: {each.wheels} wheels, the newest of version {each.newest}")
        for counted in each.publishers:
            lead = f"  {counted.wheels:5}  {counted.listed_on or 'no date   '}  "
            printer.paragraph((lead,), counted.publisher)
    if catalogue.old_lists(datetime.now(timezone.utc).date()):
        printer.line()
        printer.sentence(
            f"Some of these lists are more than 30 days old. To read the current ones: {REFRESH}", REFRESH
        )


@app.command("refresh")
def refresh_catalogue(
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Update the catalogue from the publishers' lists. New wheels are added to your own copy."""
    host, printer = live_host(), Printer(sys.stderr)
    path = refreshed_catalogue(host)
    pages = path.with_name("catalogue-pages.json")
    try:
        known, read_before = candidates(host), _read_pages(pages) if path.exists() else {}
    except InstallError as error:
        printer.sentence(f"{error} Recreating it.")
        known, read_before = shipped_catalogue(), {}
    mirrors = {name: (host.variable(name) or own).rstrip("/") + "/" for name, own in MIRRORS.items()}
    reading = Reading(
        get,
        datetime.now(timezone.utc),
        mirrors["AIOS_GITHUB_API"],
        mirrors["HF_ENDPOINT"],
        configured_index(host),
        read_before,
    )
    done = refresh(known, reading, lambda text: printer.sentence(_without_addresses(text)))
    with_shipped = done.merged.catalogue.model_copy(update={"includes": shipped_catalogue().as_of})
    if done.read_any:
        content = {url: [page.etag, page.next] for url, page in done.pages.items()}
        try:  # the catalogue first: without the pages file, all pages are read again next time
            write_atomically(path, catalogue_to_json(with_shipped).encode())
            write_atomically(pages, json_module.dumps(content, indent=1).encode())
        except OSError as error:
            printer.sentence(
                f"{path} cannot be written: {error.strerror or error}. AIOS_HOME names another folder."
            )
            raise typer.Exit(ExitStatus.UNKNOWN) from error
    if json:
        sys.stdout.write(to_json(_answer(done, path)))
    else:
        _print_summary(done, printer, path)
    if done.merged.changed:
        raise typer.Exit(ExitStatus.FINDINGS)
    raise typer.Exit(ExitStatus.UNKNOWN if done.problems else ExitStatus.HEALTHY)


def _answer(done: Refreshed, path: Path) -> RefreshAnswer:
    merged = done.merged
    return RefreshAnswer(
        catalogue=str(path),
        read=done.read_any,
        new=merged.new,
        hashed=merged.hashed,
        wheels=len(merged.catalogue.wheels),
        without_hash=done.without_hash,
        changed=tuple(_without_addresses(each.url) for each in merged.changed),
        old=tuple(merged.catalogue.old_lists(datetime.now(timezone.utc).date())),
        problems=tuple(_without_addresses(each) for each in done.problems),
    )


def _print_summary(done: Refreshed, printer: Printer, path: Path) -> None:
    """Print the result."""
    merged = done.merged
    for changed in merged.changed:
        printer.sentence(
            f"WARNING: The file at {changed.url} has changed: SHA-256 was {changed.before}, now {changed.now}. "
            "The old hash is kept, so installing the file will be refused. Ask its publisher."
        )
    for complaint in done.problems:
        printer.sentence(f"Not read: {_without_addresses(complaint)}")
    if old := merged.catalogue.old_lists(datetime.now(timezone.utc).date()):
        printer.sentence(f"More than 30 days old: {', '.join(old)}")
    if done.without_hash:
        printer.sentence(f"{done.without_hash} files have no published hash.")
    if done.read_any:
        new = "1 new wheel" if merged.new == 1 else f"{merged.new} new wheels"
        sys.stdout.write(
            f"{new}, {merged.hashed} hashes filled in; {len(merged.catalogue.wheels)} wheels in {path}\n"
        )
    else:
        sys.stdout.write("No list could be read: the catalogue is unchanged.\n")


def _without_addresses(text: str) -> str:
    """The text without the addresses of private mirrors, whose credentials can be in any part of them."""
    return addresses.redact(CREDENTIALS.sub("", text), lambda host: "<mirror>")


def _read_pages(path: Path) -> dict[str, Page]:
    """Read the ETags of the pages; if the file is damaged, return none, so that all pages are read again."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        content: dict[str, Any] = read_json(path)
        return {url: Page(str(etag), following) for url, (etag, following) in content.items()}
    return {}


def _catalogue(host: Host) -> Catalogue:
    try:
        return candidates(host)
    except InstallError as error:
        Printer(sys.stderr).sentence(str(error))
        raise typer.Exit(ExitStatus.UNKNOWN) from error


def _unknown(machine: Machine) -> tuple[str, ...]:
    """Return what the description leaves out, and so was not considered."""
    missing = []
    if machine.compute_capabilities is None:
        missing.append("no GPU given (--compute-capability): not checked whether the wheel has code for it")
    for major, minor in machine.compute_capabilities or ():
        if (major, minor) not in COMPUTE_CAPABILITIES:
            missing.append(
                f"no GPU of compute capability {major}.{minor} is known: check --compute-capability"
            )
    if machine.driver is None:
        missing.append("no driver given (--driver): not checked whether it supports this CUDA")
    if machine.platform.startswith("linux_") and machine.glibc is None:
        missing.append("no C library given (such as --platform manylinux_2_28_x86_64): not checked")
    return tuple(missing)


def _print_match(printer: Printer, found: MatchAnswer, machine: Machine) -> None:
    place = f"Python {machine.python}{'t' * machine.free_threaded}, {machine.platform}"
    where = f"{machine.torch}, {place}" if machine.torch else place
    if found.match:
        this = found.match
        printer.paragraph(((f"{found.package} {this.version}", "bold"), " "), f"for {where}")
        for label, value in (
            ("file", this.filename or f"the one that pip finds for {this.requirement}"),
            ("from", this.url or this.index or this.publisher),
            ("size", this.size and f"{this.size / MEBIBYTE:.1f} MiB"),
            (
                "SHA-256",
                this.sha256 or (this.url and f"not known; update the catalogue with {REFRESH}"),
            ),
        ):
            if value:
                printer.paragraph((f"  {label:8}",), value, REFRESH)
    else:
        kept = "is kept" if found.kept else "fits"
        printer.sentence(("" if found.kept else "No ") + f"{found.package} {kept}: {where}")
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
        printer.sentence(f"Instead: {serves}")


def _shown(wheel: Wheel) -> str:
    size = f"{wheel.size / MEBIBYTE:7.1f} MiB" if wheel.size else " " * 11
    return f"{size}  {'hash' if wheel.sha256 else '    '}  {wheel.filename}  {wheel.publisher.id}"
