"""What chat and the older completions share: choices, whole or in chunks, and their figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from zlib import crc32

from aieye.demo.answers import CREATED, DONE, FINGERPRINT, Json, Outcome, Stream, event
from aieye.demo.calls import Call
from aieye.demo.params import section


def head(call: Call, id_prefix: str, kind: str) -> Json:
    """What the whole answer and each chunk begin with."""
    return {
        "id": f"{id_prefix}{call.digest[:29]}",
        "object": kind,
        "created": CREATED,
        "model": call.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def usage(prompt_tokens: int, completion_tokens: int) -> Json:
    """The usage object of chat, completions and edits."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def finish(
    call: Call, common: Json, whole: Iterable[Json], deltas: Iterable[Json], counts: Json
) -> Outcome:
    """The answer in the form asked for: with the `whole` choices, or a chunk for each delta."""
    if not call.streamed:
        return {**common, "choices": list(whole), "usage": counts}
    asked = section(call.params, "stream_options").get("include_usage") is True
    return Stream(_chunks(common, deltas, counts if asked else None))


def _chunks(common: Json, deltas: Iterable[Json], counts: Json | None) -> Iterator[bytes]:
    """Chunks with one choice each, then [DONE].

    With `counts` every chunk has `usage: null`, and a chunk without choices brings the figures
    before [DONE].
    """
    extra: Json = {} if counts is None else {"usage": None}
    for delta in deltas:
        yield event({**common, "choices": [delta], **extra})
    if counts is not None:
        yield event({**common, "choices": [], "usage": counts})
    yield DONE


def _candidates(token: str, count: int) -> list[tuple[str, float]]:
    """What could stand in a token's place with log probabilities; the token itself comes first."""
    likeliest = -(crc32(token.encode()) % 1000 + 1) / 1000
    return [(f"{token[:1]}{at}" if at else token, likeliest - at) for at in range(count)]


def chat_logprobs(tokens: Sequence[str], params: Json) -> Json | None:
    """The log probabilities of chat; None unless asked for by `logprobs: true`."""
    if params.get("logprobs") is not True:
        return None
    content = []
    for token in tokens:
        entries = [
            {"token": text, "logprob": logprob, "bytes": list(text.encode())}
            for text, logprob in _candidates(token, 1 + (params.get("top_logprobs") or 0))
        ]
        content.append({**entries[0], "top_logprobs": entries[:-1]})
    return {"content": content, "refusal": None}


def completion_logprobs(tokens: Sequence[str], offset: int, count: int | None) -> Json | None:
    """Those of the older completions, with `count` candidates for each token; None for None.

    `offset` is where the first token starts in prompt and text.
    """
    if count is None:
        return None
    starts = accumulate((len(token) for token in tokens), initial=offset)
    return {
        "tokens": list(tokens),
        "token_logprobs": [_candidates(token, 1)[0][1] for token in tokens],
        "top_logprobs": [dict(_candidates(token, count)) for token in tokens] if count else None,
        "text_offset": list(starts)[:-1],
    }
