"""POST /v1/embeddings: vectors in which similar texts are near."""

from __future__ import annotations

import array
import base64
import hashlib
import math
import re
import struct

from aieye.demo.answers import Outcome
from aieye.demo.calls import Call
from aieye.demo.errors import ProviderError
from aieye.demo.models import check_kind
from aieye.demo.params import integer
from aieye.demo.prompts import read_prompts


def embed(text: str, dimensions: int) -> array.array[float]:
    """A unit vector of 32-bit floats; texts that share words or parts of words are similar."""
    vector = array.array("f", bytes(4 * dimensions))
    for word in re.findall(r"\w+", text.lower()) or [text]:
        _add_feature(vector, word, 1.0)
        for at in range(len(word) - 2):
            _add_feature(vector, word[at : at + 3], 0.25)
    length = math.hypot(*vector)
    # Features can cancel out in a few dimensions; the vector must still have a direction.
    if length == 0:
        vector[0] = length = 1.0
    return array.array("f", (value / length for value in vector))


def _add_feature(vector: array.array[float], feature: str, weight: float) -> None:
    """Hash a feature to four signed places."""
    hashed = hashlib.blake2b(feature.encode(), digest_size=16).digest()
    for place in struct.unpack("<4I", hashed):
        vector[(place >> 1) % len(vector)] += weight if place & 1 else -weight


def create(call: Call) -> Outcome:
    """A vector for each input, as numbers or in base64."""
    check_kind(call.model, "embedding")
    params, prompts = call.params, read_prompts(call.params, "input")
    if any(not prompt.text for prompt in prompts) or len(prompts) > 2048:
        raise ProviderError(400, "'$.input' is invalid: 1 to 2048 non-empty inputs are expected.")
    default = 3072 if call.model == "text-embedding-3-large" else 1536
    dimensions = integer(params, "dimensions", 1, 3072) or default
    write = _base64 if params.get("encoding_format") == "base64" else array.array.tolist
    vectors = (write(embed(prompt.text, dimensions)) for prompt in prompts)
    tokens = sum(prompt.tokens for prompt in prompts)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": call.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(vector: array.array[float]) -> str:
    """Little-endian 32-bit floats in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
