"""The models that a caller is told of: the provider's, and those that AI-Eye offers beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from aieye.access.directory import Directory
from aieye.access.routes import KEPT_PREFIXES
from aieye.access.snapshot import Grant
from aieye.gateway.references import read_answer
from aieye.gateway.routing import ModelNotAllowed, ModelNotFound, is_allowed

Model = dict[str, Any]
ExtraModels = Callable[[Grant], list[Model]]


class ModelList:
    """What `/v1/models` answers."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # Aliases, and what others add.
        self.extra: list[ExtraModels] = [self._aliases]

    def find_own(self, grant: Grant, name: str) -> Model | None:
        """The model of that name if AI-Eye itself offers it.

        Raises `ModelNotAllowed`, and `ModelNotFound` for a name that only AI-Eye could offer.
        """
        if grant.models is not None and not is_allowed(name, grant.models):
            raise ModelNotAllowed("This token may not use that model.", param="model")
        found = next((one for one in self._own(grant) if one["id"] == name), None)
        if found is None and name.startswith(KEPT_PREFIXES):
            raise ModelNotFound(f"There is no model {name[:100]!r}.", param="model")
        return found

    def add_own(self, grant: Grant, body: bytes) -> bytes:
        """The provider's list, byte for byte unless there is something to add or to leave out."""
        own, allowed = self._own(grant), grant.models
        if not own and allowed is None:
            return body
        answer = read_answer(body)
        if answer is None or not isinstance(answer.get("data"), list):
            return body
        data = [one for one in answer["data"] + own if isinstance(one, dict)]
        if allowed is not None:
            data = [one for one in data if is_allowed(str(one.get("id")), allowed)]
        return orjson.dumps({**answer, "data": data})

    def _own(self, grant: Grant) -> list[Model]:
        return [model for extra in self.extra for model in extra(grant)]

    def _aliases(self, _grant: Grant) -> list[Model]:
        return [
            {"id": alias, "object": "model", "created": 0, "owned_by": "aieye"}
            for alias in sorted(self._directory.current.routes)
        ]
