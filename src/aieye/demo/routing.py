"""What the simulated provider answers: each path with its methods."""

from __future__ import annotations

import re

from aieye.demo import (
    audio,
    batches,
    chat,
    completions,
    embeddings,
    files,
    images,
    kept,
    models,
    moderations,
    responses,
    vector_stores,
)
from aieye.demo.calls import Handler
from aieye.demo.errors import ProviderError

_ROUTES: dict[str, dict[str, Handler]] = {
    "/v1/chat/completions": {"POST": chat.create},
    "/v1/responses": {"POST": responses.create},
    "/v1/responses/{}": {"GET": kept.read, "DELETE": kept.delete},
    "/v1/responses/{}/cancel": {"POST": responses.cancel},
    "/v1/responses/{}/input_items": {"GET": kept.show_children},
    "/v1/completions": {"POST": completions.create},
    "/v1/edits": {"POST": completions.edit},
    "/v1/embeddings": {"POST": embeddings.create},
    "/v1/moderations": {"POST": moderations.create},
    "/v1/images/(?:generations|edits|variations)": {"POST": images.create},
    "/v1/audio/speech": {"POST": audio.speak},
    "/v1/audio/(?:transcriptions|translations)": {"POST": audio.transcribe},
    "/v1/models": {"GET": models.show_all},
    "/v1/models/{}": {"GET": models.read},
    "/v1/files": {"GET": kept.show_all, "POST": files.create},
    "/v1/files/{}": {"GET": kept.read, "DELETE": kept.delete},
    "/v1/files/{}/content": {"GET": files.content},
    "/v1/uploads": {"POST": files.create_upload},
    "/v1/uploads/{}/parts": {"POST": files.add_part},
    "/v1/uploads/{}/complete": {"POST": files.complete_upload},
    "/v1/uploads/{}/cancel": {"POST": files.cancel_upload},
    "/v1/batches": {"GET": kept.show_all, "POST": batches.create},
    "/v1/batches/{}": {"GET": batches.read},
    "/v1/batches/{}/cancel": {"POST": batches.cancel},
    "/v1/vector_stores": {"GET": kept.show_all, "POST": vector_stores.create},
    "/v1/vector_stores/{}": {
        "GET": kept.read,
        "POST": vector_stores.update,
        "DELETE": kept.delete,
    },
    "/v1/vector_stores/{}/search": {"POST": vector_stores.search},
    "/v1/vector_stores/{}/files": {"GET": kept.show_children, "POST": vector_stores.add_file},
    "/v1/vector_stores/{}/files/{}": {
        "GET": kept.read_child,
        "DELETE": vector_stores.delete_file,
    },
}
_PATTERNS = [
    (re.compile(path.replace("{}", "([^/]+)")), methods) for path, methods in _ROUTES.items()
]


def find_handler(method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
    """The handler of a request and the ids in its path; raises 404 or 405."""
    for pattern, methods in _PATTERNS:
        if match := pattern.fullmatch(path):
            if method in methods:
                return methods[method], match.groups()
            message = f"Not allowed to {method} on {path}."
            raise ProviderError(405, message, code="method_not_supported")
    raise ProviderError(404, f"Invalid URL ({method} {path})")
