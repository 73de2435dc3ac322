"""Unpacks answers that come compressed although `identity` was asked for, up to a sane size."""

from __future__ import annotations

import zlib

from aieye.gateway.faults import BrokenOff

ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})
# What a compressed answer may unpack to, as a multiple of what was received, once it is large.
_MOST_EXPANSION = 50
_ALWAYS_ALLOWED = 1024 * 1024


class Decoder:
    """gzip and deflate, up to a reasonable size for what was received."""

    def __init__(self) -> None:
        self._machine = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._received = self._produced = 0

    @property
    def is_complete(self) -> bool:
        return self._machine.eof

    def decode(self, chunk: bytes) -> bytes:
        """What `chunk` unpacks to. Raises `BrokenOff`, `zlib.error`."""
        self._received += len(chunk)
        allowed = max(_ALWAYS_ALLOWED, self._received * _MOST_EXPANSION) - self._produced
        output = self._machine.decompress(chunk, max(1, allowed))
        self._produced += len(output)
        if self._machine.unconsumed_tail:
            raise BrokenOff("The provider's answer unpacks to an unreasonable size.")
        return output
