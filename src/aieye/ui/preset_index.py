"""How far a search's documents are embedded, as pages tell it."""

from __future__ import annotations

from dataclasses import dataclass

from aieye.access.grants import grant_of_user
from aieye.errors import AieyeError
from aieye.presets.embedding import Payer
from aieye.presets.models import Preset
from aieye.presets.search import Progress
from aieye.ui.session import Visitor


@dataclass(frozen=True, slots=True)
class Index:
    """How many have vectors, of which model at which provider; `error` is why that cannot be told."""

    progress: Progress
    model: str = ""
    provider: str = ""
    error: str = ""

    @property
    def is_going_on(self) -> bool:
        return self.progress.state == "indexing"


def payer_of(visitor: Visitor) -> Payer:
    """Whoever looks, who pays for what is embedded."""
    return Payer(grant_of_user(visitor.user_id, visitor.actor.label, visitor.signed_in.role))


async def index_of(visitor: Visitor, preset: Preset) -> Index:
    """The state of the preset's documents. Nothing is asked of a provider by that."""
    search = visitor.state.search
    try:
        space = search.space(preset, payer_of(visitor))
        progress = await search.progress(preset, space)
    except AieyeError as error:
        return Index(Progress(0, preset.document_count or 0, "waiting"), error=error.message)
    return Index(progress, space.model, space.provider.name, progress.error or "")
