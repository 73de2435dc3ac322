"""The documents of a search in memory: as they are stored, a JSON text a line, in parts."""

from __future__ import annotations

import asyncio
import time
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

import orjson
from sqlalchemy import select

from aieye.db.engine import Database
from aieye.db.tables import Preset, PresetDocuments, PresetVersion
from aieye.errors import NotFound

# What is unpacked at once: a thread that does so gives way after each.
_PART_BYTES: Final = 256 * 1024
_PACKED_BYTES: Final = 64 * 1024
# A digest as an object, and its place in a list.
_DIGEST_BYTES: Final = 80


class Documents:
    """Some documents, each known by the SHA-256 of its line (`digests`); their lines in `parts`."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        """From parts of whole lines, without the line break at a part's end."""
        self.parts: list[bytes] = []
        self._firsts: list[int] = []
        self.digests: list[bytes] = []
        for part in parts:
            self.parts.append(part)
            self._firsts.append(len(self.digests))
            self.digests += [sha256(line).digest() for line in part.split(b"\n")]
            # Whoever waits for the interpreter gets it.
            time.sleep(0)

    @classmethod
    def of(cls, texts: Sequence[str]) -> Documents:
        """Documents that are stored nowhere."""
        return cls([b"\n".join(map(orjson.dumps, texts))] if texts else ())

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def size_bytes(self) -> int:
        """What they take in memory, about."""
        return sum(map(len, self.parts)) + _DIGEST_BYTES * len(self.digests)

    def texts(self, numbers: Iterable[int]) -> Mapping[int, str]:
        """The texts of the documents with these numbers, from 0."""
        found: dict[int, str] = {}
        lines: dict[int, list[bytes]] = {}
        for number in numbers:
            at = bisect_right(self._firsts, number) - 1
            if at not in lines:
                lines = {at: self.parts[at].split(b"\n")}
            found[number] = orjson.loads(lines[at][number - self._firsts[at]])
        return found


async def check_documents(database: Database, documents_id: str) -> None:
    """Raise `NotFound` where no preset has the documents any more: the last one is deleted."""
    statement = select(Preset.id).join(PresetVersion, PresetVersion.preset_id == Preset.id)
    has = (PresetVersion.documents_id == documents_id) & Preset.deleted_at.is_(None)
    async with database.read() as session:
        if await session.scalar(statement.where(has).limit(1)) is None:
            raise _gone()


async def load_documents(database: Database, documents_id: str) -> Documents:
    """The documents stored under that id. Raises `NotFound` where they are gone by now."""
    statement = select(PresetDocuments.lines).where(PresetDocuments.id == documents_id)
    async with database.read() as session:
        packed = await session.scalar(statement)
    if packed is None:
        raise _gone()
    return await asyncio.to_thread(lambda: Documents(unpacked(packed)))


async def read_some(database: Database, documents_id: str, start: int, count: int) -> Sequence[str]:
    """`count` of the documents from the number `start` on, without reading all. Raises `NotFound`."""
    statement = select(PresetDocuments.lines).where(PresetDocuments.id == documents_id)
    async with database.read() as session:
        packed = await session.scalar(statement)
    if packed is None:
        raise _gone()
    return await asyncio.to_thread(some_of, packed, start, count)


def some_of(packed: bytes, start: int, count: int) -> Sequence[str]:
    """`count` of the packed documents from the number `start` on."""
    found: list[bytes] = []
    number = 0
    for part in unpacked(packed):
        size = part.count(b"\n") + 1
        if number + size > start:
            found += part.split(b"\n")[max(0, start - number) :]
        number += size
        if len(found) >= count:
            break
    return [orjson.loads(line) for line in found[:count]]


def _gone() -> NotFound:
    return NotFound("The documents of this search are not there any more.")


def unpacked(packed: bytes) -> Iterator[bytes]:
    """Compressed lines in parts of whole lines."""
    unpacking = zlib.decompressobj()
    begun = b""
    for start in range(0, len(packed), _PACKED_BYTES):
        fed = packed[start : start + _PACKED_BYTES]
        while fed:
            piece = unpacking.decompress(fed, _PART_BYTES)
            fed = unpacking.unconsumed_tail
            lines, found, rest = piece.rpartition(b"\n")
            if found:
                yield begun + lines
                begun = rest
            else:
                begun += piece
    if begun:
        yield begun
