"""GET /v1/models, and for which endpoints a model is meant."""

from __future__ import annotations

import re

from aieye.demo.answers import CREATED, Json, Outcome
from aieye.demo.behaviour import MODELS, read_model
from aieye.demo.calls import Call
from aieye.demo.errors import ProviderError

# The first that matches counts; a name that none matches is a chat model's.
_KINDS = (
    ("embedding", re.compile(r"text-(?:embedding|search|similarity)-")),
    ("completion", re.compile(r"text-|.*-instruct|(?:ada|babbage|curie|davinci)(?:-|$)")),
    ("other", re.compile(r"omni-moderation|tts-|whisper-|dall-e-|gpt-image|.*-(?:tts|transcribe)")),
)
_REFUSALS = {
    "chat": (404, "This is not a chat model and thus not supported in v1/chat/completions."),
    "completion": (404, "This is a chat model and not supported in the v1/completions endpoint."),
    "embedding": (403, "You are not allowed to generate embeddings from this model"),
    "other": (404, "This model is not supported in the v1/audio/speech endpoint."),
}


def check_kind(model: str, wanted: str) -> None:
    """Raises 404 or 403 for a model of another kind; simulated and fine-tuned ones are of all."""
    kind = next((kind for kind, names in _KINDS if names.match(model)), "chat")
    if kind != wanted and not model.startswith(("sim-", "ft:")):
        status, message = _REFUSALS[wanted]
        raise ProviderError(status, message, param="model")


def show_all(_call: Call) -> Outcome:
    """The models worth showing; others are accepted too."""
    return {"object": "list", "data": [_shown(model) for model in MODELS]}


def read(call: Call) -> Outcome:
    """Any model that is accepted."""
    read_model(call.ids[0])
    return _shown(call.ids[0])


def _shown(model: str) -> Json:
    return {"id": model, "object": "model", "created": CREATED, "owned_by": "simulated"}
