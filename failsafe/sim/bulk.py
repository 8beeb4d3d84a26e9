"""Bodies too long to be held in memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from failsafe.sim.wire import Piece

MARKER = "\x02bulk\x03"
"""Stands in a body where the bulk goes; JSON writes it as ``\\u0002bulk\\u0003``."""

_MARKER_IN_JSON = b"\\u0002bulk\\u0003"
_BLOCK = b"x" * (1024 * 1024)
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"  # RFC 1952: deflate, no name, no time, best compression


def has_marker(template: bytes) -> bool:
    """Whether *template* has a place for the bulk (a list of models has none)."""
    return _MARKER_IN_JSON in template


def bulk_length(template: bytes, mebibytes: int) -> int:
    """The length of *template* with *mebibytes* in the place of its marker."""
    return len(template) - len(_MARKER_IN_JSON) + mebibytes * len(_BLOCK)


def bulk_pieces(template: bytes, mebibytes: int) -> Iterator[Piece]:
    """*template* with *mebibytes* MiB of text in the place of its marker."""
    before, _, after = template.partition(_MARKER_IN_JSON)
    yield before
    for _ in range(mebibytes):
        yield _BLOCK
    yield after


def bomb_pieces(template: bytes, mebibytes: int) -> Iterator[Piece]:
    """The same in gzip; the bulk is compressed once and sent again and again."""
    before, _, after = template.partition(_MARKER_IN_JSON)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    yield _GZIP_HEAD + packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(_BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)  # a full flush makes it stand alone
    checksum = zlib.crc32(before)
    for _ in range(mebibytes):
        yield block
        checksum = zlib.crc32(_BLOCK, checksum)
    checksum = zlib.crc32(after, checksum)
    size = len(before) + mebibytes * len(_BLOCK) + len(after)
    yield packer.compress(after) + packer.flush() + struct.pack("<II", checksum, size & 0xFFFFFFFF)
