"""Public failure reports that were found after the table was written: their causes, and how many were explained before."""

from __future__ import annotations

import pytest

from doctor.failures.table import failures
from tests.doctor.failures.samples import Found, found, placed, reports

ROWS = {failure.id for failure in failures().failures}


@pytest.mark.parametrize("report", found(), ids=str)
def test_the_cause_of_a_found_report_is_named_first(report: Found) -> None:
    sightings = [place.sighting for place in placed(report.text.encode())]
    first = {(seen.failure.id, seen.package if report.package else None) for seen in sightings[:1]}
    assert ((report.row, report.package) in first) is report.shown


@pytest.mark.parametrize("report", found(), ids=str)
def test_what_was_said_before_fits_its_verdict(report: Found) -> None:
    verdict, *rows = report.before
    assert set(rows) <= ROWS
    assert report.verdict(rows) == verdict


def test_forty_reports_were_found_beyond_those_that_the_table_was_made_from() -> None:
    sources = {report.source for report in found()}
    assert len(sources) == len(found()) >= 40
    assert not sources & {report.source for report in reports()}
