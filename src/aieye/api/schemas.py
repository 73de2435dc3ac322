"""What the resources' models share: kinds of fields, errors, examples in the document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from aieye.db.rows import LARGEST_ID

Answers = dict[int | str, dict[str, Any]]


class WriteModel(BaseModel):
    """A request's body. A field that is not declared is refused, never ignored or stored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Defaults in words: generators for TypeScript take a field with one for a required one."""
        schema = handler(core_schema)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            if (default := field.pop("default", None)) is not None:
                said = f"`{orjson.dumps(default).decode()}` if left out."
                field["description"] = f"{field.get('description', '')} {said}".strip()
        return schema


class View(BaseModel):
    """What is shown of a row: these fields and no others."""

    model_config = ConfigDict(from_attributes=True)


class Deleted(View):
    """The object is gone."""

    id: int
    deleted: Literal[True] = True


class ErrorDetail(BaseModel):
    """What went wrong, as OpenAI's API says it."""

    message: str = Field(examples=["name: Field required"])
    type: str = Field(examples=["invalid_request_error"])
    code: str | None = Field(examples=["unprocessable"])
    param: str | None = Field(description="The field that is wrong.", examples=["name"])


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


def refuse_controls(text: str) -> str:
    """Raises `ValueError`. A NUL, for one, cannot be asked of PostgreSQL."""
    if not text.isprintable():
        raise ValueError("should hold printable characters only")
    return text


# Numbers that the id columns of both databases hold.
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
PathId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, examples=[1])]
# Text that services check and trim; here only its size is bounded, for the document's sake.
Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(refuse_controls)]


def omittable(**more: Any) -> Any:
    """A field that a PATCH may leave out, but not set to null unless its type says so.

    Only what was sent is looked at (`exclude_unset`), so the default has no meaning of its own.
    """
    return Field(default=None, **more)


def answers(example: dict[str, Any], *errors: int, status: int = 200) -> Answers:
    """The `responses` of an operation: an example of success, and which errors may come.

    FastAPI drops nulls from examples, which then would not fit their schema: show values.
    """
    content = {"application/json": {"example": example}}
    return {status: {"content": content}, **error_answers(*errors)}


def error_answers(*statuses: int) -> Answers:
    """The `responses` that are errors.

    By reference, and not as a model: FastAPI would build a validator of each answer of each route,
    some five hundred alike, none of which is ever used.
    """
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    return {status: {"content": content} for status in statuses}


def page_example(example: dict[str, Any]) -> dict[str, Any]:
    """A list with one element, and more behind it."""
    return {"object": "list", "data": [example], "has_more": True, "next_cursor": "aTE"}
