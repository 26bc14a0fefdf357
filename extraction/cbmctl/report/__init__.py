"""One page and one picture of what the database holds, for the person who asked for it."""
