"""Products that the catalogue knows completely, so that nobody need open them again to describe them."""

from datetime import date

import psycopg
from psycopg.rows import dict_row
from shapely import wkb

from cbmctl.catalogue.record import Record
from cbmctl.config import Config
from cbmctl.database import query


def read_known(
    conn: psycopg.Connection, config: Config, card: str, start: date, end: date
) -> dict[str, Record]:
    """Return by reference the products of a card in [start, end) that lack nothing that the archive tells.

    Not every product tells everything, so what counts is whether it was opened: of Sentinel-2 only that gives
    the offset, and since it gives the datatake, too, the time of processing; of Sentinel-1 the zone, and when
    the archive got it.
    """
    rows = conn.cursor(row_factory=dict_row).execute(
        query(
            """SELECT reference, card, sensor, obstime, path, ST_AsBinary(footprint) AS footprint, epsg, tile,
                   baseline, boa_offset, cloud_cover, datatake, datastrip, processed
               FROM {catalogue}
               WHERE card = %s AND obstime >= %s AND obstime < %s AND num_nulls(footprint, epsg) = 0
                   AND CASE card WHEN 's2' THEN num_nulls(tile, baseline, boa_offset, processed) = 0
                       ELSE coalesce(processed, published) IS NOT NULL END""",
            catalogue=config.tables.catalogue.sql,
        ),
        [card, start, end],
    )
    records = (Record(**row | {"footprint": wkb.loads(row["footprint"])}) for row in rows)
    return {record.reference: record for record in records}
