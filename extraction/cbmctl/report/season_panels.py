"""The season of one parcel among all, and how much of it was seen; of a single day, the bands instead."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter, DateLocator, MonthLocator, date2num
from numpy.typing import NDArray

from cbmctl.report.observations import Observations, band_label
from cbmctl.report.picture_data import CHOSEN, CLOUDY, CONTEXT, INK, LINES, SOFT, TITLE_PAD, Scene, spoken
from cbmctl.report.text import count

FEW = 0.25  # share of parcels seen clear, below which a day tells nothing about all of them
PASSING = 0.42  # time of day at which Sentinel-2 passes, in days


def draw_season(axes: Axes, scene: Scene) -> None:
    """Draw the parcel's series, clear observations joined, cloudy ones hollow, before all other parcels."""
    chosen = scene.sample.where(scene.sample.pid == scene.parcel)
    clear, cloudy = chosen.where(chosen.clear), chosen.where(~chosen.clear)
    days, low, middle, high = _all_parcels(scene.sample)
    axes.fill_between(days, low, high, color=CONTEXT, alpha=0.13, lw=0, label="all clear parcels, 10–90 %")
    axes.plot(days, middle, color=CONTEXT, lw=1.2, alpha=0.75, label="their median")
    axes.plot(
        _dates(clear.time), clear.value, "-o", color=CHOSEN, lw=2, ms=6, label="this parcel, clear", zorder=4
    )
    if len(cloudy):
        axes.plot(
            _dates(cloudy.time), cloudy.value, "o", ms=6.5, mfc="white", mec=CLOUDY, mew=1.4, zorder=3,
            label="this parcel, cloudy",
        )  # fmt: skip
    day = float(_dates(np.array([scene.day], "datetime64[D]"))[0]) + PASSING
    axes.axvline(day, color=SOFT, lw=0.9, ls=(0, (4, 4)), zorder=1)
    axes.annotate(
        "map", (day, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points",
        fontsize=9, color=SOFT, ha="center",
    )  # fmt: skip
    if scene.measure.is_index:
        axes.set_ylim(min(0.0, float(np.nanmin(chosen.value))) - 0.03, 1.0)
    axes.set_ylabel(scene.measure.label)
    axes.grid(axis="y", color=LINES, lw=0.8)
    axes.tick_params(labelbottom=False)
    name = scene.parcel_name[0].upper() + scene.parcel_name[1:]
    axes.set_title(f"{name}: the season as seen from space", pad=TITLE_PAD)
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.012, -0.025), ncols=4, frameon=False, fontsize=9,
        columnspacing=1.3, borderaxespad=0,
    )  # fmt: skip


def draw_clear(axes: Axes, scene: Scene) -> None:
    """Draw how many of the parcels each acquisition saw clear: the season's gaps at a glance."""
    sample = scene.sample
    days, seen = np.unique(sample.day, return_counts=True)
    clear = np.array([np.sum(sample.clear & (sample.day == day)) for day in days])
    everyone = len(np.unique(sample.pid))
    width = float(np.clip(0.8 * np.diff(days).astype(int).min(initial=4), 0.6, 3.0))
    at = _dates(days) + PASSING
    axes.bar(at, 100 * seen / everyone, width, color="#d9d9d9", label="seen")
    axes.bar(at, 100 * clear / everyone, width, color=CONTEXT, label="seen clear")
    axes.set(ylim=(0, 100), yticks=[0, 50, 100], ylabel="parcels [%]")
    axes.grid(axis="y", color=LINES, lw=0.8)
    _set_date_axis(axes, float(at[-1] - at[0]))
    years = "–".join(dict.fromkeys(str(day)[:4] for day in days[[0, -1]]))
    axes.set_xlabel(f"date of acquisition (UTC), {years}")
    words = "" if sample.screened.any() else "; without scene classification, clouds are included"
    axes.set_title(f"Parcels seen in each of {len(days)} acquisitions{words}", fontsize=10.5, pad=7)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9, borderaxespad=0
    )


def _set_date_axis(axes: Axes, span: float) -> None:
    """Put ticks at whole months, or at days where there are few months; `span` in days."""
    if span > 75:
        locator: DateLocator = MonthLocator(interval=max(1, round(span / 300)))  # type: ignore[no-untyped-call]
    else:
        locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    form = "%b" if 75 < span < 400 else "%b %Y" if span > 75 else "%d %b"
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(DateFormatter(form))  # type: ignore[no-untyped-call]


def draw_bands(axes: Axes, scene: Scene) -> None:
    """Draw how the parcels' means are spread in each band: one date makes no season."""
    names = sorted(scene.bands, reverse=True)
    values = [scene.bands[name].value for name in names]
    bodies: Iterable[Any] = axes.violinplot(
        values, orientation="horizontal", widths=0.8, showextrema=False, points=300
    )["bodies"]  # type: ignore[assignment]
    for body in bodies:
        body.set(facecolor=CONTEXT, alpha=0.25, edgecolor=CONTEXT)
    for place, known in enumerate(values, start=1):
        low, lower, middle, upper, high = np.quantile(known, (0.05, 0.25, 0.5, 0.75, 0.95))
        axes.plot([low, high], [place, place], color=CONTEXT, lw=1.4)
        axes.plot([lower, upper], [place, place], color=CONTEXT, lw=7, solid_capstyle="butt")
        axes.plot(middle, place, "o", ms=7, mfc="white", mec=CONTEXT, mew=1.8)
        axes.annotate(
            f"median {middle:.3f}", (middle, place), xytext=(0, -20), textcoords="offset points",
            ha="center", fontsize=9.5,
        )  # fmt: skip
    axes.set_yticks(range(1, len(names) + 1), labels=names, fontsize=12, color=INK)
    axes.set_xlabel(f"mean {band_label(names[0]).removeprefix(names[0]).strip()} of a parcel")
    axes.grid(axis="x", color=LINES, lw=0.8)
    axes.set_xlim(left=0)
    axes.set_title(f"{count(max(map(len, values)))} parcels by band, {spoken(scene.day)}", pad=TITLE_PAD)
    axes.set_title(
        "dot: median  ·  thick: half of the parcels  ·  thin: 5–95 %", loc="right", pad=TITLE_PAD,
        fontsize=9, fontweight="normal", color=SOFT,
    )  # fmt: skip


def _all_parcels(sample: Observations) -> tuple[NDArray[np.float64], ...]:
    """Days on which enough parcels were clear, with the 10th, 50th and 90th percentile of them."""
    enough = FEW * len(np.unique(sample.pid))
    clear = sample.where(sample.clear & np.isfinite(sample.value))
    days, counts = np.unique(clear.day, return_counts=True)
    days = days[counts >= enough]
    rows = [np.quantile(clear.value[clear.day == day], (0.1, 0.5, 0.9)) for day in days]
    low, middle, high = np.array(rows).reshape(-1, 3).T
    return _dates(days) + PASSING, low, middle, high


def _dates(times: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Dates as matplotlib counts them."""
    return np.asarray(date2num(times), np.float64)  # type: ignore[no-untyped-call]
