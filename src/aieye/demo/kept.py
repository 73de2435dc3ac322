"""Showing, reading and deleting what an account keeps, of any kind."""

from __future__ import annotations

from aieye.demo.answers import Json, Outcome, page
from aieye.demo.calls import Call


def show_all(call: Call) -> Outcome:
    """The objects of the kind that the path names; files may be asked for by purpose."""
    purpose = call.query.get("purpose")
    shown = [kept.public for kept in call.shelf.values()]
    return page([item for item in shown if purpose in (None, item.get("purpose"))], call.query)


def read(call: Call) -> Outcome:
    """One object."""
    return call.kept.public


def delete(call: Call) -> Outcome:
    """Forget an object."""
    public = call.kept.public
    del call.shelf[public["id"]]
    return deleted(public)


def show_children(call: Call) -> Outcome:
    """What belongs to an object: the files of a vector store, the input of a response."""
    return page([child.public for child in call.kept.children.values()], call.query)


def read_child(call: Call) -> Outcome:
    """One object that belongs to another."""
    return call.kept.children[call.ids[1]].public


def deleted(public: Json) -> Json:
    """The answer to a deletion; vector stores and their files have kinds of their own for it."""
    kind = public["object"]
    suffix = ".deleted" if kind.startswith("vector_store") else ""
    return {"id": public["id"], "object": f"{kind}{suffix}", "deleted": True}
