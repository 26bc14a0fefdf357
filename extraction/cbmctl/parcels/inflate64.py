"""Deflate64, the method of Windows Explorer for files over 2 GB, which Python's zipfile does not know.

It is Deflate (RFC 1951) with two changes (PKWARE's APPNOTE, method 9): matches reach 64 KB back, by distance
codes 30 and 31, and length code 285 has 16 more bits. The decoder follows zlib's `puff`.
"""

import mmap
import struct
import zipfile
import zlib
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

LOCAL_HEADER = 30  # bytes, then the name and an extra field
CHUNK = 1 << 20
WORTH_COMPILING = 1 << 20  # bytes: compiling takes some seconds

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

_LENGTH_BITS: Numbers = np.array([0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [16], np.int64)
_LENGTHS: Numbers = np.concatenate([3 + np.cumsum([0, *(1 << _LENGTH_BITS[:27])]), [3]]).astype(np.int64)
_DISTANCE_BITS: Numbers = np.array([0, 0, *(bits for bits in range(15) for _ in range(2))], np.int64)
_DISTANCES: Numbers = 1 + np.cumsum([0, *(1 << _DISTANCE_BITS[:-1])])
_ORDER: Numbers = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15], np.int64)
# a code is an array: how many symbols have each number of bits (0 to 15), then the symbols in order
COUNTS, SYMBOLS, END = 16, 320, 256


def unpack(archive: Path, member: zipfile.ZipInfo, target: Path) -> None:
    """Unpack a member to a file, and compare it with its checksum.

    Raises:
        zipfile.BadZipFile: the member is damaged.
        OSError: the disk is full.
    """
    with archive.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        name, extra = struct.unpack_from("<HH", whole, member.header_offset + LOCAL_HEADER - 4)
        start = member.header_offset + LOCAL_HEADER + name + extra
        data = np.frombuffer(whole[start : start + member.compress_size], np.uint8)
    checksum = 0
    with target.open("w+b") as unpacked:
        unpacked.truncate(member.file_size)
        if member.file_size:
            out = np.memmap(unpacked, np.uint8, "r+", shape=(member.file_size,))
            if inflate(data, out) != member.file_size:
                raise zipfile.BadZipFile(f"Bad data for file {member.filename!r}")
            for first in range(0, len(out), CHUNK):
                checksum = zlib.crc32(out[first : first + CHUNK], checksum)
            out.flush()
    if checksum != member.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {member.filename!r}")


def inflate(data: Bytes, out: Bytes) -> int:
    """Unpack into an array; how many bytes it holds then, or -1 if the data are damaged or too many."""
    compiled = len(out) >= WORTH_COMPILING
    decoder = numba.njit(nogil=True, error_model="numpy")(_inflate) if compiled else _inflate
    return int(decoder(data, out))


@register_jitable
def _bits(data: Bytes, state: Numbers, need: int) -> int:
    """The next bits, the first one lowest; -1 behind the end. State: position, bits kept, how many."""
    while state[2] < need:
        if state[0] >= len(data):
            return -1
        state[1] |= np.int64(data[state[0]]) << state[2]
        state[0] += 1
        state[2] += 8
    value = state[1] & ((1 << need) - 1)
    state[1] >>= need
    state[2] -= need
    return value  # type: ignore[no-any-return]


@register_jitable
def _build(lengths: Numbers, code: Numbers) -> int:
    """A Huffman code from its symbols' lengths; negative if they are too many, positive if too few."""
    code[:COUNTS] = 0
    for length in lengths:
        code[length] += 1
    left = 1
    offsets = np.zeros(COUNTS + 1, np.int64)
    for bits in range(1, COUNTS):
        left = 2 * left - code[bits]
        offsets[bits + 1] = offsets[bits] + code[bits]
    for symbol in range(len(lengths)):
        if lengths[symbol]:
            code[COUNTS + offsets[lengths[symbol]]] = symbol
            offsets[lengths[symbol]] += 1
    return left


@register_jitable
def _symbol(data: Bytes, state: Numbers, code: Numbers) -> int:
    """The next symbol; -1 if no symbol has these bits."""
    value = first = index = 0
    for bits in range(1, COUNTS):
        bit = _bits(data, state, 1)
        if bit < 0:
            return -1
        value |= bit
        if value - code[bits] < first:
            return code[COUNTS + index + value - first]  # type: ignore[no-any-return]
        index += code[bits]
        first = (first + code[bits]) << 1
        value <<= 1
    return -1


