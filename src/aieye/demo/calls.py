"""One request as the endpoints see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from aieye.demo.accounts import Account, Kept, Shelf
from aieye.demo.answers import Json, Outcome, digest
from aieye.demo.behaviour import PLAIN, Behaviour, read_model
from aieye.demo.errors import ProviderError, fault, missing, wrong_type
from aieye.demo.forms import Part

# Who asks, and how the answer travels, does not change it: a streamed and a plain form share ids.
_OUTSIDE_THE_ANSWER = frozenset({"stream", "stream_options", "user", "metadata"})


@dataclass(frozen=True, slots=True)
class Call:
    """One understood request. `params` are the JSON body's fields or the form's text fields."""

    path: str
    account: Account
    params: Json
    files: tuple[Part, ...]
    ids: tuple[str, ...]
    query: Mapping[str, str]
    behaviour: Behaviour
    digest: str

    @property
    def model(self) -> str:
        """The model asked for; raises 400 without one."""
        if self.params.get("model") is None:
            raise ProviderError(400, "you must provide a model parameter")
        return str(self.params["model"])

    @property
    def streamed(self) -> bool:
        """Whether a stream was asked for, in JSON or as a form field."""
        return self.params.get("stream") in (True, "true")

    @property
    def shelf(self) -> Shelf[Kept]:
        """What the account keeps of the kind that the path names."""
        return self.account.shelves[self.path.split("/")[2]]

    @property
    def kept(self) -> Kept:
        """What the path names by its first id; raises 404."""
        return self.shelf[self.ids[0]]

    def new_object(self, kind: str, id_prefix: str, **fields: Any) -> Json:
        """An object for the account to keep, with an id of its own."""
        return self.account.new_object(kind, id_prefix, self.digest, **fields)

    def file(self, name: str) -> Part:
        """A required file of the form."""
        for part in self.files:
            if part.name.removesuffix("[]") == name:
                return part
        raise missing(name)


Handler: TypeAlias = Callable[[Call], Outcome]


def understand(
    path: str,
    account: Account,
    params: Json,
    files: tuple[Part, ...] = (),
    ids: tuple[str, ...] = (),
    query: Mapping[str, str] | None = None,
) -> Call:
    """The call that a handler takes; raises 400 or 404 when its model is of no use."""
    model = params.get("model")
    if not isinstance(model, str | None):
        raise wrong_type("model", "a string")
    behaviour = PLAIN if model is None else read_model(model)
    asked = {name: value for name, value in params.items() if name not in _OUTSIDE_THE_ANSWER}
    # A multipart boundary or the order of keys is not part of what the answer depends on.
    sent = (item for part in files for item in (part.name, part.filename or "", part.content))
    request = digest(path, orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), *sent)
    return Call(path, account, params, files, ids, query or {}, behaviour, request)


def perform(handler: Handler, call: Call) -> Outcome:
    """Answer a call, or fail as its model's name asks."""
    if call.behaviour.error_status is not None:
        raise fault(call.behaviour.error_status)
    return handler(call)
