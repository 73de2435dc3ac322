"""The difference of two texts, line by line, in time that is bounded. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher, unified_diff
from typing import Any, Final

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


def line_steps(
    before: Sequence[str], after: Sequence[str]
) -> Sequence[tuple[str, int, int, int, int]]:
    """How the lines `before` become those `after`, as `SequenceMatcher.get_opcodes` says it."""
    if len(before) * len(after) <= _MOST_PAIRS:
        return SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    same = _common(before, after)
    end = _common(before[same:][::-1], after[same:][::-1])
    old, new = len(before) - end, len(after) - end
    steps = [
        ("equal", 0, same, 0, same),
        ("replace", same, old, same, new),
        ("equal", old, len(before), new, len(after)),
    ]
    return [step for step in steps if step[1] < step[2] or step[3] < step[4]]


def changed_fields(
    base: Mapping[str, Any], head: Mapping[str, Any]
) -> Sequence[tuple[str, Any, Any]]:
    """The fields of different values: the name, and the value in each, None where it is not there."""
    return [
        (name, base.get(name), head.get(name))
        for name in {**base, **head}
        if base.get(name) != head.get(name)
    ]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines they begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
