"""/v1/vector_stores: files that are found by what they are about."""

from __future__ import annotations

from array import array

from aieye.demo.accounts import Kept, Shelf
from aieye.demo.answers import CREATED, Json, Outcome
from aieye.demo.calls import Call
from aieye.demo.embeddings import embed
from aieye.demo.errors import missing
from aieye.demo.kept import deleted
from aieye.demo.params import integer, section, string, strings

# What may be given and changed, with what it is otherwise.
_FIELDS: Json = {"name": "", "metadata": {}, "expires_after": None}


def create(call: Call) -> Outcome:
    """A store with the files that are given."""
    files = [_file(call, id_) for id_ in strings(call.params, "file_ids")]
    fields = {name: call.params.get(name) or default for name, default in _FIELDS.items()}
    fields |= {"status": "completed", "last_active_at": CREATED}
    public = call.new_object("vector_store", "vs_", **fields)
    store = call.shelf.put(public["id"], Kept(public, children=Shelf("Vector store file")))
    for file in files:
        _attach(store, file, {})
    return _count(store)


def update(call: Call) -> Outcome:
    """Change a store's name, metadata or expiry."""
    store = call.kept
    store.public |= {name: value for name, value in call.params.items() if name in _FIELDS}
    return store.public


def add_file(call: Call) -> Outcome:
    """Put a file that the account has into a store."""
    file = _file(call, string(call.params, "file_id"))
    public = _attach(call.kept, file, section(call.params, "attributes"))
    _count(call.kept)
    return public


def delete_file(call: Call) -> Outcome:
    """Take a file out of a store; the account keeps it."""
    public = call.kept.children[call.ids[1]].public
    del call.kept.children[call.ids[1]]
    _count(call.kept)
    return deleted(public)


def _file(call: Call, id_: str) -> Kept:
    return call.account.shelves["files"][id_]


def _attach(store: Kept, file: Kept, attributes: Json) -> Json:
    public: Json = {
        "id": file.public["id"],
        "object": "vector_store.file",
        "created_at": CREATED,
        "vector_store_id": store.public["id"],
        "status": "completed",
        "last_error": None,
        "usage_bytes": len(file.content),
        "attributes": attributes,
    }
    return store.children.put(public["id"], Kept(public)).public


def _count(store: Kept) -> Json:
    """The public object with its counts brought up to date."""
    total = len(store.children)
    counts = {"in_progress": 0, "completed": total, "failed": 0, "cancelled": 0, "total": total}
    store.public["file_counts"] = counts
    store.public["usage_bytes"] = sum(c.public["usage_bytes"] for c in store.children.values())
    return store.public


def search(call: Call) -> Outcome:
    """Files by falling similarity to the query, each with the first 800 characters of its text."""
    store, queries = call.kept, strings(call.params, "query")
    if not queries:
        raise missing("query")
    limit = integer(call.params, "max_num_results", 1, 50) or 10
    wanted, files = embed(" ".join(queries), 256), call.account.shelves["files"]
    found = [
        _result(files[id_], child.public["attributes"], wanted)
        for id_, child in store.children.items()
        if id_ in files
    ]
    found.sort(key=lambda result: (-result["score"], result["file_id"]))
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": found[:limit],
        "has_more": len(found) > limit,
        "next_page": None,
    }


def _result(file: Kept, attributes: Json, wanted: array[float]) -> Json:
    text = file.content[:3200].decode("utf-8", "replace")[:800]
    score = sum(a * b for a, b in zip(embed(text, len(wanted)), wanted, strict=True))
    return {
        "file_id": file.public["id"],
        "filename": file.public["filename"],
        "score": round(max(score, 0.0), 6),
        "attributes": attributes,
        "content": [{"type": "text", "text": text}],
    }
