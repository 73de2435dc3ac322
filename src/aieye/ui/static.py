"""The files that pages refer to: served by us, under names that change with their content."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fastapi import FastAPI, Request, Response

from aieye.errors import NotFound

_DIRECTORY = Path(__file__).parent / "static"
_MEDIA_TYPES = MappingProxyType(
    {".css": "text/css; charset=utf-8", ".js": "text/javascript", ".svg": "image/svg+xml"}
)
# A name stands for one content for ever, so that browsers never ask again.
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served."""

    url: str
    content: bytes
    media_type: str


def mount(app: FastAPI) -> None:
    """Serve the files under `/static/`."""
    app.add_route("/static/{name}", _serve, methods=["GET"], include_in_schema=False)


def url(name: str) -> str:
    """The address of a file, such as `style.css`; `KeyError` when there is none."""
    return _assets()[name].url


async def _serve(request: Request) -> Response:
    asset = _by_url().get(request.url.path)
    if asset is None:
        raise NotFound("There is no such file.")
    return Response(asset.content, media_type=asset.media_type, headers=_KEPT)


@functools.cache
def _assets() -> Mapping[str, Asset]:
    files = (path for path in sorted(_DIRECTORY.iterdir()) if path.suffix in _MEDIA_TYPES)
    return MappingProxyType({path.name: _read(path) for path in files})


@functools.cache
def _by_url() -> Mapping[str, Asset]:
    return MappingProxyType({asset.url: asset for asset in _assets().values()})


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    mark = hashlib.sha256(content).hexdigest()[:12]
    return Asset(f"/static/{path.stem}.{mark}{path.suffix}", content, _MEDIA_TYPES[path.suffix])
