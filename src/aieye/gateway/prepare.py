"""A call made ready: read once, its candidates found, its cache keys computed. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from aieye.access.snapshot import Grant
from aieye.cache.controls import Controls, from_field
from aieye.cache.key import NOT_IN_KEY, cache_key, canonical, read_object, write_json
from aieye.errors import InvalidRequest
from aieye.gateway.routing import Candidate, ModelNotAllowed, NoRoute, Router, bound_to
from aieye.gateway.wire import Endpoint, Match

# Responses that go on by themselves or lean on what the provider remembers cannot be given again.
_STATEFUL = ("background", "conversation", "previous_response_id")
_MODEL_FIELD = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
# Places where the model may stand that are tried before the body is written anew.
_MOST_PLACES = 4
_LONGEST_NAME = 200
_MOST_TAGS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for one body. `keys` are empty where the call cannot be cached.

    `keys[i]` and `canonicals[i]` belong to `candidates[i]`. `wants_usage` says that the client
    itself asked for the usage frame of a stream. `beta` is its header `OpenAI-Beta`.
    """

    match: Match
    raw: bytes = field(repr=False)
    document: dict[str, Any] = field(repr=False)
    model: str | None
    is_stream: bool
    wants_usage: bool
    candidates: tuple[Candidate, ...]
    keys: tuple[bytes, ...]
    canonicals: tuple[bytes, ...] = field(repr=False)
    controls: Controls
    tags: dict[str, str] | None
    beta: str

    @property
    def endpoint(self) -> Endpoint:
        return self.match.endpoint

    def canonical_of(self, key: bytes) -> bytes:
        """What was hashed into one of `keys`."""
        return self.canonicals[self.keys.index(key)]

    def body_for(self, candidate: Candidate, *, inject_usage: bool) -> bytes:
        """The bytes that go up: as they came, unless a field has to be another one."""
        document = self.document
        renamed = candidate.model is not None and candidate.model != self.model
        inject = inject_usage and self.is_stream and not self.wants_usage
        inject = inject and self.endpoint.dialect in {"chat", "completions"}
        if "cache" not in document and not (inject and "stream_options" in document):
            model = candidate.model or ""
            body = _with_model(self.raw, document, model) if renamed else self.raw
            if not inject:
                return body
            # In front of the last brace: every other byte stays as the client wrote it.
            return body.rstrip()[:-1] + b',"stream_options":{"include_usage":true}}'
        changed = {name: value for name, value in document.items() if name != "cache"}
        if renamed:
            changed["model"] = candidate.model
        if inject:
            options = document.get("stream_options")
            changed["stream_options"] = {
                **(options if isinstance(options, dict) else {}),
                "include_usage": True,
            }
        return write_json(changed)


def prepare(
    match: Match,
    raw: bytes,
    grant: Grant,
    router: Router,
    header: Controls,
    *,
    key_id: int | None = None,
    beta: str = "",
) -> Plan:
    """Read a request's body and find out what it asks of whom.

    `key_id` binds the call to one key, for bodies that name objects made with it. Raises `NotJson`,
    `InvalidRequest` and what `resolve` raises.
    """
    document = read_object(raw)
    model = _model(document)
    if model is None and grant.models is not None:
        raise ModelNotAllowed("This token is limited to models: name one of them.", param="model")
    candidates = router.resolve(grant, model)
    if key_id is not None:
        candidates = tuple(bound_to(router.snapshot, candidates, model, key_id))
        if not candidates:
            raise NoRoute("The key that the object was made with is not in use any more.")
    endpoint = match.endpoint
    is_stream = _is_stream(endpoint, document)
    canonicals: tuple[bytes, ...] = ()
    keys: tuple[bytes, ...] = ()
    if endpoint.cacheable and not _is_stateful(endpoint, document):
        if not NOT_IN_KEY.isdisjoint(document):
            # What the key leaves out has to be legal text all the same.
            write_json([document[name] for name in NOT_IN_KEY if name in document])
        canonicals = _canonicals(document, candidates)
        name = _key_name(endpoint, is_stream=is_stream, beta=beta)
        keys = tuple(
            [
                cache_key(name, candidate.provider.id, grant.namespace, body)
                for candidate, body in zip(candidates, canonicals, strict=True)
            ]
        )
    else:
        write_json(document)
    return Plan(
        match=match,
        raw=raw,
        document=document,
        model=model,
        is_stream=is_stream,
        wants_usage=_wants_usage(document),
        candidates=candidates,
        keys=keys,
        canonicals=canonicals,
        controls=from_field(document.get("cache"), header),
        tags=_tags(document.get("metadata")),
        beta=beta,
    )


def _with_model(raw: bytes, document: dict[str, Any], model: str) -> bytes:
    """The body with another model, every other byte as the client wrote it."""
    wanted = {**document, "model": model}
    for found in islice(_MODEL_FIELD.finditer(raw), _MOST_PLACES):
        spliced = raw[: found.start(1)] + write_json(model) + raw[found.end(1) :]
        # The same letters may stand deeper within, or inside a text: only one place is right.
        if read_object(spliced) == wanted:
            return spliced
    return write_json(wanted)


def _model(document: dict[str, Any]) -> str | None:
    model = document.get("model")
    return check_model(model) if isinstance(model, str) else None


def check_model(model: str) -> str:
    """A model's name that may go into routes, ledger and metrics. Raises `InvalidRequest`."""
    if len(model) > _LONGEST_NAME or not model.isprintable():
        raise InvalidRequest(
            f"A model's name has at most {_LONGEST_NAME} printable characters.", param="model"
        )
    return model


def _canonicals(document: dict[str, Any], candidates: tuple[Candidate, ...]) -> tuple[bytes, ...]:
    written: dict[str | None, bytes] = {}
    for candidate in candidates:
        if candidate.model not in written:
            final = document
            if candidate.model is not None and candidate.model != document.get("model"):
                final = {**document, "model": candidate.model}
            written[candidate.model] = canonical(final)
    return tuple([written[candidate.model] for candidate in candidates])


def _key_name(endpoint: Endpoint, *, is_stream: bool, beta: str) -> str:
    # Where the two forms of an answer cannot be turned into each other, each has its own entry.
    name = f"{endpoint.name}#stream" if is_stream and not endpoint.convertible else endpoint.name
    return f"{name}#beta={beta}" if beta else name


def _is_stream(endpoint: Endpoint, document: dict[str, Any]) -> bool:
    if endpoint.name == "audio/speech":
        return document.get("stream_format") == "sse"
    return document.get("stream") is True


def _is_stateful(endpoint: Endpoint, document: dict[str, Any]) -> bool:
    return endpoint.dialect == "responses" and any(document.get(name) for name in _STATEFUL)


def _wants_usage(document: dict[str, Any]) -> bool:
    options = document.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _tags(metadata: object) -> dict[str, str] | None:
    """The client's own tags: OpenAI's `metadata`, texts by name."""
    if not isinstance(metadata, dict):
        return None
    tags = {
        _clean(name)[:64]: _clean(value)[:512]
        for name, value in metadata.items()
        if isinstance(value, str)
    }
    return dict(list(tags.items())[:_MOST_TAGS]) or None


def _clean(text: str) -> str:
    # PostgreSQL's text knows no NUL.
    return text.replace("\0", "\ufffd")