@register_jitable
def _read_lengths(data: Bytes, state: Numbers, code: Numbers, lengths: Numbers) -> bool:
    """The lengths of a dynamic block's symbols, which are coded themselves."""
    index = 0
    while index < len(lengths):
        symbol = _symbol(data, state, code)
        if symbol < 0 or (symbol == 16 and index == 0):
            return False
        if symbol < 16:
            lengths[index] = symbol
            index += 1
            continue
        before = lengths[index - 1] if symbol == 16 else 0
        repeat = (11 if symbol == 18 else 3) + _bits(data, state, (2, 3, 7)[symbol - 16])
        if index + repeat > len(lengths):
            return False
        lengths[index : index + repeat] = before
        index += repeat
    return lengths[END] > 0  # type: ignore[no-any-return]


@register_jitable
def _read_codes(data: Bytes, state: Numbers, codes: Numbers) -> bool:
    """The two codes of a dynamic block: literals and lengths, distances."""
    literals, distances, number = _bits(data, state, 5), _bits(data, state, 5), _bits(data, state, 4)
    if min(literals, distances, number) < 0 or literals > 29:
        return False
    literals, distances = literals + 257, distances + 1
    lengths = np.zeros(len(_ORDER), np.int64)
    for i in range(number + 4):
        lengths[_ORDER[i]] = _bits(data, state, 3)
    if lengths.min() < 0 or _build(lengths, codes[0]) != 0:
        return False
    lengths = np.zeros(literals + distances, np.int64)
    if not _read_lengths(data, state, codes[0], lengths):
        return False
    # only a code of one symbol may be incomplete
    left = _build(lengths[:literals], codes[0])
    right = _build(lengths[literals:], codes[1])
    return (left == 0 or (left > 0 and literals - codes[0][0] == 1)) and (
        right == 0 or (right > 0 and distances - codes[1][0] <= 1)
    )


@register_jitable
def _block(data: Bytes, state: Numbers, codes: Numbers, out: Bytes, size: int) -> int:
    """The literals and matches of a block; the new size, or -1 if they are damaged or too many."""
    while True:
        symbol = _symbol(data, state, codes[0])
        if symbol == END:
            return size
        if symbol < 0 or symbol > 285 or size >= len(out):
            return -1
        if symbol < END:
            out[size] = symbol
            size += 1
            continue
        more = _bits(data, state, _LENGTH_BITS[symbol - 257])
        code = _symbol(data, state, codes[1])
        if more < 0 or code < 0:
            return -1
        length, further = _LENGTHS[symbol - 257] + more, _bits(data, state, _DISTANCE_BITS[code])
        distance = _DISTANCES[code] + further
        if further < 0 or distance > size or size + length > len(out):
            return -1
        for i in range(size, size + length):
            out[i] = out[i - distance]
        size += length


@register_jitable
def _stored(data: Bytes, state: Numbers, out: Bytes, size: int) -> int:
    """A block that is not compressed; the new size, or -1 if it is damaged or too long."""
    state[0] -= state[2] // 8  # whole bytes that were read ahead
    state[1] = state[2] = 0
    length, check = _bits(data, state, 16), _bits(data, state, 16)
    if length < 0 or length != (~check & 0xFFFF) or size + length > len(out) or state[0] + length > len(data):
        return -1
    out[size : size + length] = data[state[0] : state[0] + length]
    state[0] += length
    return size + length


def _inflate(data: Bytes, out: Bytes) -> int:
    state, codes = np.zeros(3, np.int64), np.zeros((2, COUNTS + SYMBOLS), np.int64)
    size, last = 0, 0
    while last == 0:
        last, kind = _bits(data, state, 1), _bits(data, state, 2)
        if kind == 0:
            size = _stored(data, state, out, size)
        elif kind == 1:
            lengths = np.full(288, 8, np.int64)
            lengths[144:256], lengths[256:280] = 9, 7
            _build(lengths, codes[0])
            _build(np.full(32, 5, np.int64), codes[1])
            size = _block(data, state, codes, out, size)
        elif kind == 2 and _read_codes(data, state, codes):
            size = _block(data, state, codes, out, size)
        else:
            return -1
        if size < 0:
            return -1
    return size
