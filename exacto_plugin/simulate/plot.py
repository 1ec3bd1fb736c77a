"""Plots of results, in the terminal or as a PNG.

Bad calls over time, and the tiers of every provider. The terminal plot needs no dependency: a line of blocks per preset
and a strip per provider; a plotting library would be one more dependency of a server for two charts. The PNG needs
matplotlib, 30 MB, which is why it is an extra.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.errors import ExactoError
from exacto_plugin.simulate.trace import TIER_NOW
from exacto_plugin.text_tables import render_tables, terminal_width

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from exacto_plugin.simulate.report import Result

_BLOCKS = " ▁▂▃▄▅▆▇█"
_MARKS = dict(zip(TIER_NOW, "█▒·", strict=False))
_COLORS = ("#2e7d32", "#bdbdbd", "#c62828", "#ffffff")
COLUMNS = 96
"""Most characters of a chart's width; fewer where the terminal has not as many."""
_LEAST_COLUMNS = 12


def error_by_hour(result: Result) -> NDArray[np.float64]:
    """Return the share of bad calls per hour over all repetitions; NaN without calls."""
    calls, bad = result.trace.calls.sum(axis=1), result.trace.bad.sum(axis=1)
    return np.asarray(np.divide(bad, calls, out=np.full(len(calls), np.nan), where=calls > 0))


def text_plot(results: Sequence[Result]) -> str:
    """Return both charts as text.

    The tiers are those of the first repetition, of presets that have tiers.
    """
    trace = results[0].trace
    width = max(len(name) for name in (*trace.names, *(result.preset for result in results)))
    room = min(COLUMNS, max(_LEAST_COLUMNS, terminal_width() - width - 1))
    errors = {result.preset: _binned(error_by_hour(result), room) for result in results}
    top = max(float(np.nanmax(values, initial=0.0)) for values in errors.values()) or 1.0
    hours = trace.hours / len(next(iter(errors.values())))
    lines = [render_tables(f"bad calls over time, full block = {top:.1%}, a character = {hours:g} h")]
    for name, values in errors.items():
        heights = [0 if math.isnan(value) else math.ceil(value / top * 8.0 - 1e-9) for value in values]
        lines.append(f"{name:>{width}} {''.join(_BLOCKS[height] for height in heights)}")
    for result in results:
        if result.trace.changes:
            lines += [
                "",
                render_tables(f"tiers under {result.preset}: █ verified good, ▒ insufficient data, · deranked"),
            ]
            lines += [f"{name:>{width}} {_strip(result, place, room)}" for place, name in enumerate(trace.names)]
    return "\n".join(lines)


def require_matplotlib() -> None:
    """Check that pictures can be drawn, before a run that may take minutes.

    Raises:
        ExactoError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ExactoError("--plot needs matplotlib: pip install matplotlib")


def save_png(results: Sequence[Result], title: str, file: Path) -> None:
    """Draw the same charts as a picture.

    Raises:
        ExactoError: matplotlib is not installed, or the file cannot be written.
    """
    require_matplotlib()
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    tiered = [result for result in results if result.trace.changes]
    height = 3.0 + len(tiered) * (0.8 + 0.22 * len(results[0].trace.names))
    figure = Figure(figsize=(10.0, height), layout="constrained")
    axes = figure.subplots(
        1 + len(tiered), 1, sharex=True, squeeze=False, height_ratios=[3.0, *[height - 3.0] * len(tiered)]
    )[:, 0]
    for result in results:
        axes[0].plot(np.arange(result.trace.hours) + 0.5, error_by_hour(result) * 100.0, label=result.preset)
    axes[0].set(title=title, ylabel="bad calls, %", ylim=(0, None))
    axes[0].legend(loc="upper right")
    for axis, result in zip(axes[1:], tiered, strict=True):
        tiers, names = result.trace.tiers[:, 0].T, result.trace.names
        extent = (0.0, float(result.trace.hours), len(names) - 0.5, -0.5)
        axis.imshow(tiers, ListedColormap(_COLORS), aspect="auto", vmin=0, vmax=3, interpolation="none", extent=extent)
        axis.set_yticks(range(len(names)), names, fontsize=7)
        axis.set(title=f"{result.preset}: green verified good, grey insufficient data, red deranked (repetition 1)")
    axes[-1].set(xlabel="hours")
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as error:
        raise ExactoError(f"--plot {file}: {error}") from None


def _binned(values: NDArray[np.float64], room: int) -> NDArray[np.float64]:
    """Average neighbouring values so that the rest fits the width."""
    size = math.ceil(len(values) / room)
    parts = [values[at : at + size] for at in range(0, len(values), size)]
    return np.array([np.nan if np.isnan(part).all() else np.nanmean(part) for part in parts])


def _strip(result: Result, place: int, room: int) -> str:
    tiers = result.trace.tiers[:, 0, place]
    size = math.ceil(len(tiers) / room)
    return "".join(_MARKS.get(TIER_NOW[tier], " ") for tier in tiers[size - 1 :: size])
