"""What the values of a preset's fields may be. Pure.

A check gives back the value that is stored, or raises `Refused` with more on what is wrong, which
may be nothing to add.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Check = Callable[[Any], Any]

MOST_STOPS: Final = 4
LONGEST_LABEL: Final = 200
LONGEST_DOCUMENT: Final = 100_000
"""In characters: far more than any model embeds at once."""
_MOST_TOKENS_OF_PROMPTS: Final = 2**31 - 1


class Refused(ValueError):
    """The value is not one that is allowed."""


def shown(name: str) -> str:
    """Somebody's word in a message: on one line, and not for ever."""
    return repr(name[:60])


def is_storable(text: str) -> bool:
    """Whether both databases take it: no NUL, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused
    if not is_storable(value):
        raise Refused("it holds a character that cannot be stored")
    return value


def label(value: Any) -> str:
    found = text(value).strip()
    if not 1 <= len(found) <= LONGEST_LABEL or not found.isprintable():
        raise Refused
    return found


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused
    return value


def number(low: float, high: float) -> Check:
    """An int or a float from `low` to `high`; not true or false."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused
        if not low <= value <= high:
            raise Refused
        return value

    return check


def integer(low: int, high: int) -> Check:
    """An int from `low` to `high`; not true or false, and no 1.0."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Refused
        return value

    return check


def one_of(*allowed: str) -> Check:
    """One of these words."""

    def check(value: Any) -> str:
        if value not in allowed:
            raise Refused
        return str(value)

    return check


def _listed(value: Any, check: Check, most: int | None = None) -> list[Any]:
    if not isinstance(value, list):
        raise Refused
    if most is not None and len(value) > most:
        raise Refused(f"these are {len(value):,}")
    found = []
    for index, one in enumerate(value):
        try:
            found.append(check(one))
        except Refused as error:
            more = f": {error}" if str(error) else ""
            raise Refused(f"the one at {index} is not{more}") from error
    return found


def text_or_texts(value: Any) -> Any:
    return _listed(value, text) if isinstance(value, list) else text(value)


def stop(value: Any) -> Any:
    return _listed(value, _words, MOST_STOPS) if isinstance(value, list) else text(value)


def _words(value: Any) -> str:
    if text(value) == "":
        raise Refused("it is empty")
    return str(value)


def prompt(value: Any) -> Any:
    """Text, texts, or lists of tokens; not some of each."""
    if not isinstance(value, list):
        return text(value)
    if value and isinstance(value[0], list):
        return _listed(value, _tokens)
    return _listed(value, text)


def _tokens(value: Any) -> list[int]:
    found = _listed(value, integer(0, _MOST_TOKENS_OF_PROMPTS))
    if not found:
        raise Refused("it is empty")
    return found


def documents(most: int) -> Check:
    """Texts to search, none of them empty."""

    def check(value: Any) -> list[str]:
        return _listed(value, document, most)

    return check


def document(value: Any) -> str:
    """One text to search."""
    if not text(value).strip():
        raise Refused("it is empty")
    if len(value) > LONGEST_DOCUMENT:
        raise Refused(f"it has more than {LONGEST_DOCUMENT:,} characters")
    return str(value)


def names(value: Any) -> list[str]:
    return list(dict.fromkeys(_listed(value, label, 100)))


def json_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused
    return value


def objects(value: Any) -> list[dict[str, Any]]:
    return _listed(value, json_object)


def messages(value: Any) -> list[dict[str, Any]]:
    return _listed(value, _message)


def _message(value: Any) -> dict[str, Any]:
    if not isinstance(json_object(value).get("role"), str):
        raise Refused("it has no role")
    return dict(value)
