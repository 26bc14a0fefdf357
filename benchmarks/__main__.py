"""`./run bench`: measure everything in one run and print the table. A slow machine is no failure."""

import argparse
import os
import platform
import sys
import time
from pathlib import Path

from benchmarks import BenchmarkError, scenes
from benchmarks.figures import Figure, lines
from benchmarks.sections import SECTIONS, Run
from benchmarks.server import REPOSITORY, started
from cbmctl.errors import UserError


def main() -> None:
    """Measure the sections asked for."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="SECTION,...", help=f"of {','.join(SECTIONS)}; default: all"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table there")
    parser.add_argument(
        "--cache",
        type=Path,
        default=REPOSITORY / ".cache" / "bench",
        metavar="DIR",
        help="where scenes are kept for the next run, 4 GB; default: %(default)s",
    )
    options = parser.parse_args()
    chosen = [name for name in options.only.split(",") if name] or list(SECTIONS)
    if unknown := sorted(set(chosen) - set(SECTIONS)):
        parser.error(f"there is no section {unknown[0]}: use {', '.join(SECTIONS)}")
    begun = time.monotonic()

    def note(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - begun:5.0f} s] {text}\n")

    figures: list[Figure] = []
    try:
        without = {"checksums", "table", "scale", "maintain", "overlap"}  # these read no other scenes
        archive = scenes.make(options.cache / "eodata", note, only_clear=set(chosen) <= without)
        with started() as server:
            run = Run(server, archive, options.cache, note)
            for name in SECTIONS:
                if name in chosen:
                    figures += _section(run, name)
    except (BenchmarkError, UserError) as error:
        sys.exit(f"bench: {error}")
    head = _machine(time.monotonic() - begun)
    sys.stdout.write("\n".join([head, "", *lines(figures, markdown=False)]) + "\n")
    if options.markdown:
        options.markdown.write_text(
            "\n".join([head, "", *lines(figures, markdown=True)]) + "\n", encoding="utf-8"
        )


def _section(run: Run, name: str) -> list[Figure]:
    """One section's lines, told as soon as they are there; what fails is a line too, and the others go on."""
    try:
        figures = SECTIONS[name](run)
    except (BenchmarkError, UserError) as error:
        figures = [Figure(name, None, "", note=" ".join(str(error).split()))]
    for figure in figures:
        what, value, limit, *_ = figure.cells()
        run.note(f"  {what}: {value} {limit and f'({limit})'}")
    return figures


def _machine(seconds: float) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{time.strftime('%Y-%m-%d')}, {len(os.sched_getaffinity(0))} processors ({platform.machine()}),"
        f" {memory:.0f} GB of memory,"
        f" load at the end {os.getloadavg()[0]:.1f}; measured in {seconds / 60:.0f} min."
    )


if __name__ == "__main__":
    main()
