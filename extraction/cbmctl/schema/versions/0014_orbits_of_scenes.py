"""From which orbit a scene was seen, and the pair of a coherence product.

The rules are those of cbmctl.catalogue.orbits at that time, which explains them. They are copied, because a
migration must do the same in all later versions of the package.
"""

import re
from datetime import datetime, timedelta

import sqlalchemy
from alembic import op

revision = "0014"
down_revision = "0013"

_CYCLE = 175
_OFFSETS = {"1A": 73, "1B": 27, "1C": 172, "1D": 42}
_LAST_BEFORE_MOVE, _OFFSET_AFTER_MOVE = 8018, 99  # of Sentinel-1C
_LONGEST_DAYS = 366
_GRD = re.compile(r"S(?P<sensor>1[A-D])_IW_\w{4}_1S\w{2}_\d{8}T\d{6}_\d{8}T\d{6}_(?P<orbit>\d{6})_")
_S2 = re.compile(r"S2[A-D]_MSIL2A_\d{8}T\d{6}_N\d{4}_R(?P<orbit>0\d\d|1[0-6]\d|17[0-5])_")
_PAIR = re.compile(
    r"S1[A-D]_(?P<main>\d{8}T\d{6})_+S?(?P<sensor>1[A-D])_+(?P<earlier>\d{8}T\d{6})_\w+_CARD[-_]COH(6|12)"
)


def _relative_orbit(reference: str) -> int | None:
    if match := _S2.match(reference):
        return int(match["orbit"]) or None
    match = _GRD.match(reference)
    if match is None:
        return None
    moved = match["sensor"] == "1C" and int(match["orbit"]) > _LAST_BEFORE_MOVE
    offset = _OFFSET_AFTER_MOVE if moved else _OFFSETS[match["sensor"]]
    return (int(match["orbit"]) - offset) % _CYCLE + 1


def _pass(reference: str, obstime: datetime, longitude: float | None) -> str | None:
    if longitude is None or not reference.startswith("S1"):
        return None
    hours = obstime.hour + obstime.minute / 60 + obstime.second / 3600
    return "descending" if (hours + longitude / 15) % 24 < 12 else "ascending"


def _pair(reference: str) -> tuple[int | None, str | None]:
    match = _PAIR.fullmatch(reference)
    if match is None:
        return None, None
    try:
        main, earlier = (datetime.strptime(match[each], "%Y%m%dT%H%M%S") for each in ("main", "earlier"))
    except ValueError:
        return None, None
    days = round((main - earlier) / timedelta(days=1))
    return (days, match["sensor"]) if 0 < days <= _LONGEST_DAYS else (None, None)


def upgrade() -> None:
    """Add relative orbit, pass and pair to dias_catalogue; fill them for its scenes, as far as known.

    The relative orbit of coherence is in no name: the next full search of a service enters it.
    """
    op.execute("""
        ALTER TABLE dias_catalogue
            ADD relative_orbit smallint CHECK (relative_orbit BETWEEN 1 AND 175),
            ADD orbit_pass text CHECK (orbit_pass IN ('ascending', 'descending')),
            ADD pair_days smallint,
            ADD pair_sensor text;
        COMMENT ON COLUMN dias_catalogue.relative_orbit IS
            'orbit of the repeat cycle: 1 to 175 for Sentinel-1, 1 to 143 for Sentinel-2';
        COMMENT ON COLUMN dias_catalogue.orbit_pass IS 'of Sentinel-1: ascending or descending';
        COMMENT ON COLUMN dias_catalogue.pair_days IS
            'of coherence: days between the two acquisitions';
        COMMENT ON COLUMN dias_catalogue.pair_sensor IS
            'of coherence: satellite of the earlier acquisition; sensor is that of the later one';
    """)
    bind = op.get_bind()
    scenes = bind.execute(
        sqlalchemy.text("""SELECT id, reference, obstime, public.ST_X(public.ST_Centroid(footprint))
                           FROM dias_catalogue WHERE obstime IS NOT NULL""")
    ).fetchall()
    changes = []
    for obsid, reference, obstime, longitude in scenes:
        days, sensor = _pair(reference)
        changes.append(
            {
                "id": obsid,
                "relative": _relative_orbit(reference),
                "pass": _pass(reference, obstime, longitude),
                "days": days,
                "sensor": sensor,
            }
        )
    if changes:
        bind.execute(
            sqlalchemy.text("""UPDATE dias_catalogue
                               SET relative_orbit = :relative, orbit_pass = :pass, pair_days = :days,
                                   pair_sensor = :sensor
                               WHERE id = :id"""),
            changes,
        )
