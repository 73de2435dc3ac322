"""Arguments that a run was given and nothing asks for: they are ignored, and that is said. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.suggest import Spelling

_MOST_NAMED: Final = 20
_LONGEST_NAME: Final = 100


def ignored_arguments(parameters: Iterable[Parameter], given: Iterable[str]) -> Sequence[str]:
    """A sentence for each name that is not asked for, with the one that may have been meant."""
    asked, names = {one.name for one in parameters}, set(given)
    left = Spelling(asked - names)
    unknown = sorted(names - asked)[:_MOST_NAMED]
    return [
        f"not asked for: '{name[:_LONGEST_NAME]}'{left.did_you_mean(name[:_LONGEST_NAME])}"
        for name in unknown
    ]
