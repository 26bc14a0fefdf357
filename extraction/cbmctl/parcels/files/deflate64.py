"""Deflate64, the method of Windows Explorer for files over 2 GB, which Python's zipfile does not know."""

import struct
import zipfile
import zlib
from pathlib import Path

import inflate64

LOCAL_HEADER = 30  # bytes (PKWARE's APPNOTE, 4.3.7), then the name and an extra field
CHUNK = 1 << 20


def unpack(archive: Path, member: zipfile.ZipInfo, target: Path) -> None:
    """Unpack a member to a file, and compare it with its size and checksum.

    Raises:
        zipfile.BadZipFile: the member is damaged.
        OSError: the disk is full.
    """
    inflater = inflate64.Inflater()
    size = checksum = 0
    with archive.open("rb") as packed, target.open("wb") as unpacked:
        packed.seek(member.header_offset + LOCAL_HEADER - 4)
        name, extra = struct.unpack("<HH", packed.read(4))
        packed.seek(name + extra, 1)
        left = member.compress_size
        while left and (chunk := packed.read(min(CHUNK, left))):
            left -= len(chunk)
            try:
                data = inflater.inflate(chunk)
            except ValueError as error:
                raise zipfile.BadZipFile(f"Bad data for file {member.filename!r}") from error
            size += len(data)
            checksum = zlib.crc32(data, checksum)
            unpacked.write(data)
    if (size, checksum) != (member.file_size, member.CRC):
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {member.filename!r}")
