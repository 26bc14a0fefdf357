"""Parcels in the projection of an image."""

from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import query

# Another projection bends an edge of this length by up to a centimetre; longer edges get more corners. In
# degrees if the parcels are.
EDGE_M, EDGE_DEGREES = 500.0, 0.005


def projected(parcels: TableName, epsg: int) -> sql.Composed:
    """The expression of a parcel's geometry (`wkb_geometry`) in another projection.

    Args:
        parcels: the parcel table, whose geometry column has the projection of the parcels.
        epsg: the code of the other projection.
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
