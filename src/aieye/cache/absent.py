"""Knows of most keys that nothing is stored under, without asking the database. Pure.

A Bloom filter: it may take a key for a stored one, never the other way round. Keys are SHA-256
digests, so that their own bytes are the hash functions.
"""

from __future__ import annotations

from struct import unpack_from

# With sixteen bits a key and three places, one absent key in two hundred is taken for a stored one.
_BITS_PER_KEY = 16
_LEAST_BITS = 1 << 20
# Four bytes of the key choose a place.
_MOST_BITS = 1 << 32


class KeyFilter:
    """Holds about `capacity` keys; with more, it takes more and more absent ones for stored."""

    __slots__ = ("_bits", "_mask", "capacity", "count")

    def __init__(self, capacity: int) -> None:
        size = _LEAST_BITS
        while size < min(capacity * _BITS_PER_KEY, _MOST_BITS):
            size *= 2
        self._bits = bytearray(size // 8)
        self._mask = size - 1
        self.capacity = size // _BITS_PER_KEY
        self.count = 0

    def add(self, key: bytes) -> None:
        bits, mask = self._bits, self._mask
        for place in unpack_from("<3I", key):
            bits[(place & mask) >> 3] |= 1 << (place & 7)
        self.count += 1

    def may_hold(self, key: bytes) -> bool:
        """False: `key` was never added."""
        bits, mask = self._bits, self._mask
        first, second, third = unpack_from("<3I", key)
        return bool(
            bits[(first & mask) >> 3] & (1 << (first & 7))
            and bits[(second & mask) >> 3] & (1 << (second & 7))
            and bits[(third & mask) >> 3] & (1 << (third & 7))
        )
