"""How many tokens a text has: by rule of thumb, or exactly where a tokenizer is installed."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final, Protocol, cast

# The package refuses a million characters at once and 200,000 tokens; a character is 4 at most.
_COUNTED_SLICE: Final = 50_000
_MAX_COUNTED_CHARACTERS: Final = 400_000


def estimate_tokens(size: int) -> int:
    """Estimate the tokens of a text of `size` bytes of UTF-8: four bytes a token, rounded up.

    The rule of thumb is OpenAI's (four characters of English a token); taken by bytes it also holds
    roughly for scripts whose letters take two or three bytes and about a token each.
    """
    return (size + 3) // 4 if size > 0 else 0


def count_tokens(text: str) -> int:
    """Count the tokens of a text: exactly for OpenAI's newer models, or by `estimate_tokens`.

    Exact counts need the optional package `bpe_openai`; its tables take about 0.7 s and 140 MB at
    the first call, so it is never loaded unless it was installed on purpose.
    """
    encoding = _encoding()
    if encoding is None or len(text) > _MAX_COUNTED_CHARACTERS:
        return estimate_tokens(_utf8_size(text))
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


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
