"""/v1/images: squares of one colour, which the request decides."""

from __future__ import annotations

import base64
import re
import struct
import zlib

from aieye.demo.answers import CREATED, Json, Outcome, digest
from aieye.demo.calls import Call
from aieye.demo.errors import invalid
from aieye.demo.params import string
from aieye.demo.tokens import count_tokens


def create(call: Call) -> Outcome:
    """Generations, edits and variations; base64 unless a URL is asked for (which leads nowhere)."""
    params, endpoint = call.params, call.path.rpartition("/")[2]
    prompt = "" if endpoint == "variations" else string(params, "prompt")
    if endpoint != "generations":
        call.file("image")
    data = []
    for index in range(_count(params.get("n"))):
        hashed = digest(call.digest, str(index))
        if params.get("response_format") == "url":
            image = {"url": f"https://simulated.invalid/images/{hashed[:24]}.png"}
        else:
            image = {"b64_json": base64.b64encode(png(bytes.fromhex(hashed[:6]))).decode()}
        data.append({**image, "revised_prompt": f"Simulated image of: {prompt}"})
    answer: Json = {"created": CREATED, "data": data}
    if str(params.get("model")).startswith("gpt-image"):
        drawn = sum(count_tokens(image.get("b64_json", "")) for image in data)
        answer["usage"] = _usage(count_tokens(prompt), drawn)
    return answer


def png(colour: bytes, side: int = 8) -> bytes:
    """A square PNG of one colour (3 bytes RGB), stored without compression."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\x00" + colour * side) * side
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, level=0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _count(value: object) -> int:
    """`n` of an image request, a number in JSON and its digits in a form."""
    text = "1" if value is None else str(value)
    if not re.fullmatch(r"[1-9]|10", text):
        raise invalid("n", "Expected a whole number between 1 and 10.")
    return int(text)


def _usage(text_tokens: int, image_tokens: int) -> Json:
    return {
        "input_tokens": text_tokens,
        "input_tokens_details": {"text_tokens": text_tokens, "image_tokens": 0},
        "output_tokens": image_tokens,
        "total_tokens": text_tokens + image_tokens,
    }
