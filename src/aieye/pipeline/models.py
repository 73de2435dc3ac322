"""A saved pipeline as the rest of the program sees it: frozen, without a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aieye.db.tables import Pipeline, PipelineVersion
from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.stored import read_arguments, read_diagnostics


@dataclass(frozen=True, slots=True)
class SavedPipeline:
    """A pipeline with one of its versions, `shown_version`.

    `version` is the newest, `served_version` the one that runs. `diagnostics` are those that the
    version was saved with, or, where it was asked for alone, those that it has now.
    """

    id: int
    name: str
    user_id: int
    shared: bool
    tags: Sequence[str]
    source: str
    arguments: tuple[Parameter, ...]
    diagnostics: tuple[Diagnostic, ...]
    shown_version: int
    version: int
    served_version: int
    labels: Mapping[str, int]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Pipeline, version: PipelineVersion, tags: Sequence[str]) -> SavedPipeline:
        return cls(
            id=row.id,
            name=row.name,
            user_id=row.user_id,
            shared=row.is_shared,
            tags=tags,
            source=version.source,
            arguments=read_arguments(version.arguments),
            diagnostics=read_diagnostics(version.diagnostics),
            shown_version=version.number,
            version=row.version,
            served_version=row.served_version,
            labels=row.labels,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
