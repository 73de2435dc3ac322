"""What a pipeline's text may go on with: the callables whose names begin so, as its editor offers them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.pipeline.catalogue import definitions_like
from aieye.pipeline.language.catalogue import FORMS, Catalogue, Definition, Parameter
from aieye.pipeline.language.printer import format_type

_ABOUT_FORMS: Final = {
    "if": "Only the branch that is taken is computed.",
    "try": "The fallback, where a step of the value failed.",
    "map": "Calls the function for each item, side by side.",
    "reduce": "Calls the function with what there is so far and each item.",
}


async def find_callables(
    session: AsyncSession,
    functions: Catalogue,
    owner_id: int,
    *,
    prefix: str = "",
    name: str = "",
    limit: int,
) -> Sequence[Definition]:
    """What the owner may call whose names begin with `prefix`, or the one that is called `name`."""
    known: Iterable[Definition] = (*FORMS.values(), *functions.values())
    if name:
        found = [one for one in known if one.name == name]
        return found or await definitions_like(session, owner_id, name, is_whole=True, limit=1)
    here = sorted((one for one in known if one.name.startswith(prefix)), key=_by_name)
    others = await definitions_like(session, owner_id, prefix, limit=limit)
    return [*others, *here][:limit]


def describe_callable(definition: Definition, doc: str) -> dict[str, Any]:
    """A callable as the editor shows it; `doc` is what its author says of it."""
    about = _ABOUT_FORMS.get(definition.name, doc.strip().partition("\n")[0])
    return {
        "name": definition.name,
        "kind": definition.kind,
        "signature": signature_of(definition.name, definition.parameters),
        "about": about,
        "parameters": [
            {
                "name": one.name,
                "type": None if one.type is None else format_type(one.type),
                "required": one.is_required,
            }
            for one in definition.parameters
        ],
    }


def signature_of(name: str, parameters: Sequence[Parameter]) -> str:
    """A callable as a pipeline would call it: `split(s: str, separator: str? = null)`."""
    return f"{name}({', '.join(map(_parameter, parameters))})"


def _parameter(one: Parameter) -> str:
    typed = one.name if one.type is None else f"{one.name}: {format_type(one.type)}"
    return typed if one.is_required else f"{typed} = {json.dumps(one.default, ensure_ascii=False)}"


def _by_name(definition: Definition) -> str:
    return definition.name
