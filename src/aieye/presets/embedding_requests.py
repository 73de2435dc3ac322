"""What is asked of a model that embeds: texts in batches that providers take. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from aieye.access.snapshot import ProviderInfo
from aieye.presets.spaces import Space

# OpenAI takes 2,048 texts of together 300,000 tokens, which are rarely less than two bytes long. What
# is too much all the same is refused and then asked in halves.
MOST_BYTES: Final = 600_000
# An answer is read in one go that nothing can interrupt: for a millisecond or two with these.
_MOST_INPUTS: Final = {"base64": 512, "float": 32}
# Who answers vectors in base64, a quarter of the bytes and forty times as quick to read, when asked.
_BASE64_HOSTS: Final = (".openai.com", ".openai.azure.com")


def encoding_of(provider: ProviderInfo) -> str:
    """How the provider is asked to write vectors: other servers may not know but one way."""
    host = urlsplit(provider.base_url).hostname or ""
    is_safe = provider.is_simulated or f".{host}".endswith(_BASE64_HOSTS)
    return "base64" if is_safe else "float"


def batches(texts: Sequence[str], provider: ProviderInfo) -> Iterator[Sequence[str]]:
    """`texts` in order, in parts that may be asked at once."""
    most_inputs = _MOST_INPUTS[encoding_of(provider)]
    start = size = 0
    for at, text in enumerate(texts):
        more = len(text.encode())
        if at > start and (at - start == most_inputs or size + more > MOST_BYTES):
            yield texts[start:at]
            start, size = at, 0
        size += more
    if start < len(texts):
        yield texts[start:]


def request_of(space: Space, texts: Sequence[str]) -> dict[str, Any]:
    """The body of a call of `/v1/embeddings`; a single text is asked as what it is."""
    body: dict[str, Any] = {
        "model": space.asked,
        "input": texts[0] if len(texts) == 1 else list(texts),
    }
    if (encoding := encoding_of(space.provider)) != "float":
        body["encoding_format"] = encoding
    return body
