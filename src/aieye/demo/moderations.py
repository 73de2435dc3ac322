"""POST /v1/moderations: a few plain words are flagged."""

from __future__ import annotations

import re

from aieye.demo.answers import Json, Outcome
from aieye.demo.calls import Call
from aieye.demo.params import required
from aieye.demo.prompts import content_text

_FLAGGED_WORDS = {
    "harassment": ("idiot", "stupid"),
    "harassment/threatening": (),
    "hate": ("hate",),
    "hate/threatening": (),
    "illicit": ("steal",),
    "illicit/violent": (),
    "self-harm": (),
    "self-harm/instructions": (),
    "self-harm/intent": (),
    "sexual": (),
    "sexual/minors": (),
    "violence": ("kill", "murder"),
    "violence/graphic": (),
}


def create(call: Call) -> Outcome:
    """A result for each text; the parts of a multimodal input are judged as one."""
    given = required(call.params, "input", str | list, "a string or an array")
    one = isinstance(given, str) or any(isinstance(item, dict) for item in given)
    return {
        "id": f"modr-{call.digest[:24]}",
        "model": call.params.get("model") or "omni-moderation-latest",
        "results": [_judge(str(text)) for text in ([content_text(given)] if one else given)],
    }


def _judge(text: str) -> Json:
    words = set(re.findall(r"\w+", text.lower()))
    flags = {name: bool(words.intersection(bad)) for name, bad in _FLAGGED_WORDS.items()}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {name: 0.99 if flag else 0.0001 for name, flag in flags.items()},
        "category_applied_input_types": {name: ["text"] for name in flags},
    }
