"""Versions of one acquisition, for tests."""

from dataclasses import replace as changed
from datetime import datetime
from pathlib import Path

from pyproj import Transformer
from shapely import box, transform, wkb

from cbmctl.catalogue.product_versions import Pair
from cbmctl.catalogue.record import Record, as_footprint
from cbmctl.catalogue.table import Synced, store
from tests.support.products_s2 import LEFT, TOP, make_product, metadata
from tests.support.season import OFFSET, Season, pixels

PLACE = box(8, 47, 9, 48)
STRIP = "S2A_OPER_MSI_L2A_DS_VGS1_20210305T135811_S20210305T102917_N04.00"

# Of the season's images, in metres from the top: the north shows parcel 1, the south parcel 7.
PARTS = {"whole": (0, 400), "north": (0, 200), "south": (180, 400)}
to_degrees = Transformer.from_crs(32632, 4326, always_xy=True)


def version(
    baseline: str = "04.00",
    made: str = "20210305T135811",
    *,
    strip: str | None = STRIP,
    place: object = PLACE,
) -> Record:
    """One of the versions of an acquisition of 5 March 2021."""
    name = f"S2A_MSIL2A_20210305T102921_N{baseline.replace('.', '')}_R108_T32TMT_{made}.SAFE"
    return Record(
        reference=name,
        card="s2",
        sensor="2A",
        obstime=datetime(2021, 3, 5, 10, 29, 21),
        path=f"Sentinel-2/MSI/L2A/2021/03/05/{name}",
        footprint=as_footprint(place),  # type: ignore[arg-type]
        epsg=32632,
        tile="32TMT",
        baseline=baseline,
        datastrip=strip,
        processed=datetime.strptime(made, "%Y%m%dT%H%M%S"),
    )


ORIGINAL = version()
BETTER = version("05.00", "20230301T010203")
AGAIN = version(made="20210306T080000")


def enter(season: Season, *records: Record) -> Synced:
    with season.database.connect() as conn:
        return store(conn, season.config, records)


def cut(record: Record, part: str, strip: str) -> Record:
    """The same record of a part of the tile, in a datastrip that begins at `strip`."""
    first, last = PARTS[part]
    place = box(LEFT, TOP - last, LEFT + 400, TOP - first)
    return changed(
        record,
        footprint=as_footprint(transform(place, to_degrees.transform, interleaved=False)),
        datastrip=f"S2A_OPER_MSI_L2A_DS_VGS1_{record.processed:%Y%m%dT%H%M%S}_S{strip}_N04.00",
    )


def write(season: Season, record: Record, seed: int = 6, part: str = "whole") -> None:
    """Put its product into the archive, with nothing in it beside a part of the tile."""
    assert record.path
    images = pixels(seed)
    for name, image in images.items():
        metres = int(name.split("_")[1][:-1])
        first, last = PARTS[part]
        image[: first // metres] = 0
        image[last // metres :] = 0
    make_product(
        season.config.eodata,
        images,
        metadata(dict.fromkeys(range(13), OFFSET)),
        name=record.reference,
        folder=str(Path(record.path).parent),
    )


def extracted_as(season: Season, record: Record) -> None:
    """Extract a scene of the season's own product under the name of a record."""
    scene = season.scene(5)
    with season.database.connect() as conn:
        conn.execute(
            "UPDATE dias_catalogue SET reference = %s, path = %s, tile = %s, baseline = %s, datastrip = %s"
            " WHERE id = %s",
            [record.reference, record.path, record.tile, record.baseline, record.datastrip, scene],
        )
    season.extract()


def statuses(season: Season) -> dict[str, str]:
    return dict(season.rows("SELECT reference, status FROM dias_catalogue"))  # type: ignore[arg-type]


def pairs(*pairs: tuple[Record, Record]) -> tuple[Pair, ...]:
    return tuple(Pair(old.reference, new.reference) for old, new in pairs)


def here(season: Season, record: Record) -> Record:
    """The same record with the footprint that the season's scenes have."""
    ((place,),) = season.rows("SELECT ST_AsBinary(footprint) FROM dias_catalogue LIMIT 1")
    return changed(record, footprint=wkb.loads(bytes(place)))


def counted(season: Season) -> list[tuple[object, ...]]:
    """References of scenes that clients count, with their rows; the others must have none."""
    return season.rows(
        """SELECT reference, status = 'extracted', (SELECT count(*) FROM sigs WHERE obsid = d.id) > 0,
               (SELECT count(*) FROM hists WHERE obsid = d.id) > 0
           FROM dias_catalogue d ORDER BY baseline"""
    )


def watch(season: Season) -> None:
    """Have every transaction that touches a task leave behind what clients see then."""
    with season.database.connect() as conn:
        conn.execute(
            # an image has an empty histogram of a parcel beside its data, and no other rows
            """CREATE TABLE seen (rows bigint, different bigint);
               CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   INSERT INTO seen SELECT count(*), count(DISTINCT (pid, band))
                   FROM sigs s JOIN dias_catalogue d ON d.id = s.obsid WHERE status = 'extracted';
                   RETURN NULL; END $$;
               CREATE CONSTRAINT TRIGGER look AFTER INSERT OR UPDATE OR DELETE ON tasks
                   DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()"""
        )


def seen_once(season: Season) -> bool:
    """Whether clients saw the same parcels and bands all the time, and each of them once."""
    seen = season.rows("SELECT DISTINCT rows, different FROM seen")
    return len(seen) == 1 and seen[0][0] == seen[0][1] > 0
