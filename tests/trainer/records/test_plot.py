"""`aios plot`: the numbers that are drawn, and the picture that shows them."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from typer.testing import Result

from doctor.extras import how_to_add
from trainer.records import plot
from trainer.records import reading as records
from trainer.records.curves import Curve, Curves, curves

ROOT = Path(__file__).parents[3]
Call = Callable[..., Result]


def lines(*steps: dict[str, Any]) -> Iterator[str]:
    """Records written two seconds apart, or `after` seconds if given."""
    seconds = 0
    for record in steps:
        seconds += record.pop("after", 2)
        ts = f"2026-11-21T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.000Z"
        yield json.dumps({"schema_version": 1, "ts": ts, **record}) + "\n"


def start(resumed_from: int | None = None, after: int = 2) -> dict[str, Any]:
    return {"event": "run_start", "step": resumed_from or 0, "resumed_from": resumed_from, "after": after}


def train(step: int, loss: float | None = None, tokens: int = 100) -> dict[str, Any]:
    return {
        **{"event": "train", "step": step, "loss": 10.0 - step if loss is None else loss},
        **{"tokens": tokens, "tokens_per_second": 50.0 + step},
    }


def held_out(step: int) -> dict[str, Any]:
    return {"event": "eval", "step": step, "loss": 10.5 - step}


def left_out(step: int) -> dict[str, Any]:
    return {"event": "nonfinite", "step": step, "loss": 3.0, "grad_norm": None}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def log(*steps: dict[str, Any], name: str = "run") -> Path:
        (tmp_path / name).mkdir(parents=True)
        path = tmp_path / name / "metrics.jsonl"
        path.write_text("".join(lines(*steps)), encoding="utf-8", newline="\n")
        return path.parent

    return log


def run_of(folder: Path) -> records.RecordedRun:
    (run,) = records.find(folder)
    return run


STEPS = (start(), train(1), train(2), held_out(2), left_out(3), train(4))


def test_the_curves_are_those_of_the_records(write: Callable[..., Path]) -> None:
    drawn = curves(run_of(write(*STEPS)), "steps")
    assert drawn.loss.x == drawn.rate.x == (1, 2, 3, 4)
    assert drawn.loss.y == pytest.approx((9, 8, math.nan, 6), nan_ok=True)
    assert drawn.rate.y == pytest.approx((51, 52, math.nan, 54), nan_ok=True)
    assert drawn.held_out == Curve((2,), (8.5,))


def test_tokens_of_steps_without_a_record_count_too(write: Callable[..., Path]) -> None:
    drawn = curves(run_of(write(start(), train(5), held_out(5), train(10, tokens=200))), "tokens")
    assert drawn.loss.x == (500, 1500)
    assert drawn.held_out.x == (500,)


@pytest.mark.parametrize(("axis", "expected"), [("steps", (1, 2, 3, 4)), ("time", (2, 4, 6, 8))])
def test_a_resumed_run_is_one_curve_without_the_pause(
    write: Callable[..., Path], axis: Any, expected: tuple[int, ...]
) -> None:
    """A run was killed after step 3 and resumed from step 2 an hour later: step 3 is drawn once, the hour is omitted."""
    resumed = (start(2, after=3600), train(3, loss=5.0), train(4, loss=4.0))
    drawn = curves(run_of(write(start(), train(1), train(2), train(3), *resumed)), axis)
    assert drawn.loss == Curve(expected, (9, 8, 5, 4))


def test_a_clock_that_was_set_back_subtracts_no_time(write: Callable[..., Path]) -> None:
    folder = write(start(after=3600), train(1), train(2) | {"after": -1800}, train(3))
    assert curves(run_of(folder), "time").loss.x == (2, 2, 4)


@given(y=st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=30).map(tuple), count=st.integers(1, 40))
def test_smoothing_is_the_mean_around_each_point(y: tuple[float, ...], count: int) -> None:
    smooth = Curve(tuple(range(len(y))), y).smoothed(count).y
    for i, value in enumerate(y):
        around = y[max(0, i - (count - 1) // 2) : i + count // 2 + 1]
        expected = value if math.isnan(value) else np.nanmean(around)
        assert smooth[i] == pytest.approx(expected, rel=1e-6, abs=1e-3, nan_ok=True)


def drawn_lines(axes: Any) -> dict[str, list[Any]]:
    """The drawn lines by style: solid, faint, points."""
    kinds: dict[str, list[Any]] = {"line": [], "faint": [], "o": [], "x": []}
    for line in axes.lines:
        kind = (
            line.get_marker() if line.get_linestyle() == "None" else "faint" if line.get_alpha() else "line"
        )
        kinds[kind].append(line)
    return kinds


def test_the_picture_shows_what_was_recorded(write: Callable[..., Path]) -> None:
    run = curves(run_of(write(*STEPS)), "steps")
    losses, rates = plot.figure([run], "steps", 1, log_scale=False).axes
    kinds = drawn_lines(losses)
    np.testing.assert_array_equal(kinds["line"][0].get_xydata(), [(1, 9), (2, 8), (3, math.nan), (4, 6)])
    np.testing.assert_array_equal(kinds["o"][0].get_xydata(), [(2, 8.5)])
    np.testing.assert_array_equal(kinds["x"][0].get_xdata(), [3])
    np.testing.assert_array_equal(drawn_lines(rates)["line"][0].get_ydata(), [51, 52, math.nan, 54])
    assert (losses.get_ylabel(), rates.get_ylabel()) == ("loss (nats per token)", "tokens per second")
    assert rates.get_xlabel() == "optimizer steps"
    assert rates.get_ylim()[0] == 0
    shown = [text.get_text() for text in losses.get_legend().get_texts()]
    assert shown == ["training", "held out", "not finite: step skipped"]


def test_a_smoothed_line_is_drawn_over_its_points(write: Callable[..., Path]) -> None:
    run = curves(run_of(write(start(), *(train(step) for step in range(1, 9)))), "steps")
    losses = plot.figure([run], "steps", 3, log_scale=False).axes[0]
    kinds = drawn_lines(losses)
    np.testing.assert_array_equal(kinds["faint"][0].get_ydata(), run.loss.y)
    np.testing.assert_allclose(kinds["line"][0].get_ydata(), run.loss.smoothed(3).y)
    shown = [text.get_text() for text in losses.get_legend().get_texts()]
    assert shown == ["training, mean of 3 records", "each record"]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(90.0, "seconds"), (600.0, "minutes"), (7200.0, "hours"), (1e6, "hours")]
)
def test_time_has_a_suitable_unit(seconds: float, expected: str) -> None:
    curve = Curve((seconds / 2, seconds), (2.0, 1.0))
    axes = plot.figure([Curves("a", curve, Curve(), curve)], "time", 1, log_scale=False).axes
    unit = {"seconds": 1, "minutes": 60, "hours": 3600}[expected]
    assert axes[1].get_xlabel() == f"training time ({expected})"
    assert axes[0].lines[0].get_xdata()[-1] == seconds / unit


@pytest.mark.parametrize("values", [(11.0, 0.02), (2.9, 2.5), (3.0, 3.0)])
def test_a_logarithmic_scale_has_readable_numbers(values: tuple[float, ...]) -> None:
    curve = Curve((1.0, 2.0), values)
    figure = plot.figure([Curves("a", curve, Curve(), curve)], "steps", 1, log_scale=True)
    FigureCanvasAgg(figure).draw()
    low, high = figure.axes[0].get_ylim()
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert figure.axes[0].get_yscale() == "log"
    assert len([text for text in shown if low <= float(text) <= high]) >= 2


NAMES = [
    "_hidden",
    "cost $5 and $6",
    "größer 漢字",
    "x" * 300,
    *(f"folder/run number {i}" for i in range(14)),
]


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:4], NAMES[3:4], NAMES])
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_no_text_is_clipped_or_covers_another(names: list[str]) -> None:
    curve = Curve(tuple(range(1000)), tuple(np.linspace(12, 2, 1000)))
    rate = Curve(curve.x, (123_456.0,) * 1000)
    with matplotlib.rc_context({"text.parse_math": False}):
        runs = [Curves(f"/work/{name}", curve, Curve((9.0,), (3.0,)), rate) for name in names]
        figure = plot.figure(runs, "tokens", 20, log_scale=False)
        FigureCanvasAgg(figure).draw()
    left, bottom, right, top = figure.get_tightbbox().extents
    assert left >= 0 and bottom >= 0 and right <= figure.get_figwidth() and top <= figure.get_figheight()
    legends = [legend.get_window_extent() for legend in figure.legends]
    assert len(legends) == (len(names) > 1)
    assert not any(legend.overlaps(axes.get_tightbbox()) for legend in legends for axes in figure.axes)


def test_shortened_names_remain_distinct() -> None:
    assert plot.short(["artifacts/quickstart"]) == ["quickstart"]
    assert plot.short(["a/b/c", "a/b/d #2"]) == ["c", "d #2"]
    assert plot.short(["a/b", "a/bc/d"]) == ["b", "bc/d"]
    assert plot.short(["/a/b", "c/d"]) == ["/a/b", "c/d"]
    assert plot.short(["a" * 99 + "b"])[0].endswith("ab")


# How a linear RGB colour appears without one kind of cone.
# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes: A Physiologically-based Model for Simulation of Color Vision
# Deficiency (2009), table 1, severity 1.
VISION = {
    "usual": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("eyes", VISION)
def test_colours_are_distinguishable_with_any_colour_vision(eyes: str) -> None:
    def lab(colour: str) -> Any:
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen = np.clip(np.array(VISION[eyes]) @ linear, 0, 1)
        to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        x, y, z = np.cbrt(np.array(to_xyz) @ seen / (0.9505, 1.0, 1.089))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    colours = [lab(colour) for colour in (*plot.COLOURS, "#ffffff")]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]
    assert min(distances) > 10


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "PNG"])
def test_the_suffix_decides_the_format_of_a_plot(
    call: Call, write: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / "größer" / f"a plot.{suffix}"
    result = call("plot", write(*STEPS), "--output", output)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(output)
    content = output.read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix.lower()])
    if suffix == "png":
        width, height = struct.unpack(">II", content[16:24])
        assert width >= 1200 and height >= 900
    assert os.listdir(output.parent) == [output.name]  # noqa: PTH208 - no temporary file is left


def test_an_svg_has_a_text_description(call: Call, write: Callable[..., Path], tmp_path: Path) -> None:
    folders = [write(*STEPS, name=name) for name in ("_hidden", "cost $5 and $6", "größer 漢字")]
    assert call("plot", *folders, "--output", tmp_path / "p.svg", "--x", "tokens").exit_code == 0
    root = ElementTree.parse(tmp_path / "p.svg").getroot()
    shown = {"".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"_hidden", "cost $5 and $6", "größer 漢字", "tokens trained on", "held out"} <= shown


def test_the_default_output_is_next_to_the_log(call: Call, write: Callable[..., Path]) -> None:
    folder = write(*STEPS)
    assert call("plot", folder).exit_code == 0
    assert (folder / "metrics.png").exists()


def test_all_runs_of_a_log_or_the_last_are_drawn(
    call: Call, write: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write(*STEPS, *STEPS)
    for option, expected in ((), {"run #1", "run #2"}), (("--last",), {"run #2"}):
        assert call("plot", folder, "--output", tmp_path / "p.svg", *option).exit_code == 0
        text = (tmp_path / "p.svg").read_text(encoding="utf-8")
        assert {name for name in ("run #1", "run #2") if name in text} == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "p.gif"], "must end in .png, .svg, .pdf"),
        (["--output", "run/metrics.jsonl/p.png"], "Cannot write the plot"),
        (["elsewhere"], "does not exist"),
        (["empty"], "has not recorded any step"),
    ],
)
def test_a_log_that_cannot_be_drawn_is_explained(
    call: Call,
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(*STEPS)
    write(start(), name="empty")
    result = call("plot", *(["run"] if arguments[0].startswith("--") else []), *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr


def test_more_runs_than_distinct_colours_are_refused(call: Call, write: Callable[..., Path]) -> None:
    folder = write(*STEPS * 19)
    result = call("plot", folder)
    assert (result.exit_code, "at most 18" in result.stderr) == (2, True)
    assert call("plot", folder, "--last").exit_code == 0


def test_without_matplotlib_the_extra_is_named(
    call: Call, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = call("plot", write(*STEPS))
    assert result.exit_code == 2
    assert how_to_add("plot") in result.stderr


def test_no_display_is_needed(write: Callable[..., Path]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, ROOT / "aios.py", "plot", write(*STEPS)],
        env=environment | {"MPLBACKEND": "tkagg"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
