"""How strings are written: read with all their escapes, written in one way.

STRING  = '"' … '"' | "'" … "'"
escape  = "\\" ( '"' | "'" | "\\" | "/" | b f n r t | u + 4 hex )
"""

from __future__ import annotations

import json
import re
from typing import Final

from aieye.pipeline.language.errors import Fault

HIDDEN: Final = re.compile("[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Characters that show nothing or turn the text round: W610, and escapes in the canonical form."""

_PLAIN: Final = re.compile("[^\\\\\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]*+")
_ESCAPE: Final = re.compile(
    r"""\\(?:(["'\\/bfnrt])"""
    r"|u([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u((?![dD][89a-fA-F])[0-9a-fA-F]{4}))"
)
_BROKEN_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,4}|.)")
_SIMPLE: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class BrokenString(Exception):
    """A string that stands for nothing; `fault` says where."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def unquote(token: str, start: int) -> str:
    """The value of a string token that starts at `start`.

    Raises `BrokenString`: E003 for an escape that is none, half of a surrogate pair included; E001
    for a control character or half of a pair as such.
    """
    end = len(token) - 1
    if "\\" not in token and token.isprintable():
        return token[1:end]
    plain = _PLAIN.match(token, 1, end)
    assert plain is not None  # it may be empty
    if plain.end() == end:
        return plain[0]
    parts = [plain[0]]
    at = plain.end()
    while at < end:
        escape = _ESCAPE.match(token, at, end)
        if escape is None:
            raise BrokenString(_fault(token, at, end, start))
        parts.append(_value(escape))
        plain = _PLAIN.match(token, escape.end(), end)
        assert plain is not None
        parts.append(plain[0])
        at = plain.end()
    return "".join(parts)


def quote(value: str) -> str:
    """The canonical form: double quotes, JSON's escapes, non-ASCII kept unless it is `HIDDEN`."""
    quoted = json.dumps(value, ensure_ascii=False)
    return quoted if quoted.isascii() else HIDDEN.sub(_escaped, quoted)


def code_point(character: str) -> str:
    """`U+0440`, for a character that had better not be shown."""
    return f"U+{ord(character):04X}"


def _value(escape: re.Match[str]) -> str:
    simple, pair, single = escape.groups()
    if simple is not None:
        return _SIMPLE.get(simple, simple)
    if single is not None:
        return chr(int(single, 16))
    high, low = int(pair[:4], 16), int(pair[6:], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _fault(token: str, at: int, end: int, start: int) -> Fault:
    escape = _BROKEN_ESCAPE.match(token, at, end)
    if escape is None:
        message = f"unexpected character {code_point(token[at])} in a string"
        return Fault("E001", message, start + at, start + at + 1)
    is_half = len(escape[0]) == len("\\uXXXX")
    message = "half of a surrogate pair" if is_half else "invalid escape"
    return Fault("E003", f"{message} in a string", start + at, start + escape.end())


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
