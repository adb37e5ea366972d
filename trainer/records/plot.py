"""Draws the curves of runs with matplotlib, which no other module imports."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doctor.extras import how_to_add
from doctor.files import replacing
from trainer.errors import UserError
from trainer.records.curves import Axis, Curve, Curves

FORMATS = (".png", ".svg", ".pdf")
WIDTH, HEIGHT, ROW = 9.0, 6.5, 0.2  # inches; ROW is a line of the legend
DPI = 144
# Okabe and Ito's colours, which colour-blind people can distinguish, without black and without yellow (faint on white).
# https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
LOOKS = [(colour, dash) for dash in ("-", "--", ":") for colour in COLOURS]
KEY = "#666666"
HELD_OUT: dict[str, Any] = {"marker": "o", "markeredgecolor": "white", "linestyle": "none"}
LEFT_OUT: dict[str, Any] = {"marker": "x", "linestyle": "none"}
STRONG: dict[str, Any] = {"linewidth": 1.6}
FAINT: dict[str, Any] = {"alpha": 0.25, "linewidth": 0.8}
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "Yu Gothic",
    "Segoe UI Emoji",
)
LONGEST_NAME = 60  # characters that fit below the plot
FEW = 30  # up to this many points get markers
# (shortest span in seconds, unit in seconds, name)
TIMES = ((7200.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def draw(runs: Sequence[Curves], axis: Axis, smooth: int, log_scale: bool, output: Path) -> None:
    """Draw runs into a file: loss above, tokens per second below.

    Args:
        smooth: number of points in the moving average.
        output: its suffix chooses the format, one of `FORMATS`.

    Raises:
        UserError: there is nothing to draw, or the file cannot be written.
    """
    if output.suffix.lower() not in FORMATS:
        raise UserError(f"Cannot write a plot to {output}: its name must end in {', '.join(FORMATS)}.")
    if not any(run.loss.x for run in runs):
        raise UserError(f"Nothing to draw yet: {runs[0].name} has not recorded any step.")
    if len(runs) > len(LOOKS):
        raise UserError(
            f"Cannot draw {len(runs)} runs: a plot can distinguish at most {len(LOOKS)}. Name the runs to draw, or draw "
            "only the newest run of each log with --last."
        )
    try:
        import matplotlib
        from matplotlib.font_manager import get_font_names
    except ImportError as error:
        raise UserError(
            f"Plots need matplotlib, which cannot be imported ({error}). To install it:\n  {how_to_add('plot')}"
        ) from error
    style: dict[Any, Any] = {
        "font.family": [font for font in FONTS if font in get_font_names()],
        "text.parse_math": False,  # show a $ in a name as it is
        "svg.fonttype": "none",  # keep text searchable
        "svg.hashsalt": "aios",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.xmargin": 0.02,
        "figure.constrained_layout.w_pad": 0.1,  # inches
        "figure.constrained_layout.h_pad": 0.1,
        "grid.color": "#e5e5e5",
        "legend.edgecolor": "none",
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A run's name may use characters that no installed font has.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        picture = figure(runs, axis, smooth, log_scale)
        try:
            with replacing(output) as new:
                picture.savefig(new, format=output.suffix.lower()[1:], dpi=DPI)
        except OSError as error:
            raise UserError(f"Cannot write the plot to {output.absolute()}: {error}.") from error


def figure(runs: Sequence[Curves], axis: Axis, smooth: int, log_scale: bool) -> Any:
    """A matplotlib figure of these runs."""
    from matplotlib.figure import Figure

    names = short([run.name for run in runs])
    columns = 1 if max(map(len, names)) > LONGEST_NAME / 2 else 2
    below = len(runs) / columns * ROW  # height of the legend
    whole = Figure(figsize=(WIDTH, HEIGHT + below), layout="constrained")
    losses, rates = whole.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    unit = _label_x(rates, axis, max(x for run in runs for x in run.loss.x))
    losses.set_ylabel("loss (nats per token)")
    rates.set_ylabel("tokens per second")
    lines = []
    for run, (colour, dash) in zip(runs, LOOKS, strict=False):
        look = {"color": colour, "linestyle": dash}
        lines.append(_line(losses, run.loss, unit, smooth, look))
        _line(rates, run.rate, unit, smooth, look)
        losses.plot(_over(run.held_out.x, unit), run.held_out.y, **HELD_OUT, color=colour, zorder=3)
        left_out = [x for x, y in zip(run.loss.x, run.loss.y, strict=True) if math.isnan(y)]
        bottom = losses.get_xaxis_transform()
        losses.plot(_over(left_out, unit), [0.02] * len(left_out), **LEFT_OUT, color=colour, transform=bottom)
    if log_scale:
        _logarithmic(losses, [y for run in runs for y in (*run.loss.y, *run.held_out.y) if y > 0])
    rates.set_ylim(bottom=0)
    rates.yaxis.set_major_formatter("{x:,g}")
    losses.legend(handles=_key(runs, smooth), loc="upper right")
    whole.align_ylabels()
    if len(runs) == 1:
        whole.suptitle(names[0], fontsize="medium")
    else:
        whole.legend(lines, names, loc="outside lower center", ncols=columns)
    return whole


def short(names: Sequence[str]) -> list[str]:
    """Names without their common parent folder; of a long name, its end."""
    try:
        common = os.path.commonpath([os.path.dirname(name) for name in names])  # noqa: PTH120 - a name, not a path
    except ValueError:  # on two drives, or a mix of absolute and relative paths
        common = ""
    cut = [name[len(common) :].lstrip("/\\") if common else name for name in names]
    return [name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}" for name in cut]


def _line(axes: Any, curve: Curve, unit: float, smooth: int, look: dict[str, Any]) -> Any:
    """Draw a curve; if it is smoothed, with the original points faintly behind it."""
    x = _over(curve.x, unit)
    marker = "." if len(x) <= FEW else ""
    if smooth > 1:
        axes.plot(x, curve.y, **look | {"linestyle": "-"}, **FAINT)
    return axes.plot(x, curve.smoothed(smooth).y, **look, **STRONG, marker=marker)[0]


def _key(runs: Sequence[Curves], smooth: int) -> list[Any]:
    """Legend entries for the kinds of lines and marks that are drawn."""
    from matplotlib.lines import Line2D

    training = "training" if smooth == 1 else f"training, mean of {smooth} records"
    kinds = [
        (training, STRONG, True),
        ("each record", FAINT, smooth > 1),
        ("held out", HELD_OUT, any(run.held_out.x for run in runs)),
        ("not finite: step skipped", LEFT_OUT, any(math.isnan(y) for run in runs for y in run.loss.y)),
    ]
    return [Line2D([], [], color=KEY, label=label, **look) for label, look, there in kinds if there]


def _label_x(axes: Any, axis: Axis, largest: float) -> float:
    """Label the shared axis. Returns the unit that its values are divided by."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    if axis == "time":
        _, unit, name = next(kind for kind in TIMES if largest >= kind[0])
        axes.set_xlabel(f"training time ({name})")
        return unit
    axes.set_xlabel("optimizer steps" if axis == "steps" else "tokens trained on")
    if axis == "tokens":
        axes.xaxis.set_major_formatter(EngFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    return 1.0


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic scale with plain numbers, also where it spans less than a power of ten."""
    from matplotlib.ticker import AutoLocator, LogLocator, NullLocator

    axes.set_yscale("log")
    wide = max(values, default=1.0) > 3 * min(values, default=1.0)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)) if wide else AutoLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")


def _over(values: Sequence[float], unit: float) -> list[float]:
    return [value / unit for value in values]
