"""The one name space of what pipelines call: functions, prompts, presets and pipelines.

A name is unique in the installation. Whoever registers, renames or deletes something calls
`bump_revision` first, so that of two who want a name at once the second sees the first's.
"""

from __future__ import annotations

import re
from typing import Literal

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.rows import insert_unique
from aieye.db.tables import CallableName
from aieye.errors import Conflict, Unprocessable

Kind = Literal["function", "prompt", "preset", "pipeline"]

# A NAME of the pipeline language, and the names that mean something there already.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
RESERVED = frozenset({"if", "try", "map", "reduce", "true", "false", "null"})


class NameTaken(Conflict):
    """Something has this name already; whose it is is not told."""

    code = "name_taken"

    def __init__(self) -> None:
        super().__init__("This name is taken already.", param="name")


def check_callable_name(name: str) -> str:
    """`name`, under which something is to be called. Raises `Unprocessable`."""
    if _NAME.fullmatch(name) is None:
        raise Unprocessable(
            "A name has 1 to 100 letters, digits and _, and does not start with a digit.",
            param="name",
        )
    if name in RESERVED:
        raise Unprocessable(f"'{name}' means something in pipelines already.", param="name")
    return name


async def find_holder(session: AsyncSession, name: str) -> tuple[str, int] | None:
    """The kind and id of what has this name."""
    found = await session.get(CallableName, name)
    return None if found is None else (found.kind, found.object_id)


async def take_name(session: AsyncSession, name: str, kind: Kind, object_id: int) -> None:
    """Give the object this name, and no other any more. Raises `NameTaken`."""
    await free_name(session, kind, object_id)
    row = CallableName(name=name, kind=kind, object_id=object_id)
    try:
        await insert_unique(session, row, clash="", param="name")
    except Conflict as error:
        raise NameTaken from error


async def free_name(session: AsyncSession, kind: Kind, object_id: int) -> None:
    """Let go of the object's name, which another may have from now on."""
    await session.execute(
        delete(CallableName).where(CallableName.kind == kind, CallableName.object_id == object_id)
    )
