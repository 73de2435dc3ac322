"""One choice of a stream of chat or completions, as far as it has been read. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod

from aieye.cache.forms.pieces import (
    Pieces,
    add_audio,
    add_function,
    grow,
    join_lists,
    joined,
    once,
    settle,
)
from aieye.cache.forms.reading import CannotConvert, Object, as_object, as_objects, index_of


class Choice(ABC):
    """One choice of a stream, as far as it has been read."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.rest: Object = {}

    def add(self, choice: Object) -> None:
        """Add what a chunk says of this choice."""
        for key, value in choice.items():
            if key == "finish_reason":
                self.finish_reason = value or self.finish_reason
            elif key == "logprobs":
                join_lists(self.rest, key, value)
            elif key != "index" and not self.add_content(key, value):
                settle(self.rest, key, value)

    @abstractmethod
    def add_content(self, key: str, value: object) -> bool:
        """Take in `value` if `key` is the part of a chunk that holds what was generated."""

    @abstractmethod
    def content(self) -> Object:
        """What was generated, as a plain body names it."""

    def fold(self) -> Object:
        """The choice of a plain body."""
        if self.finish_reason is None:
            raise CannotConvert("a choice has no end")
        content = {key: joined(value) for key, value in self.content().items()}
        return {"index": self.index, **content, **self.rest, "finish_reason": self.finish_reason}


class TextChoice(Choice):
    """One choice of a text completion."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.generated: Object = {"text": Pieces()}

    def add_content(self, key: str, value: object) -> bool:
        if key != "text":
            return False
        grow(self.generated, key, value or "")
        return True

    def content(self) -> Object:
        return self.generated


class ChatChoice(Choice):
    """One choice of a chat completion."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        # A plain message always says what its content is, if only that there is none.
        self.message: Object = {"role": "assistant", "content": None}
        self.calls: dict[int, Object] = {}

    def add_content(self, key: str, value: object) -> bool:
        if key != "delta":
            return False
        for name, piece in as_object(value or {}).items():
            self.add_piece(name, piece)
        return True

    def add_piece(self, name: str, piece: object) -> None:
        """Add one field of a delta: texts grow, calls grow by index, anything else comes once."""
        message = self.message
        if name == "role":
            message[name] = piece or message[name]
        elif piece is None:
            message.setdefault(name, None)
        elif name == "tool_calls":
            message[name] = message.get(name) or []
            for call in as_objects(piece):
                self.add_call(call)
        elif name == "function_call":
            add_function(message, name, piece)
        elif name == "audio":
            add_audio(message, piece)
        elif name == "annotations":
            join_lists(message, name, piece)
        elif isinstance(piece, str):
            grow(message, name, piece)
        elif name == "content":
            raise CannotConvert("the content is not text")
        else:
            once(message, name, piece)

    def add_call(self, piece: Object) -> None:
        """Add a piece of a tool call to the call with its index."""
        call = self.calls.setdefault(index_of(piece), {})
        for key, value in piece.items():
            if key in ("function", "custom") and value is not None:
                add_function(call, key, value)
            elif key != "index":
                settle(call, key, value)

    def content(self) -> Object:
        if self.calls:
            self.message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        return {"message": self.message}
