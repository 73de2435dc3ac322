"""The cache's key: every field that may change an answer changes it, and its writing does not."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aieye.cache.key import NOT_IN_KEY, NotJson, cache_key, canonical, read_object

Json = dict[str, Any]

names = st.text(max_size=8)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)
)
bodies = st.dictionaries(names, values, max_size=6)


def key_of(text: str) -> bytes:
    return cache_key("chat/completions", 1, "default", canonical(read_object(text.encode())))


def written(body: object) -> str:
    return json.dumps(body)


def shuffled(value: object, chance: random.Random) -> object:
    """The same document with the keys of its objects in another order."""
    if isinstance(value, dict):
        pairs = [(name, shuffled(one, chance)) for name, one in value.items()]
        chance.shuffle(pairs)
        return dict(pairs)
    return [shuffled(one, chance) for one in value] if isinstance(value, list) else value


@given(bodies, st.randoms(use_true_random=False))
def test_the_order_of_keys_spaces_and_escapes_make_no_difference(
    body: Json, chance: random.Random
) -> None:
    other = json.dumps(shuffled(body, chance), indent=2, ensure_ascii=False)
    assert key_of(other) == key_of(written(body))


@given(bodies)
def test_a_body_as_sdks_write_it_has_the_key_of_any_other_writing(body: Json) -> None:
    compact = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    assert key_of(compact) == key_of(json.dumps(body, indent=1))
    assert read_object(compact.encode()).keys() == body.keys()


@given(bodies, names, values)
def test_any_field_that_is_added_makes_another_key(body: Json, name: str, value: object) -> None:
    assume(name not in body and name not in NOT_IN_KEY)
    assert key_of(written({**body, name: value})) != key_of(written(body))


@given(bodies, bodies)
def test_different_documents_have_different_keys(first: Json, second: Json) -> None:
    kept = [{n: v for n, v in one.items() if n not in NOT_IN_KEY} for one in (first, second)]
    same = json.dumps(kept[0], sort_keys=True) == json.dumps(kept[1], sort_keys=True)
    assert (key_of(written(first)) == key_of(written(second))) == same


@given(bodies, st.sampled_from(sorted(NOT_IN_KEY)), values)
def test_who_asks_and_in_which_form_is_left_out(body: Json, name: str, value: object) -> None:
    assert key_of(written({**body, name: value})) == key_of(
        written({key: one for key, one in body.items() if key != name})
    )


PARTS: tuple[tuple[str, int, str, bytes], ...] = (
    ("chat/completions", 1, "default", b"{}"),
    ("completions", 1, "default", b"{}"),
    ("chat/completions", 11, "default", b"{}"),
    ("chat/completions", 1, "default1", b"{}"),
    ("chat/completions", 1, "", b"{}"),
    ("chat/completions", 1, "default", b'{"a":1}'),
)


def test_endpoint_provider_namespace_and_body_all_count() -> None:
    keys = {cache_key(*parts) for parts in PARTS}
    assert len(keys) == len(PARTS)
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize(
    "first, second", [("1", "1.0"), ("1.0", "1e0"), ("1e2", "100"), ("0.1", "0.10")]
)
def test_numbers_count_as_they_are_written(first: str, second: str) -> None:
    assert key_of(f'{{"n":{first}}}') != key_of(f'{{"n":{second}}}')


def test_a_number_that_no_float_holds_is_not_rounded_into_another() -> None:
    long = "12345678901234567890123"
    assert long.encode() in canonical(read_object(f'{{"seed":{long}}}'.encode()))
    assert key_of(f'{{"seed":{long}}}') != key_of(f'{{"seed":{long[:-1]}4}}')


REFUSED: dict[str, bytes] = {
    "the same key twice": b'{"model":"cheap","model":"dear"}',
    "the same key twice, escaped": b'{"model":"cheap","\\u006dodel":"dear"}',
    "twice further down": b'{"a":[{"b":1,"b":2}]}',
    "NaN": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "too large": b'{"a":1e400}',
    "5,000 digits": b'{"a":' + b"9" * 5_000 + b"}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "bad UTF-8": b'{"a":"\xff"}',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "nothing": b"",
    "a list": b"[]",
    "100,000 levels": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_programs_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        canonical(read_object(body))


@pytest.mark.parametrize("text", ['{"a":"\\ud800"}', '{"\\udfff":1}', '{"a":["x\\udc80"]}'])
def test_half_a_surrogate_pair_has_no_canonical_form(text: str) -> None:
    with pytest.raises(NotJson):
        canonical(read_object(text.encode()))


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    with contextlib.suppress(NotJson):
        assert canonical(read_object(raw)).startswith(b"{")


@given(bodies)
def test_the_canonical_form_is_its_own_canonical_form(body: Json) -> None:
    once = canonical(read_object(written(body).encode()))
    assert canonical(read_object(once)) == once
    assert orjson.loads(once) is not None
