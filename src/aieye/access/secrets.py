"""The form of public tokens and of other random secrets. Pure.

A token is `aie_<id>_<secret>_<check>`: a prefix that scanners know, an 8-character public id, 256
random bits, and a CRC-32 that finds typing errors without a look-up; base 62 throughout, so that a
double click selects it whole. Only `digest` of it is stored: an HMAC-SHA-256 under the
installation's pepper. A slow hash is not needed for 256 random bits.
"""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from dataclasses import dataclass, field

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "aie"
_ID_LENGTH, _SECRET_LENGTH, _CHECK_LENGTH = 8, 43, 6
_FORM = re.compile(rf"{PREFIX}_([0-9A-Za-z]{{8}})_([0-9A-Za-z]{{43}})_([0-9A-Za-z]{{6}})", re.ASCII)
# The older system's tokens: 40 characters, generated as hex, but a person could type any.
OPEN_CALLS_DIGEST = "saga"
"""In place of a digest, which is hexadecimal: no secret has it, so that nobody can send one."""
_ELLIPSIS = "…"
_OLD_FORM = re.compile(r"[0-9A-Za-z]{40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made. `secret` is shown once; `prefix` may be shown for ever."""

    secret: str = field(repr=False)
    prefix: str


def make_token() -> NewToken:
    """A new random token."""
    public = "".join(secrets.choice(ALPHABET) for _ in range(_ID_LENGTH))
    secret = _base62(secrets.randbits(256), _SECRET_LENGTH)
    body = f"{PREFIX}_{public}_{secret}"
    return NewToken(f"{body}_{_checksum(body)}", f"{PREFIX}_{public}")


def is_token(text: str) -> bool:
    """Whether `text` has the form of a token, its checksum included."""
    return _FORM.fullmatch(text) is not None and _checksum(text[: -_CHECK_LENGTH - 1]) == text[-6:]


def is_old_token(text: str) -> bool:
    """Whether `text` has the form of the older system's tokens."""
    return _OLD_FORM.fullmatch(text) is not None


def old_token_prefix(text: str) -> str:
    """What of an imported token may be shown."""
    return f"{text[:4]}{_ELLIPSIS}{text[-4:]}"


def ends_of_old_token(prefix: str) -> tuple[str, str] | None:
    """How the imported token begins and ends that is shown so; None for a token of our own form."""
    beginning, found, end = prefix.partition(_ELLIPSIS)
    return (beginning, end) if found else None


def digest(pepper: bytes, secret: str | bytes) -> str:
    """What is stored of a secret: HMAC-SHA-256 under the pepper, in hex."""
    raw = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogateescape")
    return hmac.digest(pepper, raw, "sha256").hex()


def make_secret() -> str:
    """A random secret for links and cookies: 256 bits, url-safe."""
    return secrets.token_urlsafe(32)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    while number:
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits)).rjust(length, "0")
