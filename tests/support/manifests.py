"""manifest.safe for the small products of tests, as real products have it or with something odd."""

import hashlib
from collections.abc import Callable
from pathlib import Path

HASHES = {"MD5": hashlib.md5, "SHA3-256": hashlib.sha3_256}


def entry(href: str, size: int | str, algorithm: str, digest: str) -> str:
    return (
        f'<dataObject ID="x"><byteStream mimeType="application/octet-stream" size="{size}">'
        f'<fileLocation locatorType="URL" href="{href}"/>'
        f'<checksum checksumName="{algorithm}">{digest}</checksum></byteStream></dataObject>'
    )


def manifest(*entries: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">'
        f"<dataObjectSection>{''.join(entries)}</dataObjectSection></xfdu:XFDU>"
    )


def write_manifest(
    folder: Path,
    algorithm: str = "SHA3-256",
    *,
    name: str | None = None,
    href: Callable[[str], str] = lambda file: f"./{file}",
    digest: Callable[[str], str] = str,
    leave_out: str = "nothing",
) -> Path:
    """Write the manifest of a product.

    Args:
        folder: the product's.
        algorithm: MD5 or SHA3-256.
        name: what the manifest calls the algorithm instead.
        href: makes the location of a file's path below the folder.
        digest: is applied to each digest.
        leave_out: files whose names end so are not listed.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.safe")
    entries = [
        entry(
            href(path.relative_to(folder).as_posix()),
            path.stat().st_size,
            name or algorithm,
            digest(HASHES[algorithm](path.read_bytes()).hexdigest()),
        )
        for path in files
        if not path.name.endswith(leave_out)
    ]
    written = folder / "manifest.safe"
    written.write_text(manifest(*entries), encoding="utf-8")
    return written


def overwrite(path: Path, number: int = 40) -> None:
    """Overwrite bytes in the middle of a file's second half, as a bad disk or line does; the length stays."""
    data = bytearray(path.read_bytes())
    start = len(data) * 3 // 4
    data[start : start + number] = bytes(byte ^ 0x5A for byte in data[start : start + number])
    path.write_bytes(data)
