"""Vectors out of the answer of a model that embeds, as rows of 32-bit floats. Pure; needs numpy."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from aieye.presets.ranking import Floats


class NoVectors(Exception):
    """The answer holds no usable vectors; the message says why."""


class Embedded(NamedTuple):
    """A vector for each text, in order, and the model as the answer names it."""

    rows: Floats
    model: str | None


def read_answer(body: bytes, count: int) -> Embedded:
    """The vectors of `count` texts, written as numbers or in base64. Raises `NoVectors`."""
    try:
        answer = orjson.loads(body)
        items = answer["data"]
        vectors = [item["embedding"] for item in _in_order(items)]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise NoVectors("the answer holds no vectors") from error
    if len(vectors) != count:
        raise NoVectors(f"the answer holds {len(vectors):,} vectors for {count:,} texts")
    rows = [_row(vector) for vector in vectors]
    if len({len(row) for row in rows}) > 1:
        raise NoVectors("the vectors of one answer have different lengths")
    found: Floats = np.stack(rows)
    if not found.size:
        raise NoVectors("a vector is empty")
    largest = np.abs(found).max(axis=1)
    # A comparison with what is no number is false.
    if not (largest < np.inf).all():
        raise NoVectors("a vector holds what is no number")
    if not (largest > 0).all():
        raise NoVectors("a vector is zero")
    model = answer.get("model")
    return Embedded(found, model if isinstance(model, str) and model else None)


def _in_order(items: Sequence[Any]) -> Sequence[Any]:
    """By the index that each says; as they came where they say none."""
    if [item.get("index") for item in items] == list(range(len(items))):
        return items
    if any(type(item.get("index")) is not int for item in items):
        return items
    ordered = sorted(items, key=lambda item: int(item["index"]))
    if [item["index"] for item in ordered] != list(range(len(items))):
        raise NoVectors("the answer's vectors are not numbered one by one")
    return ordered


def _row(vector: Any) -> Floats:
    try:
        if isinstance(vector, str):
            return np.frombuffer(base64.b64decode(vector, validate=True), dtype="<f4")
        if not isinstance(vector, list):
            raise TypeError
        with np.errstate(over="ignore"):
            row = np.array(vector, dtype=np.float32)
    except (binascii.Error, ValueError, TypeError, OverflowError) as error:
        raise NoVectors("a vector is neither numbers nor 32-bit floats in base64") from error
    if row.ndim != 1:
        raise NoVectors("a vector is neither numbers nor 32-bit floats in base64")
    return row
