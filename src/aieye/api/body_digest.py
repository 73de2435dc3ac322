"""What tells whether two requests have the same body: its hash, also of one that is never held whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256

from aieye.gateway.multipart import boundary_of

_BETWEEN_PARTS = b"\0part\0"


class BodyDigest:
    """The hash of a body as it comes. Of a form, the boundary does not count: clients make up another
    one whenever they send it. `is_whole` says that the body has come to its end."""

    def __init__(self, content_type: bytes) -> None:
        boundary = boundary_of(content_type)
        self._mark = b"" if boundary is None else b"--" + boundary
        self._hash = sha256()
        self._held = b""
        self.is_whole = False

    def update(self, piece: bytes) -> None:
        mark = self._mark
        if not mark:
            self._hash.update(piece)
            return
        *parts, rest = (self._held + piece).split(mark)
        for part in parts:
            self._hash.update(part)
            self._hash.update(_BETWEEN_PARTS)
        # A boundary may be cut in two.
        settled = max(len(rest) - len(mark) + 1, 0)
        self._hash.update(rest[:settled])
        self._held = rest[settled:]

    async def over(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces, each taken in when it is passed on."""
        async for piece in pieces:
            self.update(piece)
            yield piece
        self.is_whole = True

    def finish(self) -> str:
        """The hash of all that came, in hexadecimal digits."""
        self._hash.update(self._held)
        self._held = b""
        return self._hash.hexdigest()
