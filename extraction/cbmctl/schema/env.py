"""Alembic's entry: run the migrations on the connection, and in the transaction, of `cbmctl.schema.apply`."""

from alembic import context

from cbmctl.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], **VERSION_TABLE)  # type: ignore[arg-type]
context.run_migrations()
