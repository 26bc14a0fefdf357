"""Names of tables and columns in SQLite's SQL, where they cannot be parameters."""


def quoted(name: str) -> str:
    """The name in quotes."""
    return '"' + name.replace('"', '""') + '"'
