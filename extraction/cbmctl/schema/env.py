"""Alembic's entry: run the migrations on the connection, and in the transaction, of `cbmctl.schema.apply`.

Migrations name the tables of a season without their schema. The search path holds nothing else, so that no
statement can reach a table of another season.
"""

import sqlalchemy
from alembic import context

from cbmctl.config import PUBLIC
from cbmctl.schema import version_table

attributes = context.config.attributes
connection, schema = attributes["connection"], attributes.get("schema", PUBLIC)
name = connection.dialect.identifier_preparer.quote_identifier(schema)
connection.execute(sqlalchemy.text(f"SET LOCAL search_path = {name}"))
context.configure(connection=connection, **version_table(schema))
context.run_migrations()
connection.execute(sqlalchemy.text("SET LOCAL search_path TO DEFAULT"))
