"""A preset as the rest of the program sees it: frozen, without a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from aieye.db.tables import Preset as PresetRow
from aieye.db.tables import PresetVersion
from aieye.presets.fields import PresetType

__all__ = ["Preset", "PresetType"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset with the configuration of one of its versions, `version`.

    `newest` is the newest, `served_version` the one that runs. `uid` are the 20 characters by which
    it is called. `is_callable` says that it holds its name, so that `preset/NAME` and pipelines mean
    it. `config` is checked, its defaults filled in (`aieye.presets.fields`), and never holds the
    documents of a search: those are a text of their own, `documents_id` (`aieye.presets.documents`),
    the same for the same documents; None where there are none.
    """

    id: int
    uid: str
    name: str
    type: PresetType
    config: Mapping[str, Any]
    user_id: int
    shared: bool
    is_callable: bool
    version: int
    newest: int
    served_version: int
    labels: Mapping[str, int]
    documents_id: str | None
    # Of a search preset, 0 when its callers bring the documents; None of any other.
    document_count: int | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: PresetRow, version: PresetVersion) -> Preset:
        return cls(
            id=row.id,
            uid=row.uid,
            name=row.name,
            type=cast(PresetType, row.type),
            config=version.config,
            user_id=row.user_id,
            shared=row.is_shared,
            is_callable=row.is_callable,
            version=version.number,
            newest=row.version,
            served_version=row.served_version,
            labels=row.labels,
            documents_id=version.documents_id,
            document_count=version.document_count,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    @property
    def shown_version(self) -> int:
        """The version whose configuration this is."""
        return self.version

    @property
    def counted_as(self) -> tuple[int, int]:
        """What its calls are summed under in the ledger: the preset and its version."""
        return self.id, self.version

    @property
    def model(self) -> str:
        """The model that it asks, as its configuration names it."""
        name = self.config["engine_id" if self.type in {"completion", "search"} else "model"]
        return cast(str, name)

    def may_be_used_by(self, user_id: int | None, *, is_administrator: bool) -> bool:
        """Whether it is theirs or shared; administrators may use everything."""
        return self.shared or is_administrator or self.user_id == user_id
