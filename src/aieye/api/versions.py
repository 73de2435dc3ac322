"""The routes about the versions of what pipelines call, the same of prompts as of pipelines.

A resource says in a `Versioned` how its own are read, changed and shown.
"""
# No postponed annotations here: the handlers are made for a resource, and some of theirs are its own.

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.access.names import Kind
from aieye.access.uses import find_dependants
from aieye.api.authored import (
    BaseVersion,
    Dependants,
    Difference,
    Force,
    HeadVersion,
    LabelWrite,
    RollBack,
    difference_of,
)
from aieye.api.deps import Changing, CurrentActor, CurrentState, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.schemas import Answers, PathId, View, answers, page_example
from aieye.state import State


class Saved(Protocol):
    """Something as one of its versions says."""

    @property
    def id(self) -> int: ...

    @property
    def shown_version(self) -> int: ...


SavedT = TypeVar("SavedT", bound=Saved)


async def path_id(object_id: PathId) -> int:
    """The id in the path."""
    return object_id


class Versioned(ABC, Generic[SavedT]):
    """A resource whose objects have versions, labels and pipelines that call them.

    Its methods raise what its service raises: `NotFound`, `Forbidden`, `Unprocessable`.
    """

    kind: ClassVar[Kind]
    view: ClassVar[type[View]]
    page: ClassVar[type[Page[Any]]]
    example: ClassVar[dict[str, Any]]
    refusals: ClassVar[Answers] = {}
    """What a version that cannot run any more is refused with."""

    identify: ClassVar[Any] = staticmethod(path_id)
    """The dependency that finds which one is meant; it gives the number of its row."""

    @abstractmethod
    async def get(
        self, state: State, session: AsyncSession, row_id: int, caller: Actor, version: int | None
    ) -> SavedT:
        """One of the versions, the newest for None."""

    @abstractmethod
    async def list_versions(
        self, session: AsyncSession, row_id: int, caller: Actor, *, after: int | None, limit: int
    ) -> Sequence[SavedT]:
        """The versions in order, those behind the number `after`."""

    @abstractmethod
    async def roll_back(
        self,
        state: State,
        session: AsyncSession,
        row_id: int,
        caller: Actor,
        version: int,
        *,
        force: bool,
    ) -> SavedT:
        """Make a new version that says what `version` does; with `force` although callers fail."""

    @abstractmethod
    async def label(
        self,
        state: State,
        session: AsyncSession,
        row_id: int,
        caller: Actor,
        body: LabelWrite,
        *,
        force: bool,
    ) -> SavedT:
        """Let a label name a version, or none; with `force` although callers fail."""

    @abstractmethod
    def show(self, saved: SavedT) -> View:
        """As it is answered."""

    @abstractmethod
    def compared(self, saved: SavedT) -> tuple[str, Mapping[str, Any]]:
        """What a version says: a text, compared line by line, and fields."""


def add_version_routes(router: APIRouter, resource: Versioned[SavedT]) -> None:
    """Add `/{id}/versions`, `/diff`, `/rollback`, `/labels` and `/dependants` to a resource."""
    kind, example = resource.kind, resource.example
    changed: Answers = {**answers(example, 404, 409), **resource.refusals}
    Identified = Annotated[int, Depends(resource.identify)]  # noqa: N806 # a type

    @router.get(
        "/{id}/versions", operation_id=f"{kind}s_list_versions",
        summary=f"List a {kind}'s versions", response_model=resource.page,
        responses=answers(page_example(example), 404),
    )  # fmt: skip
    async def list_versions(
        caller: CurrentActor, row_id: Identified, session: Reading, page: CurrentPaging
    ) -> Page[Any]:
        """As each version says, the oldest first."""
        rows = await resource.list_versions(
            session, row_id, caller, after=page.after_id(), limit=page.fetch
        )
        return resource.page.of(rows, page, key=lambda saved: saved.shown_version)

    @router.get(
        "/{id}/diff", operation_id=f"{kind}s_diff", summary=f"Compare two versions of a {kind}",
        responses=answers(Difference.EXAMPLE, 404),
    )  # fmt: skip
    async def diff(
        caller: CurrentActor, row_id: Identified, state: CurrentState, session: Reading,
        base: BaseVersion = None, head: HeadVersion = None,
    ) -> Difference:  # fmt: skip
        """What differs, the text line by line."""
        other = await resource.get(state, session, row_id, caller, head)
        older = base or max(1, other.shown_version - 1)
        one = await resource.get(state, session, row_id, caller, older)
        return difference_of(
            (one.shown_version, *resource.compared(one)),
            (other.shown_version, *resource.compared(other)),
        )

    @router.post(
        "/{id}/rollback", operation_id=f"{kind}s_roll_back", summary=f"Roll a {kind} back",
        response_model=resource.view, responses=changed,
    )  # fmt: skip
    async def roll_back(
        caller: CurrentActor, row_id: Identified, body: RollBack, state: CurrentState,
        session: Changing, force: Force = False,
    ) -> View:  # fmt: skip
        """Makes a new version that says, and means, what an older one does."""
        return resource.show(
            await resource.roll_back(state, session, row_id, caller, body.version, force=force)
        )

    @router.post(
        "/{id}/labels", operation_id=f"{kind}s_label", summary=f"Label a version of a {kind}",
        response_model=resource.view, responses=changed,
    )  # fmt: skip
    async def label(
        caller: CurrentActor, row_id: Identified, body: LabelWrite, state: CurrentState,
        session: Changing, force: Force = False,
    ) -> View:  # fmt: skip
        """A label names one version. The one that is called `production` is the one that runs."""
        return resource.show(
            await resource.label(state, session, row_id, caller, body, force=force)
        )

    @router.get(
        "/{id}/dependants", operation_id=f"{kind}s_list_dependants", summary=f"Who calls a {kind}",
        responses=answers(Dependants.EXAMPLE, 404),
    )  # fmt: skip
    async def list_dependants(
        caller: CurrentActor, row_id: Identified, state: CurrentState, session: Reading
    ) -> Dependants:
        """The pipelines that call it, as far as you may see them; `hidden` counts the others."""
        await resource.get(state, session, row_id, caller, None)
        return Dependants.of(await find_dependants(session, kind, row_id), caller)
