"""The tier in memory: the entries used last, up to a number of bytes. Pure."""

from __future__ import annotations

from collections import OrderedDict

from aieye.cache.entry import Entry

# An entry over this share of the whole would push out too many others.
_LARGEST_SHARE = 0.25


class MemoryTier:
    """Least recently used goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: bytes) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, entry: Entry) -> None:
        self.drop(entry.key)
        size = entry.size_bytes
        if size > self._most_bytes * _LARGEST_SHARE:
            return
        self._entries[entry.key] = entry
        self.size_bytes += size
        while self.size_bytes > self._most_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.size_bytes -= oldest.size_bytes

    def drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= entry.size_bytes

    def clear(self) -> None:
        self._entries.clear()
        self.size_bytes = 0
