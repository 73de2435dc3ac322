"""A text against what its owner may use: the tree, what was found, and the canonical text. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from aieye.pipeline.language.analysis import Analysis, analyse
from aieye.pipeline.language.catalogue import Catalogue
from aieye.pipeline.language.errors import Diagnostic, InvalidPipeline
from aieye.pipeline.language.nodes import Pipeline
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.source import Source


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a text; without a tree it is none of the language's."""

    tree: Pipeline | None
    analysis: Analysis | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def arguments(self) -> list[str]:
        """The names of what it asks for, in order; none is known of a text without a tree."""
        found = () if self.analysis is None else self.analysis.arguments
        return [argument.name for argument in found]


def check(source: str, catalogue: Catalogue, name: str | None = None) -> Checked:
    """Look at a text, whatever it is. `name` is what it is or will be saved under."""
    tree: Pipeline | None = None
    try:
        tree = parse(source)
        analysis = analyse(tree, catalogue, name)
    except InvalidPipeline as error:
        return Checked(tree, None, error.diagnostics)
    return Checked(tree, analysis, analysis.diagnostics)


def check_valid(
    source: str, catalogue: Catalogue, name: str | None = None
) -> tuple[Pipeline, Analysis]:
    """The tree and what its names stand for. Raises `InvalidPipeline` with all that is wrong."""
    found = check(source, catalogue, name)
    tree, analysis = found.tree, found.analysis
    if tree is None or analysis is None or not analysis.is_valid:
        raise InvalidPipeline(*found.diagnostics, source=Source(source), name=name)
    return tree, analysis
