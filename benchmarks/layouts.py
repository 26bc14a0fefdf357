"""The layouts of `sigs` that the one of the schema was chosen from."""

from dataclasses import dataclass

PARTITIONS = 16
BY_PID, BY_OBSID = "pid, obsid, band", "obsid, pid, band"
PID = "CREATE INDEX sigs_pidx ON sigs (pid)"
OBSID = "CREATE INDEX sigs_obsidx ON sigs (obsid)"
OBSID_BAND = "CREATE INDEX sigs_obsidx ON sigs (obsid, band)"
OBSID_BRIN = "CREATE INDEX sigs_obsidx ON sigs USING brin (obsid) WITH (pages_per_range = 32)"
BAND = "CREATE INDEX sigs_bidx ON sigs (band)"
BAND_BRIN = "CREATE INDEX sigs_bidx ON sigs USING brin (band) WITH (autosummarize)"


@dataclass(frozen=True)
class Layout:
    """Key and indexes.

    Attributes:
        name: on the command line.
        title: in words.
        statements: make key and indexes.
        partitioned: by ranges of obsid.
        cluster: the index that the manual's CLUSTER at the end of the season would use.
    """

    name: str
    title: str
    statements: tuple[str, ...]
    partitioned: bool = False
    cluster: str = "sigs_pkey"


def _layout(name: str, key: str, *indexes: str, title: str = "", partitioned: bool = False) -> Layout:
    words = ["PK (" + key + ")", *(index.partition(" ON sigs ")[2] for index in indexes)]
    primary = f"ALTER TABLE sigs ADD CONSTRAINT sigs_pkey PRIMARY KEY ({key})"
    cluster = "sigs_pkey" if key == BY_PID else "sigs_pidx"
    return Layout(name, title + " + ".join(words), (primary, *indexes), partitioned, cluster)


ALTERNATIVES = {
    layout.name: layout
    for layout in (
        _layout("a", BY_PID, BAND, OBSID, PID, title="until 2026: "),
        _layout("b", BY_PID, OBSID),
        _layout("c", BY_PID, OBSID_BAND),
        _layout("d", BY_PID, OBSID_BRIN),
        _layout("g", BY_OBSID, PID),
        _layout("h", BY_OBSID, PID, BAND_BRIN),
        _layout("i", BY_PID, OBSID, BAND_BRIN),
        _layout("e", BY_PID, OBSID, title=f"{PARTITIONS} partitions, ", partitioned=True),
        _layout("f", BY_OBSID, PID, title=f"{PARTITIONS} partitions, ", partitioned=True),
    )
}
