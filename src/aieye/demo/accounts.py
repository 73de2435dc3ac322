"""What the provider keeps for each API key, within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from aieye.demo.answers import CREATED, Json, digest
from aieye.demo.errors import ProviderError

T = TypeVar("T")

# What one account keeps at most; the oldest goes first.
MAX_KEPT_OBJECTS = 1_000
MAX_KEPT_FILE_BYTES = 256 * 2**20

# By their place in the paths: how error messages name what is kept there.
_KINDS = {
    "files": "File",
    "uploads": "Upload",
    "batches": "Batch",
    "vector_stores": "Vector store",
    "responses": "Response",
}


class Shelf(dict[str, T]):
    """Objects by id, oldest first; `shelf[id]` raises OpenAI's 404 for one that is not there."""

    def __init__(self, kind: str = "kept") -> None:
        self._kind = kind

    def __missing__(self, id_: str) -> NoReturn:
        raise ProviderError(404, f"No such {self._kind} object: {id_}", param="id")

    def put(self, id_: str, value: T) -> T:
        """Store `value`; what exceeds `MAX_KEPT_OBJECTS` falls off the old end."""
        self[id_] = value
        if len(self) > MAX_KEPT_OBJECTS:
            del self[next(iter(self))]
        return value


@dataclass(slots=True)
class Kept:
    """An object as it is shown, a file's bytes, and what belongs to it.

    An upload has its parts, a vector store its files, a response the input that led to it.
    """

    public: Json
    content: bytes = b""
    children: Shelf[Kept] = field(default_factory=Shelf)


class Account:
    """What the provider keeps for one API key; other keys never see it."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.shelves = {place: Shelf[Kept](kind) for place, kind in _KINDS.items()}
        self._creations: Shelf[int] = Shelf()

    def new_object(self, kind: str, id_prefix: str, request: str, **fields: Any) -> Json:
        """An object with an id of the account, the request, and how often that was made."""
        ordinal = self._creations.get(request, 0)
        self._creations.put(request, ordinal + 1)
        id_ = f"{id_prefix}{digest(self.key, request, str(ordinal))[:24]}"
        return {"id": id_, "object": kind, "created_at": CREATED, **fields}

    def keep_file(self, request: str, filename: str, purpose: str, content: bytes) -> Json:
        """Store a new file, dropping the oldest ones beyond `MAX_KEPT_FILE_BYTES`."""
        fields = {"filename": filename, "purpose": purpose, "bytes": len(content)}
        public = self.new_object("file", "file-", request, status="processed", **fields)
        files = self.shelves["files"]
        files.put(public["id"], Kept(public, content))
        excess = sum(len(kept.content) for kept in files.values()) - MAX_KEPT_FILE_BYTES
        while excess > 0 and len(files) > 1:
            excess -= len(files.pop(next(iter(files))).content)
        return public
