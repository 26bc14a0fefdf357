"""From which orbit a scene was seen, and the pair of a coherence product."""

import shapely
import sqlalchemy
from alembic import op

from cbmctl.catalogue.orbits import scene_orbit

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add relative orbit, pass and pair to dias_catalogue; fill them for its scenes, as far as known.

    The relative orbit of coherence is in no name: the next full search of a service enters it.
    """
    op.execute("""
        ALTER TABLE public.dias_catalogue
            ADD relative_orbit smallint CHECK (relative_orbit BETWEEN 1 AND 175),
            ADD orbit_pass text CHECK (orbit_pass IN ('ascending', 'descending')),
            ADD pair_days smallint,
            ADD pair_sensor text;
        COMMENT ON COLUMN public.dias_catalogue.relative_orbit IS
            'orbit of the repeat cycle: 1 to 175 for Sentinel-1, 1 to 143 for Sentinel-2';
        COMMENT ON COLUMN public.dias_catalogue.orbit_pass IS 'of Sentinel-1: ascending or descending';
        COMMENT ON COLUMN public.dias_catalogue.pair_days IS
            'of coherence: days between the two acquisitions';
        COMMENT ON COLUMN public.dias_catalogue.pair_sensor IS
            'of coherence: satellite of the earlier acquisition; sensor is that of the later one';
    """)
    bind = op.get_bind()
    scenes = bind.execute(
        sqlalchemy.text("""SELECT id, reference, obstime, ST_AsBinary(ST_Centroid(footprint))
                           FROM public.dias_catalogue WHERE obstime IS NOT NULL""")
    ).fetchall()
    changes = []
    for obsid, reference, obstime, centre in scenes:
        orbit = scene_orbit(reference, obstime, shapely.from_wkb(centre) if centre else None)
        pair = orbit.pair
        changes.append(
            {
                "id": obsid,
                "relative": orbit.relative,
                "pass": orbit.direction,
                "days": pair.days if pair else None,
                "sensor": pair.sensor if pair else None,
            }
        )
    if changes:
        bind.execute(
            sqlalchemy.text("""UPDATE public.dias_catalogue
                               SET relative_orbit = :relative, orbit_pass = :pass, pair_days = :days,
                                   pair_sensor = :sensor
                               WHERE id = :id"""),
            changes,
        )
