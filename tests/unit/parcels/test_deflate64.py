"""Archives that Windows Explorer compresses with Deflate64, because a file has more than 2 GB."""

import struct
import zipfile
import zlib
from pathlib import Path

import inflate64
import pytest

from cbmctl.errors import UserError
from cbmctl.parcels.files.read_delivery import read
from tests.support.parcel_files import write


def deflate64(data: bytes) -> bytes:
    deflater = inflate64.Deflater()
    return bytes(deflater.deflate(data) + deflater.flush())


def archive(path: Path, member: Path, *, damage: int = 0) -> Path:
    """A zip with a member of method 9, as Windows Explorer writes it."""
    data = member.read_bytes()
    packed = bytearray(deflate64(data))
    packed[len(packed) // 2] ^= damage
    with zipfile.ZipFile(path, "w") as plain:
        plain.writestr(member.name, bytes(packed))
    content = bytearray(path.read_bytes())
    for signature, method, checksum, size in ((b"PK\3\4", 8, 14, 22), (b"PK\1\2", 10, 16, 24)):
        start = content.find(signature)
        struct.pack_into("<H", content, start + method, 9)
        struct.pack_into("<I", content, start + checksum, zlib.crc32(data))
        struct.pack_into("<I", content, start + size, len(data))
    path.write_bytes(content)
    return path


def test_an_archive_of_windows_explorer_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.fgb")
    assert sorted(read(archive(tmp_path / "a.zip", path)).attributes["number"].to_pylist()) == [0, 1, 2]
    with pytest.raises(UserError, match=r"a.zip is not a complete zip archive \(Bad (data|CRC-32) for file"):
        read(archive(tmp_path / "a.zip", path, damage=4))
