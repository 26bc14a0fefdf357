"""Rows between sigs and Arrow: every bit of a number, every null, in any order."""

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbmctl.config import Config
from cbmctl.maintenance.season_archive import database_rows, restore
from cbmctl.maintenance.season_archive.layout import FIGURES, SIGS
from cbmctl.maintenance.season_archive.row_sums import hashes, numbers
from tests.support.effort import examples

BITS = st.one_of(
    st.none(), st.integers(0, 2**32 - 1), st.sampled_from([0, 1 << 31, 0x7FC00000, 0xFFC00000, 0x7F800001])
)
ROWS = st.dictionaries(
    st.tuples(st.integers(1, 3), st.sampled_from([-1, 1, 7]), st.sampled_from(["B02", "B2", "VVb"])),
    st.tuples(*[BITS] * len(FIGURES)),
    min_size=1,
    max_size=12,
)


def batch_of(rows: dict[tuple[int, int, str], tuple[int | None, ...]]) -> pa.RecordBatch:
    bands = pa.array([band for _, _, band in rows], pa.string()).dictionary_encode()
    columns = [
        pa.array([pid for pid, _, _ in rows], pa.int32()),
        pa.array([obsid for _, obsid, _ in rows], pa.int32()),
        pa.DictionaryArray.from_arrays(bands.indices.cast(pa.int8()), bands.dictionary),
    ]
    for place in range(len(FIGURES)):
        bits = [values[place] for values in rows.values()]
        floats = np.array([0 if one is None else one for one in bits], np.uint32).view(np.float32)
        columns.append(pa.array(floats, mask=np.array([one is None for one in bits])))
    return pa.record_batch(columns, schema=SIGS)


@pytest.mark.postgis
def test_rows_of_any_bits_come_back(conn: psycopg.Connection, config: Config) -> None:
    @examples(60)
    @given(ROWS)
    def check(rows: dict[tuple[int, int, str], tuple[int | None, ...]]) -> None:
        batch = batch_of(rows)
        with conn.transaction(force_rollback=True):
            restore._copy_sigs(conn, config.tables, batch)
            assert conn.execute("SELECT count(*), sum(num_nulls(count, mean, std)) FROM sigs").fetchall() == [
                (len(rows), sum(one is None for values in rows.values() for one in values[:3]))
            ]
            scenes = numbers([batch])
            for obsid, expected in scenes.items():
                found = numbers(database_rows.of_scene(conn, config.tables, "sigs", obsid))
                assert found == {obsid: expected}

    check()


@examples(60)
@given(ROWS, st.data())
def test_a_checksum_depends_on_rows_and_not_on_their_order(
    rows: dict[tuple[int, int, str], tuple[int | None, ...]], data: st.DataObject
) -> None:
    keys = list(rows)
    shuffled = data.draw(st.permutations(keys))
    split = data.draw(st.integers(0, len(keys)))
    parts = [shuffled[:split], shuffled[split:]]
    batches = [batch_of({key: rows[key] for key in part}) for part in parts if part]
    assert numbers(batches) == numbers([batch_of(rows)])
    key = data.draw(st.sampled_from(keys))
    place = data.draw(st.integers(0, len(FIGURES) - 1))
    other = data.draw(BITS.filter(lambda bits: bits != rows[key][place]))
    values = (*rows[key][:place], other, *rows[key][place + 1 :])
    assert numbers([batch_of(rows | {key: values})]) != numbers([batch_of(rows)])


def test_hashes_of_small_numbers_do_not_collide() -> None:
    rows = {
        (pid, obsid, band): (pid, obsid, *[0] * 6)
        for pid in range(100)
        for obsid in range(100)
        for band in ("B02", "B03")
    }
    assert len(set(hashes(batch_of(rows)).tolist())) == len(rows)
