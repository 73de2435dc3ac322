"""/v1/files and /v1/uploads: files that come whole, and files that come in parts."""

from __future__ import annotations

from aieye.demo.accounts import Kept, Shelf
from aieye.demo.answers import CREATED, Answer, Json, Outcome
from aieye.demo.calls import Call
from aieye.demo.errors import ProviderError, missing
from aieye.demo.params import integer, string, strings


def create(call: Call) -> Outcome:
    """Keep the form's file."""
    part, purpose = call.file("file"), string(call.params, "purpose")
    filename = part.filename or "file"
    return call.account.keep_file(call.digest, filename, purpose, part.content)


def content(call: Call) -> Outcome:
    """A file's bytes."""
    return Answer(call.kept.content, "application/octet-stream")


def create_upload(call: Call) -> Outcome:
    """Begin an upload of an announced size."""
    required = ("filename", "purpose", "mime_type")
    filename, purpose, _ = (string(call.params, name) for name in required)
    size = integer(call.params, "bytes", 0, 8 * 2**30)
    if size is None:
        raise missing("bytes")
    fields: Json = {"filename": filename, "purpose": purpose, "bytes": size, "file": None}
    public = call.new_object("upload", "upload_", status="pending", **fields)
    public["expires_at"] = CREATED + 3600
    return call.shelf.put(public["id"], Kept(public, children=Shelf("Part"))).public


def add_part(call: Call) -> Outcome:
    """Keep a part until the upload is completed."""
    upload, part = _pending(call), call.file("data")
    public = call.new_object("upload.part", "part_", upload_id=upload.public["id"])
    return upload.children.put(public["id"], Kept(public, part.content)).public


def complete_upload(call: Call) -> Outcome:
    """Make a file of the parts, in the order given."""
    upload, ids = _pending(call), strings(call.params, "part_ids")
    content, public = b"".join(upload.children[id_].content for id_ in ids), upload.public
    if len(content) != public["bytes"]:
        message = f"The upload has {len(content)} bytes, but {public['bytes']} were announced."
        raise ProviderError(400, message)
    filename, purpose = public["filename"], public["purpose"]
    public["file"] = call.account.keep_file(call.digest, filename, purpose, content)
    return _end(upload, "completed")


def cancel_upload(call: Call) -> Outcome:
    """Drop what came."""
    return _end(_pending(call), "cancelled")


def _pending(call: Call) -> Kept:
    status = call.kept.public["status"]
    if status != "pending":
        raise ProviderError(400, f"The upload is {status} already.")
    return call.kept


def _end(upload: Kept, status: str) -> Json:
    upload.public["status"] = status
    upload.children.clear()
    return upload.public
