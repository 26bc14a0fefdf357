"""The sections of `./run bench`: each measures one thing and gives its lines of the table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import BenchmarkError, access, checking, delta, maintenance, overlap, peers, scale, table
from benchmarks.figures import Figure
from benchmarks.measure import Decoding, Work, decoding, tenant
from benchmarks.peer import SAMPLES
from benchmarks.scenes import BANDS, SCL, Archive
from benchmarks.server import Server
from cbmctl.errors import UserError

MANY, MOST, FEW = 100_000, 300_000, 10_000
REPEATS = 3


@dataclass
class Run:
    """One run of the benchmarks, and what later sections need of earlier ones.

    Attributes:
        server: one for all.
        archive: the scenes.
        cache: what is kept for the next run.
        note: tells what is going on.
    """

    server: Server
    archive: Archive
    cache: Path
    note: Callable[[str], None]
    _granule: "Granule | None" = None
    _rests: dict[int, Work] = field(default_factory=dict)

    def granule(self) -> "Granule":
        """The granule with 100,000 parcels; measured once."""
        if self._granule is None:
            images = self.archive.images(self.archive.clear, SCL, *BANDS)
            with tenant(self.server, self.archive, MANY) as here:
                here.catalogue(self.archive.clear, "s2")
                indexes = here.indexes(self.archive.clear, "s2")
                self.note(f"decoding alone, then the granule with {MANY:,} parcels")
                before = decoding(images)
                work = here.work()
                after = decoding(images)
                self.note("the same with half of the blocks clouded")
                here.catalogue(self.archive.cloudy, "s2")
                cloudy = here.work()
            mean = Decoding(
                (before.wall + after.wall) / 2,
                (before.cpu + after.cpu) / 2,
                max(before.others, after.others),
            )
            self._granule = Granule(mean, abs(before.wall - after.wall), work, cloudy, indexes)
        return self._granule

    def rest(self, number: int = MANY) -> Work:
        """The granule in files that need no decoding, with so many parcels; measured once."""
        if number not in self._rests:
            with tenant(self.server, self.archive, number) as here:
                here.catalogue(self.archive.plain, "s2")
                here.indexes(self.archive.plain, "s2")
                self.note(f"everything but decoding, with {number:,} parcels, {REPEATS} times")
                works = []
                for _ in range(REPEATS):
                    here.catalogue(self.archive.plain, "s2")
                    works.append(here.work())
                # of so few seconds the fastest run is the one that nothing disturbed
                self._rests[number] = min(works, key=lambda work: work.wall)
        return self._rests[number]


@dataclass(frozen=True)
class Granule:
    """A Sentinel-2 granule, extracted; and the same bands only decoded, before and after."""

    decode: Decoding
    unrest: float
    work: Work
    cloudy: Work
    indexes: dict[str, dict[str, float]]


def granule(run: Run) -> list[Figure]:
    """S2: SCL, four bands at 10 m, two at 20 m."""
    found, rest = run.granule(), run.rest()
    work, decode = found.work, found.decode
    return [
        Figure(
            "S2 granule: wall / decode-only wall", work.wall / decode.wall, "", 1.10,
            note=f"{work.wall:.1f} s / {decode.wall:.1f} s, decoded twice: {found.unrest:.1f} s apart;"
                 f" {work.rows:,} rows",
            others=max(work.cost.others, decode.others),
        ),
        Figure(
            "S2 granule: everything but decode, wall", rest.wall, "s", 6,
            note=f"the same pixels in files that need no decoding, claim to end; fastest of {REPEATS}",
            others=rest.cost.others,
        ),
        Figure(
            "S2 granule: everything but decode, CPU", rest.cost.cpu + rest.cost.postgres, "s", 8,
            note=f"worker {rest.cost.cpu:.1f} s with its start, PostgreSQL {rest.cost.postgres:.1f} s",
        ),
        Figure("S2 granule: peak RSS", work.cost.rss / 1e9, "GB", 1.0),
    ]  # fmt: skip


def clouds(run: Run) -> list[Figure]:
    """The granule with half of its JPEG 2000 blocks under cloud."""
    found, rest = run.granule(), run.rest().cost.cpu
    # Nobody can tell decoding from the rest inside a worker. The rest is taken to be half of the clear
    # scene's, as half of the parcels get no rows.
    clear, cloudy = found.work.cost.cpu - rest, found.cloudy.cost.cpu - rest / 2
    return [
        Figure(
            "half of the JP2 tiles cloudy: decode CPU / clear", cloudy / clear, "", 0.6,
            note=f"worker {found.cloudy.cost.cpu:.1f} s instead of {found.work.cost.cpu:.1f} s CPU, "
                 f"{found.cloudy.wall:.1f} s instead of {found.work.wall:.1f} s wall",
        ),
    ]  # fmt: skip


def radar(run: Run, card: str, product: Path, title: str, limit: float) -> list[Figure]:
    """A Sentinel-1 scene, its index kept on disk."""
    with tenant(run.server, run.archive, MANY) as here:
        here.catalogue(product, card)
        found = here.indexes(product, card)[card]
        run.note(title)
        work = here.work()
    return [
        Figure(
            f"{title}: wall", work.wall, "s", limit,
            note=f"{work.rows:,} rows; CPU {work.cost.cpu:.1f} s, PostgreSQL {work.cost.postgres:.1f} s",
            others=work.cost.others,
        ),
        Figure(f"{title}: peak RSS", work.cost.rss / 1e9, "GB"),
        Figure(f"{title}: index of its own grid after the fetch", found["build"], "s", note=_fetched(found)),
    ]  # fmt: skip


def backscatter(run: Run) -> list[Figure]:
    """CARD-BS."""
    return radar(run, "bs", run.archive.backscatter, "CARD-BS scene", 3.0)


def coherence(run: Run) -> list[Figure]:
    """CARD-COH6."""
    return radar(run, "c6", run.archive.coherence, "COH6 scene", 2.0)


def startup(run: Run) -> list[Figure]:
    """Indexes, and the start of a worker."""
    found = run.granule()
    figures = []
    for bandset, title in (("10", "10 m"), ("20", "20 m"), ("scl", "20 m with slivers")):
        index = found.indexes[bandset]
        figures.append(
            Figure(f"index build, {MANY:,} parcels, {title}", index["build"], "s", 2, note=_fetched(index))
        )
        figures.append(
            Figure(f"index load, {title}", index["load"], "s", 0.2, note="check of the parcels included")
        )
    return [*figures, Figure("start of a worker to its first claim", found.work.start, "s", 2)]


def growth(run: Run) -> list[Figure]:
    """More and fewer parcels."""
    few, many, most = (run.rest(number) for number in (FEW, MANY, MOST))
    reading = decoding(run.archive.images(run.archive.plain, SCL, *BANDS))
    cpu = {work: work.cost.cpu + work.cost.postgres for work in (few, many, most)}
    return [
        Figure(
            "300,000 parcels / 100,000: non-decode wall", most.wall / many.wall, "", 3.3,
            note=f"{most.wall:.1f} s / {many.wall:.1f} s; CPU {cpu[most]:.1f} s / {cpu[many]:.1f} s",
            others=max(most.cost.others, many.cost.others),
        ),
        Figure(
            "10,000 parcels: non-decode wall", few.wall, "s", 1.2,
            note=f"CPU {cpu[few]:.1f} s; fastest of {REPEATS};"
                 f" reading those plain files alone takes {reading.wall:.1f} s",
            others=few.cost.others,
        ),
        Figure("300,000 parcels: peak RSS", most.cost.rss / 1e9, "GB"),
    ]  # fmt: skip


def rows(run: Run) -> list[Figure]:
    """The table of fifty million rows."""
    run.note("a table of fifty million rows")
    return table.figures(run.server)


def million(run: Run) -> list[Figure]:
    """A table that is six times the memory, in two orders of the parcels' ids."""
    return scale.figures(run.note)


