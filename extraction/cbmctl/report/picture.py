"""The picture: the parcels on a clear day, and the season of one of them (or a single day by band)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cbmctl.errors import UserError
from cbmctl.report.picture_data import INK, SOFT, Scene
from cbmctl.report.text import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
}


@dataclass(frozen=True)
class Drawn:
    """The picture as a PNG file, what it shows in a sentence, and in numbers."""

    png: bytes
    sentence: str
    numbers: dict[str, Any]


def draw(scene: Scene) -> Drawn:
    """Draw.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - the workers' image does without it
    except ImportError as error:
        raise UserError(
            "report.no_matplotlib",
            "cbmctl report: matplotlib is not installed here",
            "The worker image has no matplotlib. Run playbooks/report.yml on the control host",
        ) from error
    with mpl.rc_context(STYLE):
        figure = _figure(scene)
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
    return Drawn(png.getvalue(), _sentence(scene), _numbers(scene))


def _figure(scene: Scene) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415

    from cbmctl.report import map_panel, season_panels  # noqa: PLC0415 - they import matplotlib

    figure = Figure(figsize=(14, 7.4), dpi=150, facecolor="white")
    grid = figure.add_gridspec(
        2, 2, width_ratios=(1, 1.28), height_ratios=(3.2, 1), left=0.035, right=0.985, top=0.845,
        bottom=0.125, wspace=0.13, hspace=0.32,
    )  # fmt: skip
    map_panel.draw(figure, figure.add_subplot(grid[:, 0]), scene)
    if scene.parcel is None:
        season_panels.draw_bands(figure.add_subplot(grid[:, 1]), scene)
    else:
        season = figure.add_subplot(grid[0, 1])
        season_panels.draw_season(season, scene)
        season_panels.draw_clear(figure.add_subplot(grid[1, 1], sharex=season), scene)
    facts = scene.facts
    figure.text(0.035, 0.945, scene.title, fontsize=19, fontweight="bold")
    summary = (
        f"{count(facts.parcels)} parcels in {facts.table}",
        f"{count(facts.extracted)} of {count(facts.current)} scenes extracted",
        f"{count(facts.sigs)} statistics",
        f"{count(facts.hists)} class histograms",
    )
    figure.text(0.035, 0.905, "  ·  ".join(summary), fontsize=11, color=SOFT)
    figure.text(0.985, 0.018, facts.attribution, fontsize=8.5, color=SOFT, ha="right")
    return figure


def _sentence(scene: Scene) -> str:
    shown = f"{scene.measure.name} of every parcel on {scene.day}"
    if scene.parcel is None:
        return f"{shown}; too few clear dates for a season"
    return f"{shown}; the season of {scene.parcel_name} (ogc_fid {scene.parcel})"


def _numbers(scene: Scene) -> dict[str, Any]:
    chosen = scene.sample.where(scene.sample.pid == (-1 if scene.parcel is None else scene.parcel))
    return {
        "measure": scene.measure.label,
        "day": str(scene.day),
        "parcels_clear": int(np.isfinite(scene.parcels.value).sum()),
        "parcel": scene.parcel,
        "series": [
            {"time": str(time), "value": round(float(value), 4), "clear": bool(clear)}
            for time, value, clear in zip(chosen.time, chosen.value, chosen.clear, strict=True)
        ],
    }
