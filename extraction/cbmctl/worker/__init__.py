"""Claim a task, read, compute, write: what a worker does until the queue is empty.

Imports point one way, from top to bottom:

- `pipeline`: the loop; the decoding of one task overlaps the statistics of the last.
- `job`: one task, from a product and the parcels to rows.
- `rows`: the rows of `sigs` and `hists`, in place of those of an earlier run.
- `index_cache`: the parcels as pixels of an image's grid, kept in memory and on disk.
- `stop_signal`: an end on a signal that loses nothing.
- `oom_score`: which process the kernel ends first if the machine runs out of memory.
"""
