"""Pipelines that call pipelines: never in a circle, and not too deep."""

from __future__ import annotations

from aieye.pipeline.language.catalogue import Catalogue
from aieye.pipeline.language.limits import MAX_PIPELINE_DEPTH


def find_cycle(callee: str, caller: str, catalogue: Catalogue) -> list[str] | None:
    """The shortest way from `callee` through `caller` back to it; None if there is none."""
    came_from: dict[str, str | None] = {callee: None}
    level = [callee]
    while level and caller not in came_from:
        following = []
        for name in level:
            for called in _calls(name, catalogue):
                if called not in came_from:
                    came_from[called] = name
                    following.append(called)
        level = following
    if caller not in came_from:
        return None
    way = [callee]
    step: str | None = caller
    while step is not None:
        way.append(step)
        step = came_from[step]
    return way[::-1]


def is_too_deep(callee: str, catalogue: Catalogue) -> bool:
    """Whether calling a pipeline calls pipelines more than 8 deep, itself counted."""
    level = {callee}
    for _ in range(MAX_PIPELINE_DEPTH):
        level = {called for name in level for called in _calls(name, catalogue)}
    return bool(level)


def _calls(name: str, catalogue: Catalogue) -> tuple[str, ...]:
    definition = catalogue.get(name)
    return () if definition is None else definition.calls
