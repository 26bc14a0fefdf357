"""The map: every parcel in the colour of its value on a day."""

from typing import Any

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.path import Path

from cbmctl.report.picture_data import CHOSEN, INK, SOFT, TITLE_PAD, UNSEEN, UNSEEN_EDGE, Scene, spoken
from cbmctl.report.text import count

MANY = 3000  # parcels, from which on outlines would hide the colours


def draw(figure: Figure, axes: Axes, scene: Scene) -> None:
    """Draw the map with its colour bar, scale and the outline of the parcel whose season is shown."""
    parcels, value = scene.parcels, scene.parcels.value
    paths = [_path(outline) for outline in parcels.outline]
    seen = np.isfinite(value)
    edge = 0.35 if len(paths) < MANY else 0.0

    unseen = [path for path, known in zip(paths, seen, strict=True) if not known]
    axes.add_collection(PathCollection(unseen, facecolor=UNSEEN, edgecolor=UNSEEN_EDGE, linewidth=edge))
    shades = PathCollection([path for path, known in zip(paths, seen, strict=True) if known])
    shades.set(array=value[seen], edgecolor="#4a4a4a", linewidth=edge)
    is_index = scene.measure.is_index
    shades.set(cmap="YlGn" if is_index else "cividis")
    if seen.any():
        low, high = np.quantile(value[seen], (0.02, 0.98))
        shades.set_clim(*((0.0, 1.0) if is_index else (float(low), float(high))))
    axes.add_collection(shades)

    west, south, east, north = shapely.total_bounds(parcels.outline)
    extent = max(east - west, north - south)
    margin = 0.02 * extent
    axes.set(xlim=(west - margin, east + margin), ylim=(south - margin, north + margin), aspect="equal")
    axes.set(xticks=[], yticks=[], anchor="NW")
    axes.spines[:].set_visible(False)
    axes.set_title(f"{scene.measure.name} of each parcel on {spoken(scene.day)}", pad=TITLE_PAD)
    bar = figure.colorbar(
        shades,
        cax=axes.inset_axes((0, -0.085, 1, 0.02)),
        orientation="horizontal",
        extend="neither" if is_index else "both",
    )
    bar.outline.set_visible(False)
    bar.set_label(scene.measure.label)
    if not seen.all():
        words = f"{count(int((~seen).sum()))} without a clear value"
        axes.legend(
            handles=[Patch(facecolor=UNSEEN, edgecolor=UNSEEN_EDGE, label=words)], loc="upper right",
            bbox_to_anchor=(1.0, 0.0), frameon=False, fontsize=9, borderaxespad=0.3, handlelength=1.2,
        )  # fmt: skip
    _draw_scale(axes, west, south - margin, east - west)
    if scene.parcel is not None:
        index = int(np.flatnonzero(parcels.pid == scene.parcel)[0])
        _mark(axes, parcels.outline[index], paths[index], extent)


def _mark(axes: Axes, outline: Any, path: Path, extent: float) -> None:
    """Outline the parcel of the season; where it is small on the map, circle it as well."""
    axes.add_collection(PathCollection([path], facecolor="none", edgecolor=CHOSEN, linewidth=2.4, zorder=5))
    if np.ptp(shapely.bounds(outline).reshape(2, 2), axis=0).max() < 0.04 * extent:
        middle = outline.centroid
        axes.plot(middle.x, middle.y, "o", ms=20, mfc="none", mec=CHOSEN, mew=1.8, zorder=5)


def _draw_scale(axes: Axes, west: float, bottom: float, width: float) -> None:
    """Draw a bar of a round length, at most a quarter of the map's width."""
    power = 10 ** np.floor(np.log10(width / 4))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= width / 4))
    words = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.plot(
        [west, west + length], [bottom, bottom], color=INK, lw=2.2, solid_capstyle="butt", clip_on=False
    )
    axes.annotate(
        words, (west + length, bottom), xytext=(6, 0), textcoords="offset points", fontsize=9, color=SOFT,
        va="center", annotation_clip=False,
    )  # fmt: skip


def _path(outline: Any) -> Path:
    """A polygon or multi-polygon as one path, holes included."""
    rings = [
        np.asarray(ring.coords)[:, :2]
        for part in shapely.get_parts(outline)
        for ring in (part.exterior, *part.interiors)
    ]
    return Path.make_compound_path(*(Path(ring, closed=True) for ring in rings))
