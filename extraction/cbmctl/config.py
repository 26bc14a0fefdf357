"""`db_config.json`: the manual's file, checked, with what it lacked.

The manual's form is kept (sections `database.connection`, `tables`, `args`); added are TLS, a password from a file or the
environment, the archive's root and the bands to extract. Its `docker` section is accepted and not used.
"""
