"""How many tokens a text has: by rule of thumb, or exactly where a tokenizer is installed."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final, Protocol, cast

# The package refuses a million characters at once and 200,000 tokens; a character is 4 at most.
_COUNTED_SLICE: Final = 50_000
_MAX_COUNTED_CHARACTERS: Final = 400_000


# The first bytes of letters that UTF-8 writes with two: Cyrillic, Greek, Arabic, Hebrew, accents.
TWO_BYTE_LEADS: Final = bytes(range(0xC2, 0xE0))


def utf8_size(text: bytes) -> int:
    """The size of a text by which its tokens are estimated.

    It is characters for alphabets, whose tokens are several letters, and bytes for scripts of three
    bytes a character and more, Chinese and Japanese above all, whose tokens are about one.
    """
    return len(text) if text.isascii() else len(text.translate(None, TWO_BYTE_LEADS))


def text_size(text: str) -> int:
    """`utf8_size` of a text; it may hold half surrogate pairs."""
    return len(text) if text.isascii() else utf8_size(text.encode("utf-8", "surrogatepass"))


def estimate_tokens(size: int) -> int:
    """Estimate the tokens of a text of `size` (`text_size`): four a token, rounded up.

    The rule of thumb is OpenAI's (four characters of English a token). Of one text in eleven
    languages, counted with the tokenizer of its newer models, it made 0.6 to 1.5 times the tokens, and
    2.4 times for Hindi; by bytes alone Russian came to 1.8, by characters alone Chinese to 0.3.
    """
    return (size + 3) // 4 if size > 0 else 0


def count_tokens(text: str) -> int:
    """Count the tokens of a text: exactly for OpenAI's newer models, or by `estimate_tokens`.

    Exact counts need the optional package `bpe_openai`; its tables take about 0.7 s and 140 MB at
    the first call, so it is never loaded unless it was installed on purpose.
    """
    encoding = _encoding()
    if encoding is None or len(text) > _MAX_COUNTED_CHARACTERS:
        return estimate_tokens(text_size(text))
    return sum(
        len(encoding.encode_ordinary(text[start : start + _COUNTED_SLICE]))
        for start in range(0, len(text), _COUNTED_SLICE)
    )


class _Encoding(Protocol):
    """What is used of `bpe_openai.Encoding`."""

    def encode_ordinary(self, text: str) -> list[int]: ...


@cache
def _encoding() -> _Encoding | None:
    """Return the tokenizer of OpenAI's newer models, None when the package is not installed."""
    try:
        package: Any = importlib.import_module("bpe_openai")
    except ImportError:
        return None
    return cast(_Encoding, package.get_encoding("o200k_base"))
