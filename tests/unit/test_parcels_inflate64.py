"""Archives that Windows Explorer compresses with Deflate64, because a file has more than 2 GB."""

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from cbmctl.errors import UserError
from cbmctl.parcels import inflate64
from cbmctl.parcels.source import read

from .parcel_files import write

RANDOM = np.random.default_rng(64)


def letters(number: int) -> bytes:
    return RANDOM.choice(np.frombuffer(b"winter wheat, barley", np.uint8), number).tobytes()


class Bits:
    """A stream of bits, the first one lowest; of the fixed code of RFC 1951."""

    def __init__(self) -> None:
        self.value, self.length = 0, 0

    def add(self, value: int, length: int) -> "Bits":
        self.value |= value << self.length
        self.length += length
        return self

    def code(self, value: int, length: int) -> "Bits":
        """A Huffman code comes with its highest bit first."""
        return self.add(int(f"{value:0{length}b}"[::-1], 2), length)

    def bytes(self) -> bytes:
        return self.value.to_bytes((self.length + 7) // 8, "little")


def stored(data: bytes) -> bytes:
    return b"\0" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


def huffman(data: bytes) -> bytes:
    """Deflate without matches, which Deflate64 reads as it is: blocks with codes of their own."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return compressor.compress(data) + compressor.flush()


def inflated(data: bytes, size: int) -> bytes | None:
    out = np.zeros(size, np.uint8)
    return out.tobytes() if inflate64.inflate(np.frombuffer(data, np.uint8), out) == size else None


def test_what_deflate64_has_of_deflate() -> None:
    text = letters(5000)
    assert inflated(huffman(text), 5000) == text
    assert inflated(stored(text[:9]) + huffman(text), 5009) == text[:9] + text
    short = zlib.compressobj(9, zlib.DEFLATED, -15)
    words = b"".join(
        RANDOM.choice([b"wheat ", b"barley ", b"winter "], 900)
    )  # matches of less than 258 bytes
    assert inflated(short.compress(words) + short.flush(), len(words)) == words


def test_a_match_of_up_to_64_kb() -> None:
    literal = Bits().add(1, 1).add(1, 2).code(0x30 + ord("a"), 8)
    match = literal.code(0b11000101, 8).add(60_000, 16).code(0, 5).code(0, 7)  # 285, 16 more bits; 1 back
    assert inflated(match.bytes(), 60_004) == b"a" * 60_004


@pytest.mark.parametrize(
    ("code", "distance"), [(29, 24_577), (30, 32_769), (31, 49_153), (31, 49_153 + 16_383)]
)
def test_a_match_up_to_64_kb_back(code: int, distance: int) -> None:
    data = RANDOM.bytes(65_535) + b"z"
    bits = Bits().add(1, 1).add(1, 2).code(0b0000001, 7).code(code, 5)  # 257: three bytes
    more = distance - {29: 24_577, 30: 32_769, 31: 49_153}[code]
    bits.add(more, 13 if code == 29 else 14).code(0, 7)
    start = len(data) - distance
    assert inflated(stored(data[:-1]) + stored(data[-1:]) + bits.bytes(), len(data) + 3) == (
        data + data[start : start + 3]
    )


def test_damaged_data_are_never_taken_for_whole() -> None:
    text = letters(600)
    data = huffman(text)
    for end in range(0, len(data) - 1, 7):
        assert inflated(data[:end], len(text)) is None
    assert inflated(data, len(text) - 1) is None
    assert inflated(Bits().add(1, 1).add(3, 2).bytes(), 1) is None
    too_far = Bits().add(1, 1).add(1, 2).code(0x30, 8).code(1, 7).code(1, 5)
    assert inflated(too_far.bytes(), 4) is None


@pytest.mark.thorough
def test_the_compiled_decoder_agrees_with_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = letters(200_000)
    monkeypatch.setattr(inflate64, "WORTH_COMPILING", 1)
    assert inflated(stored(text[:60_000]) + huffman(text), 260_000) == text[:60_000] + text
    assert inflated(huffman(text)[:-9], 200_000) is None


def archive(path: Path, member: Path, *, damage: int = 0) -> Path:
    """A zip with a member of method 9, as Windows Explorer writes it."""
    data = member.read_bytes()
    packed = bytearray(huffman(data))
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
    with pytest.raises(UserError, match=r"a.zip is not a whole zip archive \(Bad (data|CRC-32) for file"):
        read(archive(tmp_path / "a.zip", path, damage=4))
