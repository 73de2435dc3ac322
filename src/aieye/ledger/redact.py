"""Takes secrets out of bodies before they are kept. On the hot path, so it looks before it works."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from aieye.telemetry import held_secrets

_MARKS = (b"aie_", b"sk-", b"earer ")
# A secret may follow an escape of JSON, whose letter is no part of it.
_SECRETS = re.compile(
    rb"aie_[0-9A-Za-z]{8}_[0-9A-Za-z]{20,}(?:_[0-9A-Za-z]{6})?"
    rb"|(?:\b|(?<=\\[nrt]))sk-[0-9A-Za-z_\-]{12,}"
    rb"|(?<=earer )[0-9A-Za-z_.\-+/=]{16,}"
)
# Tokens as the original made them: 40 hexadecimal digits.
_OLD_TOKENS = re.compile(rb"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_IS_HEXADECIMAL: Final = bytes(b"01"[byte in b"0123456789abcdef"] for byte in range(256))
# Every fifth byte of 40 in a row is eight in a row: the quick look, then the exact one.
_STRIDE, _EIGHT, _FORTY = 5, b"1" * 8, b"1" * 40
_IS_ALPHANUMERIC: Final = bytes(b"01"[chr(byte).isalnum() and byte < 128] for byte in range(256))
REPLACEMENT = b"[redacted]"

# The tokens that were taken over from the original, by how they begin; people chose some of them.
_imported: dict[bytes, re.Pattern[bytes]] = {}


def redact(body: bytes) -> bytes:
    """`body` without the providers' keys that the process holds (`hide_secrets`), and without
    whatever looks like a public token or a provider's key."""
    aie, sk, bearer = _MARKS
    is_marked = aie in body or sk in body or bearer in body
    for secret in held_secrets():
        # One that bears a mark is not there if no mark is.
        if (is_marked or not secret.startswith(_MARKS)) and secret in body:
            body = body.replace(secret, REPLACEMENT)
    if is_marked:
        body = _SECRETS.sub(REPLACEMENT, body)
    if _may_hold_forty(body, _IS_HEXADECIMAL):
        body = _OLD_TOKENS.sub(REPLACEMENT, body)
    if _imported and _may_hold_forty(body, _IS_ALPHANUMERIC):
        for beginning, pattern in _imported.items():
            if beginning in body:
                body = pattern.sub(REPLACEMENT, body)
    return body


def hide_imported(ends: Iterable[tuple[str, str]]) -> None:
    """From now on take out the imported tokens that begin and end so, whatever letters they have;
    they replace those of the call before. No more of them is known, and eight of forty characters
    in their places are no chance."""
    _imported.clear()
    ends_by_beginning: dict[bytes, list[bytes]] = {}
    for beginning, end in ends:
        ends_by_beginning.setdefault(beginning.encode(), []).append(end.encode())
    for raw, found in ends_by_beginning.items():
        rest = b"|".join(sorted(map(re.escape, found)))
        _imported[raw] = re.compile(re.escape(raw) + rb"[0-9A-Za-z]{32}(?:" + rest + rb")")


def _may_hold_forty(body: bytes, of_kind: bytes) -> bool:
    if _EIGHT not in body[::_STRIDE].translate(of_kind):
        return False
    return _FORTY in body.translate(of_kind)
