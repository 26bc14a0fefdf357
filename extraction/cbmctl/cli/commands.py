"""Import every command module, so that `cbmctl` knows its commands."""
