"""What `/api/v1/prompts` and `/api/v1/pipelines` share: names, labels, differences, dependants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from fastapi import Query
from pydantic import AfterValidator, ConfigDict, Field

from aieye.access.audit import Actor
from aieye.access.uses import Dependant, visible_to
from aieye.api.schemas import Label, View, WriteModel, refuse_controls
from aieye.db.rows import LARGEST_ID
from aieye.prompts.difference import changed_fields, text_difference

CallableName = Annotated[
    str,
    Field(
        min_length=1, max_length=100, description="Letters, digits and `_`, as pipelines call it."
    ),
    AfterValidator(refuse_controls),
]
VersionNumber = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Force = Annotated[
    bool,
    Query(description="Go on although pipelines call it that fail then or lose its name."),
]
BaseVersion = Annotated[
    VersionNumber | None, Query(description="The one before `head` if left out.")
]
HeadVersion = Annotated[VersionNumber | None, Query(description="The newest if left out.")]


class LabelWrite(WriteModel):
    """A label and the version that it is to name, or null to take it away."""

    label: Annotated[Label, Field(max_length=63)]
    version: VersionNumber | None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"label": "production", "version": 1}]}
    )


class RollBack(WriteModel):
    """The version to go back to."""

    version: VersionNumber

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1}]})


class DependantView(View):
    """A pipeline that calls it, by the newest such version that may run."""

    id: int
    name: str
    user_id: int
    version: int


class Dependants(View):
    """The pipelines that call something; `hidden` ones belong to others."""

    data: list[DependantView]
    hidden: int

    @classmethod
    def of(cls, found: Sequence[Dependant], caller: Actor) -> Dependants:
        """Those that `caller` may see, and how many more there are."""
        shown = visible_to(caller, found)
        views = [DependantView.model_validate(one) for one in shown]
        return cls(data=views, hidden=len(found) - len(shown))

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "data": [{"id": 14, "name": "greet", "user_id": 1, "version": 3}],
        "hidden": 0,
    }


class Change(View):
    """A field that two versions have different values of."""

    field: str
    base: Any
    head: Any


class Difference(View):
    """What differs between the versions `base` and `head`: their texts line by line, and fields."""

    base: int
    head: int
    text: str = Field(description="A unified difference; empty if the texts are the same.")
    changes: list[Change]

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "base": 1,
        "head": 2,
        "text": "--- version 1\n+++ version 2\n@@ -1 +1 @@\n-Hey {buddy}\n+Hello {buddy}\n",
        "changes": [{"field": "model", "base": "gpt-4o-mini", "head": "gpt-4o"}],
    }


Version = tuple[int, str, Mapping[str, Any]]
"""A version's number, its text, and what else it says."""


def difference_of(base: Version, head: Version) -> Difference:
    """What differs between two versions of the same thing."""
    number, text, fields = base
    other_number, other_text, other_fields = head
    return Difference(
        base=number,
        head=other_number,
        text=text_difference(text, other_text, f"version {number}", f"version {other_number}"),
        changes=[
            Change(field=name, base=one, head=other)
            for name, one, other in changed_fields(fields, other_fields)
        ],
    )
