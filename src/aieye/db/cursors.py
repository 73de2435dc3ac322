"""Cursors of keyset pages: the key of the last row shown, opaque to whoever sends it back.

What is in a cursor is checked like any other input. The administrators' API and the pages share it.
"""

from __future__ import annotations

import base64
import binascii

from aieye.errors import InvalidRequest

LARGEST_NUMBER = 2**63 - 1
LONGEST_CURSOR = 200
Key = int | str


class BadCursor(InvalidRequest):
    """The cursor is not one that a list of this kind gave."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("The cursor is not one of this list.", param="cursor")


def encode_cursor(key: Key) -> str:
    """The cursor that leads behind the row with this key."""
    text = f"i{key}" if isinstance(key, int) else f"s{key}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Key:
    """The key in a cursor. Raises `BadCursor`."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        kind, text = raw[:1], raw[1:].decode()
    except (binascii.Error, ValueError) as error:
        raise BadCursor from error
    if kind == b"i" and text.isascii() and text.isdigit() and len(text) <= 19:
        number = int(text)
        if number <= LARGEST_NUMBER:
            return number
    if kind == b"s" and text.isprintable():
        return text
    raise BadCursor


def number_after(cursor: str | None, largest: int = 2**31 - 1) -> int | None:
    """The number behind which a page begins; None for the first page. Raises `BadCursor`."""
    key = None if cursor is None else decode_cursor(cursor)
    if isinstance(key, str) or (key is not None and key > largest):
        raise BadCursor
    return key


def text_after(cursor: str | None, longest: int = 64) -> str | None:
    """The text behind which a page begins; None for the first page. Raises `BadCursor`."""
    key = None if cursor is None else decode_cursor(cursor)
    if isinstance(key, int) or (key is not None and len(key) > longest):
        raise BadCursor
    return key
