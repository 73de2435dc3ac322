"""What a call consumed, read from the provider's own figures or estimated without them. Pure.

Providers that speak OpenAI's protocol report the same facts under several names, and not all of
them report honestly. `normalise_usage` brings every known shape to one `Usage`, keeps the figures
verbatim beside it, and marks what cannot be true. `estimate_usage` is for a call that reported
nothing: a stream that was cut, a provider without usage.
"""

from aieye.gateway.usage.answer import (
    FINISH_COMPLETE,
    FINISH_ERROR,
    is_complete,
    is_error_body,
    usage_of_body,
)
from aieye.gateway.usage.estimate import estimate_usage
from aieye.gateway.usage.figures import MAX_TOKENS, Usage, UsageExtras
from aieye.gateway.usage.normalise import latest_usage, normalise_usage
from aieye.gateway.usage.tokens import count_tokens, estimate_tokens, text_size, utf8_size

__all__ = [
    "FINISH_COMPLETE",
    "FINISH_ERROR",
    "MAX_TOKENS",
    "Usage",
    "UsageExtras",
    "count_tokens",
    "estimate_tokens",
    "estimate_usage",
    "is_complete",
    "is_error_body",
    "latest_usage",
    "normalise_usage",
    "text_size",
    "usage_of_body",
    "utf8_size",
]
