"""Which model embeds texts. Vectors of one model at one provider are a space: only those compare. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from aieye.access.snapshot import Grant, ProviderInfo, Snapshot
from aieye.gateway.routing import Candidate, ModelNotAllowed, is_allowed, resolve

# Names of models that embed, behind whatever publisher stands in front. Prices do not tell: lists
# have retired models of completions with a price for input alone, as embeddings have.
_EMBEDS: Final = re.compile(
    r"""(?: .*embed | (?:.*/)?(?:
        text-(?:similarity|search)- | voyage-[0-9a-z] | bge-(?!reranker) | e5- | gte- | uae- |
        multilingual-e5 | all-(?:minilm|mpnet) | paraphrase- | nomic-bert | jina-(?:clip|colbert) |
        instructor- | sentence-t5 | granite-emb | titan-emb ))""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Space:
    """A model at a provider. `asked` is the name that calls go there by, as `grant` asks for it."""

    provider: ProviderInfo
    model: str
    asked: str
    grant: Grant

    @property
    def key(self) -> tuple[int, str]:
        """What tells two spaces apart."""
        return self.provider.id, self.model


def embeds(model: str) -> bool:
    """Whether a model's name says that it embeds."""
    return _EMBEDS.match(model) is not None


def space_of(snapshot: Snapshot, grant: Grant, engine: str, search_model: str) -> Space:
    """The space of a search: of `engine`, or of `search_model` where that does not embed.

    An alias is what it stands for. Raises what `resolve` does.
    """
    # What a token is limited to holds for the model that is asked in the end.
    free = replace(grant, models=None)
    asked, found = engine, _first(snapshot, free, engine)
    if not embeds(found.model or engine):
        asked, found = search_model, _first(snapshot, free, search_model)
    if grant.models is not None and not is_allowed(asked, grant.models):
        raise ModelNotAllowed(f"This token may not use the model {asked[:100]!r}.", param="model")
    model = found.model or asked
    if asked in snapshot.routes:
        # Of an alias's targets one is asked, always the same: others' vectors do not compare.
        asked = f"{found.provider.name}/{model}"
    return Space(found.provider, model, asked, free)


def _first(snapshot: Snapshot, grant: Grant, model: str) -> Candidate:
    candidates = resolve(snapshot, grant, model)
    route = snapshot.routes.get(model)
    if route is not None and route.is_weighted:
        # They come in an order by chance.
        return min(candidates, key=lambda one: (one.provider.id, one.model or ""))
    return candidates[0]
