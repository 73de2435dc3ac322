"""Putting together what a stream sends in pieces: texts, lists, and fields that come once. Pure."""

from __future__ import annotations

import base64
import binascii

from aieye.cache.forms.reading import EMPTY, CannotConvert, Object, as_object, as_string


class Pieces(list[str]):
    """A text of which more may come; joined once at the end, so that long ones stay cheap."""

    def join(self) -> str:
        return "".join(self)


class EncodedPieces(Pieces):
    """Data of which more may come, each piece base64 of its own."""

    def join(self) -> str:
        try:
            data = b"".join(base64.b64decode(piece, validate=True) for piece in self)
        except (binascii.Error, ValueError) as exc:
            raise CannotConvert("the audio is no base64") from exc
        return base64.b64encode(data).decode()


def grow(target: Object, key: str, piece: object, pieces_type: type[Pieces] = Pieces) -> None:
    """Add a piece to a text."""
    known = target.get(key)
    if not isinstance(known, Pieces):
        known = target[key] = pieces_type([as_string(known or "")])
    known.append(as_string(piece))


def joined(value: object) -> object:
    """A value with the pieces of its texts joined."""
    if isinstance(value, Pieces):
        return value.join()
    if isinstance(value, list):
        return [joined(item) for item in value]
    if isinstance(value, dict):
        return {key: joined(item) for key, item in value.items()}
    return value


def add_function(target: Object, key: str, piece: object) -> None:
    """Add a piece of a call: the name comes once, the arguments (or free input) in pieces."""
    function = target[key] = target.get(key) or {}
    for name, value in as_object(piece).items():
        if name in ("arguments", "input"):
            grow(function, name, value or "")
        else:
            settle(function, name, value)


def add_audio(message: Object, piece: object) -> None:
    """Add a piece of a spoken answer."""
    audio = message["audio"] = message.get("audio") or {}
    for name, value in as_object(piece).items():
        if name == "transcript":
            grow(audio, name, value or "")
        elif name == "data":
            grow(audio, name, value or "", EncodedPieces)
        else:
            settle(audio, name, value)


def join_lists(target: Object, key: str, value: object) -> None:
    """Join lists, and objects of lists such as `logprobs`; null adds nothing."""
    known = target.get(key)
    if known is None:
        target[key] = value
    elif isinstance(known, list) and isinstance(value, list):
        known.extend(value)
    elif isinstance(known, dict) and isinstance(value, dict):
        for name, item in value.items():
            join_lists(known, name, item)
    elif value is not None:
        raise CannotConvert(f"the pieces of {key} do not fit")


def once(target: Object, key: str, value: object) -> None:
    """Set a field of unknown meaning, which is whole only if it comes once."""
    if target.get(key) in EMPTY:
        target[key] = value
    elif value not in EMPTY:
        raise CannotConvert(f"{key} comes in pieces of unknown meaning")


def settle(target: Object, key: str, value: object) -> None:
    """Set a field that is not generated: it may be repeated and completed, never changed."""
    known = target.get(key)
    if isinstance(known, dict) and isinstance(value, dict):
        for name, item in value.items():
            settle(known, name, item)
    elif isinstance(known, list) or known != value:
        once(target, key, value)
    else:
        target[key] = value
