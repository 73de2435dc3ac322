"""Documents as they are given in a file, read as it comes. Pure.

Of JSON Lines a line is a JSON string, or an object whose `text` is one; what else an object says is left
out. Of plain text a line is a document. What is kept is a JSON string a line, compressed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import orjson

from aieye.errors import PayloadTooLarge, Unprocessable
from aieye.presets import checks

MOST_DOCUMENTS: Final = 50_000
MOST_BYTES: Final = 128 * 2**20
"""Of all documents together, as they are kept."""
# Longer than any document that is taken, however it is escaped.
_LONGEST_LINE: Final = 8 * checks.LONGEST_DOCUMENT
_MARK: Final = b"\xef\xbb\xbf"


class InvalidDocuments(Unprocessable):
    """A line is no document; the message names it."""

    code = "invalid_documents"


@dataclass(frozen=True, slots=True)
class PackedDocuments:
    """What is kept. `id` is the SHA-256 of the lines, which are `size_bytes` long."""

    id: str
    count: int
    size_bytes: int
    lines: bytes


class DocumentLines:
    """Takes a file in pieces. What breaks a rule raises `InvalidDocuments` or `PayloadTooLarge`.

    A file of plain text has a document a line.
    """

    def __init__(self, *, is_plain: bool = False) -> None:
        self._is_plain = is_plain
        self._packing = zlib.compressobj()
        self._packed: list[bytes] = []
        self._digest = sha256()
        self._begun = bytearray()
        self._number = 0
        self._blank: int | None = None
        self.count = 0
        self.size_bytes = 0

    def feed(self, piece: bytes) -> None:
        """Take more of the file."""
        *lines, rest = piece.split(b"\n")
        for line in lines:
            self._take(bytes(self._begun) + line)
            self._begun.clear()
        self._begun += rest
        if len(self._begun) > _LONGEST_LINE:
            self._number += 1
            raise self._wrong(f"is longer than {_LONGEST_LINE:,} bytes")

    def end(self) -> PackedDocuments:
        """All that came. Raises `InvalidDocuments` where that is nothing."""
        if self._begun:
            self._take(bytes(self._begun))
            self._begun.clear()
        if not self.count:
            raise InvalidDocuments("There is no document: send a JSON string a line.")
        self._packed.append(self._packing.flush())
        return PackedDocuments(
            self._digest.hexdigest(), self.count, self.size_bytes, b"".join(self._packed)
        )

    def _take(self, line: bytes) -> None:
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_MARK)
        if not line.strip():
            # Behind the last document only: which number has what, counts lines.
            self._blank = self._blank or self._number
            return
        if self._blank is not None:
            self._number = self._blank
            raise self._wrong("is empty")
        self._keep(orjson.dumps(self._read(line)))

    def _read(self, line: bytes) -> str:
        return self._plain(line) if self._is_plain else self._json(line)

    def _plain(self, line: bytes) -> str:
        try:
            return self._checked(line.rstrip(b"\r").decode())
        except UnicodeDecodeError as error:
            raise self._wrong("is not UTF-8 text") from error

    def _json(self, line: bytes) -> str:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise self._wrong(f"is not JSON: {error}") from error
        if isinstance(value, dict):
            value = value.get("text")
        return self._checked(value)

    def _checked(self, value: object) -> str:
        try:
            return checks.document(value)
        except checks.Refused as error:
            why = str(error) or "it should be a JSON string, or an object with a text"
            raise self._wrong(f"is no document: {why}") from error

    def _keep(self, line: bytes) -> None:
        if self.count == MOST_DOCUMENTS:
            raise self._wrong(f"is one too many: a search has {MOST_DOCUMENTS:,} documents at most")
        if self.count:
            line = b"\n" + line
        self.count += 1
        self.size_bytes += len(line)
        if self.size_bytes > MOST_BYTES:
            raise PayloadTooLarge(f"The documents have more than {MOST_BYTES:,} bytes.")
        self._digest.update(line)
        self._packed.append(self._packing.compress(line))

    def _wrong(self, why: str) -> InvalidDocuments:
        return InvalidDocuments(f"Line {self._number} {why}.", param="body")
