"""Which models are asked for completions directly, and which only through chat.

A name decides where it is a known one; what a provider says of a model counts for more, and is
remembered. A name that nobody knows is asked directly: servers of one's own mostly do both.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final

import orjson

# Models that OpenAI and other providers serve through chat alone, and those that are no such.
_CHAT: Final = re.compile(
    r"(?:.*/)?(?:gpt-[0-9]|chatgpt-|o[0-9]|claude-|gemini-|command-|grok-|deepseek-chat)", re.ASCII
)
_NO_CHAT: Final = re.compile(r".*-(?:instruct|base)\b(?!.*chat)", re.ASCII)
# What providers answer where a model is asked in the wrong way, as part of an error message.
_SAYS_CHAT: Final = re.compile(
    r"is a chat model|not supported in the v1/completions|use v1/chat/completions", re.IGNORECASE
)
_SAYS_NO_CHAT: Final = re.compile(r"not a chat model", re.IGNORECASE)
_REFUSALS: Final = frozenset({400, 404})
_MOST_KNOWN: Final = 1_000


class Engines:
    """What is known of models. One a process; what was learned goes with it."""

    def __init__(self) -> None:
        self._learned: OrderedDict[str, bool] = OrderedDict()

    def is_chat_only(self, model: str, served: str) -> bool:
        """Whether a completion of this model has to be asked through chat.

        `served` is the model's name at its provider, where an alias stands for it.
        """
        learned = self._learned.get(model)
        return is_chat_name(served) if learned is None else learned

    def learn(self, model: str, status: int, body: bytes | None, *, through_chat: bool) -> bool:
        """Note what an answer says of its model; whether to ask again, in the other way."""
        if status not in _REFUSALS or not body:
            return False
        try:
            message = str(orjson.loads(body)["error"]["message"])
        except (orjson.JSONDecodeError, LookupError, TypeError):
            return False
        if _SAYS_NO_CHAT.search(message):
            is_chat_only = False
        elif _SAYS_CHAT.search(message):
            is_chat_only = True
        else:
            return False
        if is_chat_only == through_chat:
            return False
        self._learned[model] = is_chat_only
        if len(self._learned) > _MOST_KNOWN:
            self._learned.popitem(last=False)
        return True


def is_chat_name(model: str) -> bool:
    """Whether a model's name is one of those that are served through chat alone."""
    return _CHAT.match(model) is not None and _NO_CHAT.match(model) is None
