"""Takes secrets out of bodies before they are kept. On the hot path, so it looks before it works."""

from __future__ import annotations

import re
from typing import Final

from aieye.telemetry import held_secrets

_MARKS = (b"aie_", b"sk-", b"earer ")
# A secret may follow an escape of JSON, whose letter is no part of it.
_SECRETS = re.compile(
    rb"aie_[0-9A-Za-z]{8}_[0-9A-Za-z]{20,}(?:_[0-9A-Za-z]{6})?"
    rb"|(?:\b|(?<=\\[nrt]))sk-[0-9A-Za-z_\-]{12,}"
    rb"|(?<=earer )[0-9A-Za-z_.\-+/=]{16,}"
)
# Tokens that were taken over from the original: 40 hexadecimal digits.
_OLD_TOKENS = re.compile(rb"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_IS_HEXADECIMAL: Final = bytes(b"01"[byte in b"0123456789abcdef"] for byte in range(256))
# Every fifth byte of 40 in a row is eight in a row: the quick look, then the exact one.
_STRIDE, _EIGHT, _FORTY = 5, b"1" * 8, b"1" * 40
REPLACEMENT = b"[redacted]"


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
    if _may_hold_old_token(body):
        body = _OLD_TOKENS.sub(REPLACEMENT, body)
    return body


def _may_hold_old_token(body: bytes) -> bool:
    if _EIGHT not in body[::_STRIDE].translate(_IS_HEXADECIMAL):
        return False
    return _FORTY in body.translate(_IS_HEXADECIMAL)