def rewriting(run: Run) -> list[Figure]:
    """A purged table, rewritten while others read and write."""
    run.note("a purge of eleven million rows, and pg_repack")
    return maintenance.figures(run.server)


def neighbours(run: Run) -> list[Figure]:
    """Tiles of a datatake that show the same parcels."""
    run.note("tiles that overlap, over a table of eight million rows")
    return overlap.figures(run.server)


def changes(run: Run) -> list[Figure]:
    """New parcels of a granule that is extracted."""
    return delta.figures(run.server, run.archive, MANY, run.note)


def others(run: Run) -> list[Figure]:
    """Peers, and how many times more they take."""
    own_cpu = run.rest().cost.cpu
    (image,) = run.archive.images(run.archive.clear, "B04")
    figures = []
    for name in SAMPLES:
        run.note(f"{name} on a sample")
        try:
            cpu, wall = peers.granule_seconds(name, image, run.cache, run.note)
        except (BenchmarkError, UserError) as error:
            figures.append(Figure(f"{name}: factor per granule", None, "", note=str(error)))
            continue
        figures.append(
            Figure(
                f"{name}: factor per granule", cpu / own_cpu, "times",
                note=f"CPU: {cpu:.0f} s ({wall:.0f} s wall) for four bands at 10 m without a database;"
                     f" ours {own_cpu:.1f} s for all seven and with it",
            )
        )  # fmt: skip
    return figures


def archive(run: Run) -> list[Figure]:
    """An archive behind S3."""
    run.note("the granule from an S3 server, by several ways")
    return list(access.measure(run.server, run.archive, run.cache, run.note))


def checksums(run: Run) -> list[Figure]:
    """The check of a granule's files."""
    run.note("decoding a granule, and comparing its files with their checksums")
    return [checking.measure(run.archive)]


SECTIONS: dict[str, Callable[[Run], list[Figure]]] = {
    "s2": granule,
    "clouds": clouds,
    "checksums": checksums,
    "bs": backscatter,
    "coh": coherence,
    "startup": startup,
    "growth": growth,
    "delta": changes,
    "overlap": neighbours,
    "table": rows,
    "scale": million,
    "maintain": rewriting,
    "archive": archive,
    "peers": others,
}


def _fetched(index: dict[str, float]) -> str:
    return f"fetch {index['fetch']:.1f} s; {index['pixels'] / 1e6:.1f} million pixels"
