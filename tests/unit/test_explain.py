"""Why a call missed: the nearest stored request and the fields that differ."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.cache.explain import Difference, nearest

texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)
documents = st.dictionaries(texts, values, max_size=5)


def body(**fields: Any) -> bytes:
    return orjson.dumps(fields)


def fields_between(asked: bytes, stored: bytes) -> list[Difference]:
    found = nearest(asked, [(1, stored)])
    assert found is not None
    return list(found.fields)


def test_one_changed_field_is_named_with_both_its_values() -> None:
    asked, stored = body(model="m", temperature=0.2), body(model="m", temperature=0.7)
    assert fields_between(asked, stored) == [Difference("/temperature", "0.2", "0.7")]


def test_a_field_that_one_side_lacks_is_absent_there() -> None:
    assert fields_between(body(a=1, top_p=1), body(a=1, seed=None)) == [
        Difference("/top_p", "1", None),
        Difference("/seed", None, "null"),
    ]


def test_paths_lead_into_objects_and_lists_and_escape_their_signs() -> None:
    asked = body(messages=[{"role": "user", "content": "a"}], metadata={"a/b~c": 1})
    stored = body(messages=[{"role": "user", "content": "b"}], metadata={"a/b~c": 2})
    paths = [field.path for field in fields_between(asked, stored)]
    assert paths == ["/messages/0/content", "/metadata/a~1b~0c"]


def test_a_message_put_in_front_is_one_difference_and_not_a_shift_of_all() -> None:
    turns = [{"role": "user", "content": f"turn {number}"} for number in range(5)]
    asked, stored = body(messages=[{"role": "system"}, *turns]), body(messages=turns)
    assert [field.path for field in fields_between(asked, stored)] == ["/messages/0"]


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1.0"), ("true", "1"), ('"1"', "1"), ("1e0", "1")]
)
def test_values_that_are_written_differently_differ_as_they_do_for_the_key(
    one: str, other: str
) -> None:
    asked, stored = f'{{"n":{one}}}'.encode(), f'{{"n":{other}}}'.encode()
    assert fields_between(asked, stored) == [Difference("/n", one, other)]


def test_a_long_text_is_shown_around_the_place_where_it_changes() -> None:
    before, after = "x" * 5_000, "y" * 5_000
    asked = body(prompt=f"{before} 20 November {after}")
    stored = body(prompt=f"{before} 19 November {after}")
    (field,) = fields_between(asked, stored)
    assert field.asked is not None
    assert field.stored is not None
    assert "20 November" in field.asked
    assert "19 November" in field.stored
    assert len(field.asked) < 200
    assert field.asked.startswith("…")
    assert field.asked.endswith("…")


def test_the_nearest_is_the_one_with_the_fewest_differences() -> None:
    asked = body(model="m", temperature=0, seed=1)
    candidates = [
        (1, body(model="m", temperature=1, seed=2)),
        (2, body(model="m", temperature=0, seed=2)),
        (3, body(model="n", temperature=1, seed=3)),
    ]
    found = nearest(asked, candidates)
    assert found is not None
    assert (found.entry_id, found.differing, found.compared) == (2, 1, 3)


def test_a_text_that_changed_a_little_is_nearer_than_another_text() -> None:
    asked = body(prompt="Summarise the report of Monday, please.")
    other = (1, body(prompt="Write a poem about autumn leaves, now!!"))
    alike = (2, body(prompt="Summarise the report of Tuesday, please."))
    found = nearest(asked, [other, alike])
    assert found is not None
    assert found.entry_id == 2
    assert 0.5 <= found.distance < 1


def test_of_equally_near_ones_the_first_is_taken() -> None:
    found = nearest(body(a=1), [(7, body(a=2)), (8, body(a=3))])
    assert found is not None
    assert found.entry_id == 7


def test_nothing_to_compare_with_gives_nothing() -> None:
    assert nearest(body(a=1), []) is None
    assert nearest(b"[1]", [(1, body(a=1))]) is None
    assert nearest(b"not json", [(1, body(a=1))]) is None
    assert nearest(body(a=1), [(1, b"damaged")]) is None


def test_the_same_request_is_at_no_distance() -> None:
    found = nearest(body(a=[1, {"b": 2}]), [(1, body(a=[1, {"b": 2}]))])
    assert found is not None
    assert (found.distance, found.fields) == (0, ())


@given(documents, documents)
def test_documents_differ_exactly_where_a_difference_is_shown(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    asked, stored = orjson.dumps(one), orjson.dumps(other)
    found = nearest(asked, [(1, stored)])
    assert found is not None
    options = orjson.OPT_SORT_KEYS
    is_same = orjson.dumps(one, option=options) == orjson.dumps(other, option=options)
    assert (found.differing == 0) == is_same
    assert all(field.asked != field.stored for field in found.fields if field.asked is None)


def test_only_so_many_fields_are_listed_and_all_are_counted() -> None:
    found = nearest(body(a=list(range(80))), [(1, body(a=list(range(1, 81))))])
    assert found is not None
    assert found.differing == 80
    assert len(found.fields) == 50


def _chat(number: int) -> bytes:
    turns = [{"role": "user", "content": f"{number} {turn} " + "word " * 20} for turn in range(350)]
    return body(model="m", messages=turns)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_chat, id="chats"),
        pytest.param(lambda n: body(input=[[n, m] for m in range(4_500)]), id="nested lists"),
        pytest.param(lambda n: body(input=list(range(n, n + 9_000))), id="token lists"),
        pytest.param(lambda n: body(prompt=f"{n}" + "text " * 10_000 + f"{n}"), id="long texts"),
    ],
)
def test_200_entries_of_50_kb_are_compared(make: Any) -> None:
    asked, candidates = make(1_000), [(number, make(number)) for number in range(200)]
    assert 35_000 < len(asked) < 70_000
    assert nearest(asked, candidates) is not None


def test_a_deeply_nested_document_does_no_harm() -> None:
    asked, stored = (b'{"a":' * 900 + value + b"}" * 900 for value in (b"1", b"2"))
    assert nearest(asked, [(1, stored), (2, body(a=1))]) is not None
    (field,) = fields_between(asked, body(a=1))
    assert field.asked == "(nested too deep to be shown)"
