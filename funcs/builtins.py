"""The built-in functions of the pipeline language. Plain functions: values in, a value out."""

from __future__ import annotations


def identity(x: object) -> object:
    """The value itself."""
    return x


def uppercase(s: str) -> str:
    """The text in capitals."""
    return s.upper()


def lowercase(s: str) -> str:
    """The text in small letters."""
    return s.lower()
