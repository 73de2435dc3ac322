"""The files that pages refer to: served by us, under names that change with their content."""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fastapi import FastAPI, Request, Response

from aieye.errors import NotFound

DIRECTORY = Path(__file__).parent / "static"
_MEDIA_TYPES = MappingProxyType(
    {".css": "text/css; charset=utf-8", ".js": "text/javascript", ".svg": "image/svg+xml"}
)
# A name stands for one content for ever, so that browsers never ask again.
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served; compressed once, when the first page asks for it."""

    url: str
    content: bytes
    compressed: bytes
    media_type: str


def mount(app: FastAPI) -> None:
    """Serve the files under `/static/`."""
    app.add_route("/static/{name}", _serve, methods=["GET"], include_in_schema=False)


def url(name: str) -> str:
    """The address of a file, such as `app.css`; `KeyError` when there is none."""
    return _assets()[name].url


async def _serve(request: Request) -> Response:
    asset = _by_url().get(request.scope["path"])
    if asset is None:
        raise NotFound("There is no such file.")
    if takes_gzip(request):
        headers = {**_KEPT, "Content-Encoding": "gzip"}
        return Response(asset.compressed, media_type=asset.media_type, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=_KEPT)


def takes_gzip(request: Request) -> bool:
    """Whether the client unpacks gzip."""
    offers = request.headers.get("accept-encoding", "").lower().replace(" ", "").split(",")
    return "gzip" in offers or any(
        offer.startswith("gzip;") and not offer.endswith(("q=0", "q=0.0")) for offer in offers
    )


@functools.cache
def _assets() -> Mapping[str, Asset]:
    files = (path for path in sorted(DIRECTORY.iterdir()) if path.suffix in _MEDIA_TYPES)
    return MappingProxyType({path.name: _read(path) for path in files})


@functools.cache
def _by_url() -> Mapping[str, Asset]:
    return MappingProxyType({asset.url: asset for asset in _assets().values()})


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    mark = hashlib.sha256(content).hexdigest()[:12]
    compressed = gzip.compress(content, 9, mtime=0)
    address = f"/static/{path.stem}.{mark}{path.suffix}"
    return Asset(address, content, compressed, _MEDIA_TYPES[path.suffix])
