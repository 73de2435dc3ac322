"""A saved pipeline as it means what it meant when it was saved, with what its callees are now.

Names are not looked up again: what was bound by kind and id is found by them, and its arguments go
where they went. What is gone, or asks for other parameters by now, is a diagnostic at its callee.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Pipeline as PipelineRow
from aieye.db.tables import PipelineVersion
from aieye.pipeline.apart import apart, is_large
from aieye.pipeline.catalogue import definitions_of
from aieye.pipeline.known_functions import KnownFunctions
from aieye.pipeline.language.analysis import Analysis, Binding
from aieye.pipeline.language.catalogue import FORMS, Catalogue, Definition
from aieye.pipeline.language.errors import Diagnostic, Fault, InvalidPipeline
from aieye.pipeline.language.limits import MAX_DIAGNOSTICS
from aieye.pipeline.language.nodes import Pipeline
from aieye.pipeline.language.parser import parse
from aieye.pipeline.stored import (
    Reference,
    StoredBinding,
    read_arguments,
    read_bindings,
    read_diagnostics,
    references_of,
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A version of a pipeline, ready to be lowered unless its diagnostics hold an error."""

    id: int
    name: str
    user_id: int
    version: int
    tree: Pipeline
    analysis: Analysis

    def require_valid(self) -> Resolved:
        """Itself. Raises `InvalidPipeline` when it cannot run any more."""
        if not self.analysis.is_valid:
            raise InvalidPipeline(*self.analysis.diagnostics)
        return self


async def resolve(
    session: AsyncSession, functions: Catalogue, row: PipelineRow, version: PipelineVersion
) -> Resolved:
    """The version of the pipeline, resolved with its owner's rights."""
    bindings = read_bindings(version.bindings)
    found = await definitions_of(session, functions, row.user_id, references_of(bindings))
    tree = await apart(is_large(version.source), parse, version.source)
    errors = [Diagnostic.at(fault, tree.source) for fault in faults_of(bindings, found, functions)]
    warnings = read_diagnostics(version.diagnostics)
    diagnostics = sorted((*errors, *warnings)[:MAX_DIAGNOSTICS], key=lambda one: one.offset or 0)
    current = {
        one.at: Binding(definition, one.parameters)
        for one in bindings
        if (definition := _definition(one, found)) is not None
    }
    analysis = Analysis(read_arguments(version.arguments), current, tuple(diagnostics))
    return Resolved(row.id, row.name, row.user_id, version.number, tree, analysis)


def faults_of(
    bindings: Iterable[StoredBinding], found: Mapping[Reference, Definition], functions: Catalogue
) -> list[Fault]:
    """What keeps callees from being called as they were when the pipeline was saved."""
    why = functions.faults if isinstance(functions, KnownFunctions) else {}
    return [fault for one in bindings for fault in _faults(one, _definition(one, found), why)]


def _definition(binding: StoredBinding, found: Mapping[Reference, Definition]) -> Definition | None:
    if binding.reference is None:
        return FORMS[binding.name]
    return found.get(binding.reference)


def _faults(
    binding: StoredBinding, definition: Definition | None, why: Mapping[str, str]
) -> Iterator[Fault]:
    """What keeps a callee from being called as it was when the pipeline was saved.

    `why` says of registered functions what keeps them from being called at all.
    """
    name, start = binding.name, binding.at
    end = start + len(name)
    if definition is None:
        yield Fault("E201", _gone(binding, why), start, end)
    elif definition.kind != "form":
        for parameter in binding.parameters:
            if parameter not in definition.by_name:
                message = f"'{name}' has no parameter '{parameter}' any more"
                yield Fault("E303", message, start, end)
        missing = sorted(definition.required.difference(binding.parameters))
        if missing:
            listed = ", ".join(f"'{parameter}'" for parameter in missing)
            message = f"'{name}' has changed and asks for {listed} too"
            yield Fault("E301", message, start, end, "save the pipeline with that argument")


def _gone(binding: StoredBinding, why: Mapping[str, str]) -> str:
    if binding.kind == "function":
        if (fault := why.get(binding.name)) is not None:
            return f"the function '{binding.name}' cannot be called: {fault}"
        return f"the function '{binding.name}' is not registered any more"
    return f"the {binding.kind} '{binding.name}' is gone, or not shared any more"
