"""Parcels without a pixel are listed by task; indexes that cost more than they bring go.

Measured on 50 million rows [docs/decisions/tables.md]: the keys begin with pid, so the manual's indexes on
pid alone were there twice, and a btree on band took half of the time of writing. The names stay: the manual
clusters by `sigs_pidx` and `hists_pidx`.
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add tasks.slivers; let each key be the index on pid, and let a BRIN be the index on band."""
    for table in ("sigs", "hists"):
        _key_is_pid_index(table)
    op.execute("""
        DROP INDEX IF EXISTS sigs_bidx;
        CREATE INDEX sigs_bidx ON sigs USING brin (band) WITH (autosummarize = on);

        ALTER TABLE tasks ADD slivers integer[];
        COMMENT ON COLUMN tasks.slivers IS
            'parcels that hold no pixel centre on this image''s grid, so that they have no row';
    """)


def _key_is_pid_index(table: str) -> None:
    """Give the key the name of the index that it makes superfluous; a key somebody made otherwise stays."""
    op.execute(f"""
        DO $$
        DECLARE
            key name := (
                SELECT conname FROM pg_constraint c JOIN pg_attribute a
                    ON a.attrelid = conrelid AND a.attnum = conkey[1] AND a.attname = 'pid'
                WHERE conrelid = '{table}'::regclass AND contype = 'p');
        BEGIN
            IF key <> '{table}_pidx' THEN
                DROP INDEX IF EXISTS {table}_pidx;
                EXECUTE format('ALTER TABLE {table} RENAME CONSTRAINT %I TO {table}_pidx', key);
            END IF;
        END
        $$;
    """)  # noqa: S608 - the names are the constants above
