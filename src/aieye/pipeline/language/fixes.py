"""What would put a finding right: texts to put in the place of others. Pure.

Only what is sure to be meant or is named by the finding itself: the names of "did you mean", a bracket
that was never closed, an invisible character written as its escape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aieye.pipeline.language.errors import Diagnostic

_MEANT: Final = re.compile(r"; did you mean (.+)\?\Z")
_CLOSERS: Final = {"(": ")", "[": "]", "{": "}"}
_QUOTED: Final = re.compile(r"'([A-Za-z_][A-Za-z0-9_]*)'")


@dataclass(frozen=True, slots=True)
class Fix:
    """`insert` for what stands from `start` up to `end`, in code points; `label` says so."""

    label: str
    start: int
    end: int
    insert: str


def fixes_of(found: Diagnostic, text: str) -> Sequence[Fix]:
    """The ways to put it right, the likeliest first; none is known of most findings."""
    if found.offset is None or found.length is None:
        return ()
    start, end = found.offset, found.offset + found.length
    if (meant := _MEANT.search(found.message)) is not None:
        names = _QUOTED.findall(meant[1])
        return [Fix(f"Change to “{name}”", start, end, name) for name in names]
    if found.code == "E102":
        return (_closed(text, _CLOSERS[text[start]]),)
    if found.code == "W610":
        escape = f"\\u{ord(text[start]):04x}"
        return (Fix(f"Write it as “{escape}”", start, end, escape),)
    if found.code == "W603":
        return (Fix("Call it: add “()”", end, end, "()"),)
    return ()


def _closed(text: str, closer: str) -> Fix:
    at = len(text.rstrip())
    # Behind a comment it would be a part of that.
    is_commented = "#" in text[:at].rpartition("\n")[2]
    return Fix(f"Close with “{closer}”", at, at, f"\n{closer}" if is_commented else closer)
