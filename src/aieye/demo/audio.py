"""/v1/audio: tones for speech, and transcripts that tell a file's name and size."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from aieye.demo.answers import DONE, Answer, Json, Outcome, Stream, digest, event
from aieye.demo.calls import Call
from aieye.demo.errors import invalid, missing
from aieye.demo.models import check_kind
from aieye.demo.params import string
from aieye.demo.tokens import count_tokens, split_tokens

_SAMPLES_PER_SECOND = 8_000


def speak(call: Call) -> Outcome:
    """A tone of 20 ms a token: a WAV file, or bare samples for `pcm`, whatever was asked for."""
    check_kind(call.model, "other")
    text = string(call.params, "input")
    if call.params.get("voice") is None:
        raise missing("voice")
    if len(text) > 4096:
        raise invalid("input", "Expected a string of at most 4096 characters.", "string_too_long")
    period = 20 + int(digest(text)[:2], 16) % 20
    wave = bytes(128 + round(60 * math.sin(2 * math.pi * at / period)) for at in range(period))
    length = max(1, count_tokens(text)) * _SAMPLES_PER_SECOND // 50
    samples = (wave * (length // period + 1))[:length]
    if call.params.get("response_format") == "pcm":
        return Answer(samples, "audio/pcm")
    return Answer(_wav(samples), "audio/wav")


def _wav(samples: bytes) -> bytes:
    """A mono WAV file of 8-bit samples."""
    rate = _SAMPLES_PER_SECOND
    format_ = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    content = b"WAVE" + format_ + struct.pack("<4sI", b"data", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(content)) + content


def transcribe(call: Call) -> Outcome:
    """Transcriptions and translations, in all formats; 16,000 bytes are taken for a second."""
    part, translated = call.file("file"), call.path.endswith("translations")
    what = "translation" if translated else "transcription"
    text = f"Simulated {what} of: {part.filename or part.name} ({len(part.content)} bytes)"
    seconds = max(1, len(part.content) // 16_000)
    usage = _usage(call.model, seconds, count_tokens(text))
    if call.streamed:
        return Stream(_events(text, usage))
    end = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    plain = "text/plain; charset=utf-8"
    match call.params.get("response_format", "json"):
        case "json":
            return {"text": text, "usage": usage}
        case "text":
            return Answer(f"{text}\n".encode(), plain)
        case "srt":
            return Answer(f"1\n00:00:00,000 --> {end},000\n{text}\n\n".encode(), plain)
        case "vtt":
            return Answer(f"WEBVTT\n\n00:00:00.000 --> {end}.000\n{text}\n\n".encode(), plain)
        case "verbose_json":
            return _verbose("translate" if translated else "transcribe", text, seconds)
        case other:
            raise invalid("response_format", f"'{other}' is not supported.")


def _usage(model: str, seconds: int, output_tokens: int) -> Json:
    """Whisper is metered by duration, later models by tokens (here ten a second of sound)."""
    if not model.startswith("gpt-"):
        return {"type": "duration", "seconds": seconds}
    return {
        "type": "tokens",
        "input_tokens": 10 * seconds,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 10 * seconds},
        "output_tokens": output_tokens,
        "total_tokens": 10 * seconds + output_tokens,
    }


def _verbose(task: str, text: str, seconds: int) -> Json:
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": float(seconds),
        "text": text,
        "tokens": list(range(count_tokens(text))),
        "temperature": 0.0,
        "avg_logprob": -0.1,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }
    return {
        "task": task,
        "language": "english",
        "duration": float(seconds),
        "text": text,
        "segments": [segment],
        "usage": {"type": "duration", "seconds": seconds},
    }


def _events(text: str, usage: Json) -> Iterator[bytes]:
    for token in split_tokens(text):
        yield event({"type": "transcript.text.delta", "delta": token})
    yield event({"type": "transcript.text.done", "text": text, "usage": usage})
    yield DONE
