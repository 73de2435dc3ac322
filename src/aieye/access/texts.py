"""The rules for what people write: names, labels, moments and secrets. Pure.

Both databases must take every accepted text alike: SQLite stores a NUL and any length, PostgreSQL
neither, and no driver encodes a lone surrogate. So all of them are refused here, with 422.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from aieye.errors import Unprocessable

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
LONGEST_SECRET = 4_000
# In every time zone these years are on the calendar: the last one of all is not east of Greenwich.
FIRST_YEAR, LAST_YEAR = 1970, 9998


def is_name(text: str) -> bool:
    """Whether `text` is a NAME: small letters, digits, `_` and `-`, at most 63."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str, *, param: str = "name") -> str:
    """`text`, which should be a NAME. Raises `Unprocessable`."""
    if not is_name(text):
        raise Unprocessable(
            f"A {param} has 1 to 63 of a-z, 0-9, _ and -, and starts with a letter or digit.",
            param=param,
        )
    return text


def check_label(text: str, *, longest: int, param: str = "name") -> str:
    """A line of printable text, trimmed, of 1 to `longest` characters. Raises `Unprocessable`."""
    label = text.strip()
    if not 1 <= len(label) <= longest or not label.isprintable():
        raise Unprocessable(
            f"{param} should have 1 to {longest} printable characters.", param=param
        )
    return label


def check_text(text: str, *, longest: int, param: str) -> str:
    """Text of several lines that both databases store. Raises `Unprocessable`."""
    if len(text) > longest:
        raise Unprocessable(f"{param} has {longest:,} characters at most.", param=param)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Unprocessable(f"{param} holds a character that cannot be stored.", param=param)
    return text


def check_models(models: Sequence[str] | None) -> list[str] | None:
    """The models that a token is limited to: None, or 1 to 100 names, each once."""
    if models is None:
        return None
    names = list(dict.fromkeys(check_label(name, longest=200, param="models") for name in models))
    if not 1 <= len(names) <= 100:
        raise Unprocessable("models should name 1 to 100 models, or be null.", param="models")
    return names


def check_moment(moment: datetime, *, param: str) -> datetime:
    """The moment in UTC, which must name its time zone and be one that can be read back anywhere.

    Microseconds hold years that no calendar does, and a calendar moments that not every time zone
    has: such a row could be written, and no list with it in it be read.
    Raises `Unprocessable`.
    """
    if moment.tzinfo is None:
        raise Unprocessable(f"{param} should name its time zone.", param=param)
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError as error:
        raise Unprocessable(f"{param} lies beyond the calendar.", param=param) from error
    if not FIRST_YEAR <= in_utc.year <= LAST_YEAR:
        raise Unprocessable(
            f"{param} should lie in the years {FIRST_YEAR} to {LAST_YEAR}.", param=param
        )
    return in_utc


def check_provider_secret(secret: str, *, param: str = "key") -> str:
    """A provider's key as it can stand in an HTTP header. Raises `Unprocessable`, never with it.

    It is refused rather than trimmed: a key that was cut or run together in pasting looks alike.
    """
    if not 1 <= len(secret) <= LONGEST_SECRET:
        raise Unprocessable(f"The key should have 1 to {LONGEST_SECRET} characters.", param=param)
    if any(char.isspace() or not char.isprintable() or char > "\xff" for char in secret):
        raise Unprocessable(
            "The key holds a space, a control character or a letter no HTTP header can carry.",
            param=param,
        )
    return secret
