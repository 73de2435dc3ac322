"""The body of an upload on its way up: passed on as it comes, its beginning kept for another try."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aieye.gateway.retry import KEY_REFUSED

# An upload up to this size can be sent once more.
MOST_KEPT_BYTES = 2**20
# With these the provider has made nothing of what was sent.
_REFUSED = KEY_REFUSED | {429}


class Upload:
    """Read it once for each attempt, while `may_repeat` says so."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0
        self._has_begun = False
        self._is_refused = False

    async def read(self) -> AsyncIterator[bytes]:
        """The whole body: what an earlier attempt had of it, then the rest as it comes."""
        for piece in self._kept or ():
            yield piece
        self._has_begun = True
        while True:
            try:
                piece = await anext(self._pieces)
            except StopAsyncIteration:
                return
            except BaseException:
                # The rest will never come.
                self._kept = None
                raise
            self._keep(piece)
            yield piece

    def _keep(self, piece: bytes) -> None:
        self._kept_bytes += len(piece)
        if self._kept is not None and self._kept_bytes <= MOST_KEPT_BYTES:
            self._kept.append(piece)
        else:
            self._kept = None

    def answered(self, status: int) -> None:
        """Note what the provider said of the last attempt."""
        self._is_refused = status in _REFUSED

    def may_repeat(self) -> bool:
        """Whether the upload can be sent once more, and nothing can have been made of it yet."""
        return not self._has_begun or (self._is_refused and self._kept is not None)
