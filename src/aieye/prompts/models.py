"""A prompt as the rest of the program sees it: frozen, without a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aieye.db.tables import Prompt, PromptVersion
from aieye.prompts.content import Content


@dataclass(frozen=True, slots=True)
class SavedPrompt:
    """A prompt with the content of one of its versions, `shown_version`.

    `version` is the newest, `served_version` the one that runs.
    """

    id: int
    name: str
    user_id: int
    description: str
    shared: bool
    content: Content
    shown_version: int
    version: int
    served_version: int
    labels: Mapping[str, int]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Prompt, version: PromptVersion) -> SavedPrompt:
        return cls(
            id=row.id,
            name=row.name,
            user_id=row.user_id,
            description=row.description,
            shared=row.is_shared,
            content=content_of(version),
            shown_version=version.number,
            version=row.version,
            served_version=row.served_version,
            labels=row.labels,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def content_of(version: PromptVersion) -> Content:
    """What a version says."""
    return Content(version.body, version.model, version.params, version.json_mode, version.schema)


def fields_of(content: Content) -> dict[str, Any]:
    """What a version says beside its text."""
    return {
        "model": content.model,
        "params": dict(content.params),
        "json_mode": content.json_mode,
        "schema": content.schema,
    }
