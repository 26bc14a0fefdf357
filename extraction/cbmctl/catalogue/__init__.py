"""Which products there are, and which of them the area of interest needs."""
