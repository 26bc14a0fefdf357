"""Parcels in the projection of an image."""

from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import query

# An edge this long is bent by up to a centimetre on its way into another projection; longer ones get more
# corners. In degrees where the parcels are.
EDGE_M, EDGE_DEGREES = 500.0, 0.005


def projected(parcels: TableName, epsg: int) -> sql.Composed:
    """The expression of a parcel's geometry (`wkb_geometry`) in another projection.

    Args:
        parcels: the parcel table; its geometry column tells the projection that the parcels have.
        epsg: the code of the other one.
    """
    return query(
        """ST_Transform(ST_Segmentize(wkb_geometry, (
               SELECT CASE WHEN srtext LIKE 'GEOG%%' OR proj4text LIKE '%%longlat%%'
                   THEN {degrees}::float8 ELSE {metres}::float8 END
               FROM spatial_ref_sys WHERE srid = Find_SRID({schema}, {name}, 'wkb_geometry')
           )), {epsg}::integer)""",
        degrees=sql.Literal(EDGE_DEGREES),
        metres=sql.Literal(EDGE_M),
        schema=sql.Literal(parcels.schema),
        name=sql.Literal(parcels.name),
        epsg=sql.Literal(epsg),
    )
