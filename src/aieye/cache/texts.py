"""Where the texts of an entry lie: with the entry, or, kept only once, with the ledger. Pure."""

from __future__ import annotations

import zlib

from aieye.cache.key import NotJson, canonical, read_object


def unpacked(text: bytes, *, is_compressed: bool) -> bytes:
    """A text of `call_bodies` as it was. Raises `zlib.error` where it is damaged."""
    return zlib.decompress(text) if is_compressed else text


def given(own: bytes, kept: bytes | None, *, is_compressed: bool) -> bytes:
    """The answer of an entry: its `own`, or what the ledger has `kept`; b"" where both are gone."""
    if own or kept is None:
        return own
    return unpacked(kept, is_compressed=is_compressed)


def hashed(own: bytes, kept: bytes | None, model: str, *, is_compressed: bool) -> bytes:
    """The request of an entry as it was hashed, from its `own` text or the ledger's `kept`."""
    if not own and kept is not None:
        own = unpacked(kept, is_compressed=is_compressed)
    try:
        document = read_object(own)
        if model and "model" in document:
            document["model"] = model
        return canonical(document)
    except NotJson:
        return b""
