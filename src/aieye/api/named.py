"""What is found in a path by its name as well as by its id. No name is a number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Path

from aieye.access import authored
from aieye.access.authored import AuthoredT
from aieye.api.deps import CurrentActor, CurrentState
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import Pipeline, Prompt
from aieye.errors import NotFound

Which = Annotated[
    str, Path(alias="id", max_length=100, description="Its id, or its name.", examples=["1"])
]


def _identify(table: type[AuthoredT]) -> Callable[..., Awaitable[int]]:
    async def row_id(which: Which, caller: CurrentActor, state: CurrentState) -> int:
        """The number of the row; whether `caller` may see it is asked with the row itself."""
        if which.isascii() and which.isdigit():
            if len(which) > len(str(LARGEST_ID)):
                raise NotFound(f"There is no {table.__tablename__.removesuffix('s')} {which[:20]}.")
            return int(which)
        async with state.database.read() as session:
            return await authored.get_id(session, table, which, actor=caller)

    return row_id


identify_prompt: Any = _identify(Prompt)
identify_pipeline: Any = _identify(Pipeline)
PromptId = Annotated[int, Depends(identify_prompt)]
PipelineId = Annotated[int, Depends(identify_pipeline)]
