"""The difference of two texts, line by line, in time that is bounded. Pure."""

from __future__ import annotations

from difflib import unified_diff
from typing import Final

# What the comparison of two texts may cost; beyond it what differs is shown as a whole.
_MOST_PAIRS: Final = 1_000_000


def text_difference(old: str, new: str, old_name: str, new_name: str) -> str:
    """A unified difference; empty when they are the same."""
    before, after = old.splitlines(), new.splitlines()
    if old == new:
        return ""
    if len(before) * len(after) <= _MOST_PAIRS:
        lines = list(unified_diff(before, after, old_name, new_name, lineterm=""))
        # What ends a line is none of the text's lines: they may differ in nothing else.
        return "\n".join(lines or [f"--- {old_name}", f"+++ {new_name}"]) + "\n"
    same = _common(before, after)
    same_end = _common(before[same:][::-1], after[same:][::-1])
    removed = before[same : len(before) - same_end]
    added = after[same : len(after) - same_end]
    head = f"@@ -{same + 1},{len(removed)} +{same + 1},{len(added)} @@"
    shown = [f"--- {old_name}", f"+++ {new_name}", head]
    shown += [f"-{line}" for line in removed] + [f"+{line}" for line in added]
    return "\n".join(shown) + "\n"


def _common(one: list[str], other: list[str]) -> int:
    """How many lines they begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
