"""Why a scene is not extracted: stable codes, each with the manual's word for `dias_catalogue.status`.

The database stores the code and a text, in two columns; docs/statuses.md shows the list [`markdown`].
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Reason:
    """Why a scene is not extracted.

    Attributes:
        code: stable, for programs.
        status: the manual's word, for people and clients.
        meaning: for the docs.
        archive: whether an archive that is away would bring it upon every scene.
        failure: whether it is a failure; the others pass by themselves.
    """

    code: str
    status: str
    meaning: str
    archive: bool = False
    failure: bool = True


PRODUCT_MISSING = Reason(
    "archive.product_missing",
    "!S3 subdir",
    "the product's folder, or its image folder, is not in the archive",
    archive=True,
)
# See `file_missing`: the file's name follows the word.
FILE_MISSING = Reason(
    "archive.file_missing", "!S3", "a file of the product is missing; the status names it", archive=True
)
UNREADABLE = Reason(
    "archive.unreadable",
    "Rio error",
    "a file cannot be read or fetched, or holds what it should not",
    archive=True,
)
DAMAGED = Reason(
    "archive.damaged", "Rio error", "a file differs from its checksum, also when fetched again", archive=True
)
NO_PATH = Reason("catalogue.no_path", "!S3 subdir", "the catalogue has no folder for the scene")
NO_FOOTPRINT = Reason("catalogue.no_footprint", "No extent", "the catalogue has no footprint for the scene")
RECORD_INVALID = Reason("catalogue.record_invalid", "Rio error", "a service describes the product wrongly")
PARCELS_UNREADABLE = Reason("parcels.unreadable", "Parcel SQL", "the parcel table cannot be queried")
NOT_WRITTEN = Reason("database.not_written", "No out db", "the rows cannot be written")
UNREACHABLE = Reason(
    "database.unreachable",
    "No in db",
    "the database cannot be reached; on a scene, written by the manual's scripts",
)
WORKER_VANISHED = Reason(
    "worker.vanished",
    "Worker vanished",
    "its worker was killed in every attempt, and nothing else explains that",
)
WORKER_ERROR = Reason("worker.error", "Worker error", "a defect of the program; the text is a traceback")
WAITS_FOR_PARTS = Reason(
    "versions.waits_for_parts",
    "inprogress",
    "done; waits for another part of what it replaces",
    failure=False,
)

REASONS = (
    PRODUCT_MISSING, FILE_MISSING, UNREADABLE, DAMAGED, NO_PATH, NO_FOOTPRINT, RECORD_INVALID,
    PARCELS_UNREADABLE, NOT_WRITTEN, UNREACHABLE, WORKER_VANISHED, WORKER_ERROR, WAITS_FOR_PARTS,
)  # fmt: skip
FAILURES = tuple(reason for reason in REASONS if reason.failure)
# What may be gone once the archive has the product at once. Without that, a product may have no folder.
FROM_ARCHIVE = (*(reason for reason in FAILURES if reason.archive), NO_PATH)


def file_missing(name: str) -> Reason:
    """Return the reason for a file that is missing: its status is the manual's `!S3 B02.jp2`."""
    return replace(FILE_MISSING, status=f"{FILE_MISSING.status} {name}")


def markdown() -> str:
    """Return the table of REASONS for docs/statuses.md."""
    lines = ["| code | status | meaning |\n", "| --- | --- | --- |\n"]
    for reason in REASONS:
        word = f"{reason.status} …" if reason is FILE_MISSING else reason.status
        lines.append(f"| `{reason.code}` | `{word}` | {reason.meaning} |\n")
    return "".join(lines)
