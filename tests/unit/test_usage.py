"""What a provider's usage means, whatever its shape and however wrong it is."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.gateway.usage import (
    FINISH_COMPLETE,
    FINISH_ERROR,
    MAX_TOKENS,
    Usage,
    UsageExtras,
    count_tokens,
    estimate_tokens,
    estimate_usage,
    is_complete,
    is_error_body,
    latest_usage,
    normalise_usage,
    text_size,
    usage_of_body,
)
from aieye.gateway.usage import tokens as tokens_module

CHAT: dict[str, Any] = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 64,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}

COUNTS = (
    "input",
    "output",
    "cached",
    "cache_write",
    "reasoning",
    "input_audio",
    "input_image",
    "output_audio",
    "output_image",
)


def read(raw: object, service_tier: object = None) -> Usage:
    """Normalise, and drop the verbatim form so that the counts compare on their own."""
    usage = normalise_usage(raw, service_tier)
    assert usage is not None
    return replace(usage, raw=None)


# -- shapes -----------------------------------------------------------------------------------


def test_a_chat_completion_states_cached_and_reasoning_tokens_within_the_totals() -> None:
    assert read(CHAT) == Usage(input=2006, output=300, cached=1920, reasoning=64)


def test_the_providers_figures_are_kept_verbatim() -> None:
    usage = normalise_usage(CHAT)
    assert usage is not None
    assert usage.raw is CHAT


def test_a_response_uses_the_other_names_for_the_same_counts() -> None:
    raw = {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 8},
        "total_tokens": 123,
    }
    assert read(raw) == Usage(input=36, output=87, cached=4, reasoning=8)


@pytest.mark.parametrize(
    "raw", [{"prompt_tokens": 8, "total_tokens": 8}, {"total_tokens": 8}], ids=["openai", "voyage"]
)
def test_embeddings_are_all_input(raw: dict[str, int]) -> None:
    assert read(raw) == Usage(input=8)


def test_audio_in_a_chat_is_part_of_the_input_and_of_the_output() -> None:
    raw = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"audio_tokens": 60, "text_tokens": 40},
        "completion_tokens_details": {"audio_tokens": 40, "text_tokens": 10},
    }
    assert read(raw) == Usage(input=100, output=50, input_audio=60, output_audio=40)


def test_an_image_answer_that_breaks_down_only_its_input_made_nothing_but_image() -> None:
    raw = {
        "total_tokens": 100,
        "input_tokens": 50,
        "output_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    }
    assert read(raw) == Usage(input=50, output=50, input_image=40, output_image=50)


def test_an_image_answer_that_breaks_down_its_output_is_believed() -> None:
    raw = {
        "input_tokens": 50,
        "output_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        "output_tokens_details": {"text_tokens": 20, "image_tokens": 30},
    }
    assert read(raw) == Usage(input=50, output=50, input_image=40, output_image=30)


def test_a_transcription_spells_its_details_in_the_singular() -> None:
    raw = {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
        "output_tokens": 45,
        "total_tokens": 59,
    }
    assert read(raw) == Usage(input=14, output=45, input_audio=14)


def test_a_transcription_by_duration_states_seconds() -> None:
    assert read({"type": "duration", "seconds": 8.5}) == Usage(extras=UsageExtras(audio_ms=8500))


def test_anthropic_counts_the_cache_beside_the_input() -> None:
    raw = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 3000,
        "output_tokens": 5,
        "service_tier": "standard",
        "server_tool_use": {"web_search_requests": 2},
    }
    assert read(raw) == Usage(
        input=3210,
        output=5,
        cached=3000,
        cache_write=200,
        service_tier="standard",
        extras=UsageExtras(searches=2),
    )


@pytest.mark.parametrize(
    "own",
    [
        {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        {"cached_tokens": 64},
        {"cache_read_input_tokens": 64},
        {"cached_prompt_text_tokens": 64},
        {"prompt_tokens_details": {"cached_tokens": 64, "image_tokens": 0}},
    ],
    ids=["deepseek", "moonshot", "databricks", "xai-old", "xai"],
)
def test_other_names_for_cached_tokens_are_within_the_prompt(own: dict[str, Any]) -> None:
    raw = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, **own}
    assert read(raw) == Usage(input=100, output=10, cached=64)


def test_tokens_written_to_the_cache_are_within_the_prompt() -> None:
    details = {"cached_tokens": 64, "cache_write_tokens": 30}
    raw = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": details}
    assert read(raw) == Usage(input=100, output=10, cached=64, cache_write=30)


def test_reasoning_that_the_total_counts_beside_the_completion_is_output() -> None:
    raw = {
        "prompt_tokens": 20,
        "completion_tokens": 50,
        "total_tokens": 270,
        "completion_tokens_details": {"reasoning_tokens": 200},
    }
    assert read(raw) == Usage(input=20, output=250, reasoning=200)


def test_perplexity_bills_reasoning_citations_and_searches_beside_the_completion() -> None:
    raw = {
        "prompt_tokens": 33,
        "completion_tokens": 7163,
        "total_tokens": 7196,
        "citation_tokens": 20016,
        "num_search_queries": 18,
        "reasoning_tokens": 3000,
    }
    extras = UsageExtras(citation=20016, searches=18)
    assert read(raw) == Usage(input=33, output=30179, reasoning=3000, extras=extras)


def test_a_total_that_the_parts_do_not_add_up_to_is_not_believed() -> None:
    raw = {"prompt_tokens": 20, "completion_tokens": 50, "total_tokens": 999}
    assert read(raw) == Usage(input=20, output=50)


def test_fields_that_mean_nothing_to_us_change_nothing() -> None:
    raw = CHAT | {"queue_time": 0.03, "cost": 0.00012, "is_byok": False}
    assert read(raw) == read(CHAT)


@pytest.mark.parametrize("tier", [None, 5, "x" * 33])
def test_a_service_tier_that_is_no_short_text_is_left_out(tier: object) -> None:
    assert read(CHAT, tier).service_tier is None


def test_the_service_tier_beside_the_usage_is_kept() -> None:
    assert read(CHAT, "flex").service_tier == "flex"


@pytest.mark.parametrize(
    "raw", [None, 5, "usage", [], {}, {"prompt_tokens": None}, {"cost": 0.1}, {"seconds": -1}]
)
def test_where_nothing_is_stated_there_is_no_usage(raw: object) -> None:
    assert normalise_usage(raw) is None


# -- lies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "taken"),
    [
        (-5, 0),
        ("12", 0),
        ("", 0),
        ({}, 0),
        (2**63, 0),
        (MAX_TOKENS + 1, 0),
        (1e300, 0),
        (float("inf"), 0),
        (float("nan"), 0),
        (True, 0),
        ([1], 0),
        (12.0, 12),
        (12.7, 12),
    ],
)
@pytest.mark.parametrize("name", ["prompt_tokens", "input_tokens"])
def test_an_impossible_count_is_flagged_and_never_counted_as_it_stands(
    name: str, count: object, taken: int
) -> None:
    usage = read({name: count})
    assert usage == Usage(input=taken, anomaly=True)


@pytest.mark.parametrize(
    "details",
    [
        {"prompt_tokens_details": {"cached_tokens": 101}},
        {"prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 60}},
        {"prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens_details": {"audio_tokens": 101}},
        {"prompt_tokens_details": {"audio_tokens": 60, "image_tokens": 60}},
        {"prompt_tokens_details": "many"},
        {"prompt_tokens_details": ""},
        {"prompt_tokens_details": {"cached_tokens": ""}, "total_tokens": 110},
        {"completion_tokens_details": {"audio_tokens": 11}},
        {"completion_tokens_details": [1]},
        {"prompt_cache_hit_tokens": 101},
        {"total_tokens": -110},
    ],
)
def test_a_part_that_cannot_be_true_is_flagged_and_clamped(details: dict[str, Any]) -> None:
    usage = read({"prompt_tokens": 100, "completion_tokens": 10, **details})
    assert usage.anomaly
    assert (usage.input, usage.output) == (100, 10)
    assert_consistent(usage)


def test_a_report_of_the_most_tokens_that_can_be_is_believed() -> None:
    raw = {"prompt_tokens": 1_000_000_000, "completion_tokens": MAX_TOKENS}
    assert read(raw) == Usage(input=1_000_000_000, output=MAX_TOKENS)


def test_a_stream_that_reports_twice_is_billed_by_the_last_report() -> None:
    first, last = Usage(input=10, output=1), Usage(input=10, output=7)
    assert latest_usage(None, first) is first
    assert latest_usage(first, last) is last


def test_a_later_report_that_takes_tokens_back_is_not_believed() -> None:
    kept = latest_usage(Usage(input=10, output=7), Usage(input=10, output=1))
    assert kept == Usage(input=10, output=7, anomaly=True)
    assert latest_usage(kept, Usage()) is kept


NAMES = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "input_tokens",
        "output_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens_details",
        "output_tokens_details",
        "input_token_details",
        "cached_tokens",
        "cache_write_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "prompt_cache_hit_tokens",
        "audio_tokens",
        "image_tokens",
        "text_tokens",
        "reasoning_tokens",
        "citation_tokens",
        "num_search_queries",
        "server_tool_use",
        "web_search_requests",
        "seconds",
        "prompt_audio_seconds",
        "service_tier",
        "type",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(0, 5000)
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=3)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=8),
    max_leaves=20,
)


def assert_consistent(usage: Usage) -> None:
    for name in COUNTS:
        count = getattr(usage, name)
        assert type(count) is int
        assert 0 <= count <= MAX_TOKENS
    assert usage.cached + usage.cache_write <= usage.input
    assert usage.input_audio + usage.input_image <= usage.input
    assert usage.output_audio + usage.output_image <= usage.output
    assert usage.reasoning <= usage.output


@given(st.dictionaries(NAMES, JSON, max_size=12) | JSON)
def test_no_usage_object_raises_or_gives_inconsistent_counts(raw: object) -> None:
    usage = normalise_usage(raw)
    if usage is not None:
        assert_consistent(usage)
        assert usage.raw is raw
        extras = usage.extras or UsageExtras()
        assert min(extras.citation, extras.searches, extras.audio_ms, extras.characters) >= 0


@st.composite
def nearly_ordinary(draw: st.DrawFn) -> dict[str, Any]:
    """Figures in OpenAI's shape of which a few are not what they should be."""
    raw: dict[str, Any] = orjson.loads(orjson.dumps(CHAT))
    for name in draw(st.lists(st.sampled_from(sorted(raw)), max_size=2)):
        raw[name] = draw(LEAVES | st.dictionaries(NAMES, st.integers(-2, 3000), max_size=4))
    for details in (raw["prompt_tokens_details"], raw["completion_tokens_details"]):
        if isinstance(details, dict):
            details.update(draw(st.dictionaries(NAMES, LEAVES, max_size=2)))
    return raw


@given(nearly_ordinary())
def test_the_short_way_for_ordinary_figures_agrees_with_the_long_one(raw: dict[str, Any]) -> None:
    by_any_way = normalise_usage(raw)
    by_the_long_way = normalise_usage(raw | {"queue_time": 0.1})
    if by_any_way is None:
        assert by_the_long_way is None
    else:
        assert by_the_long_way is not None
        assert replace(by_any_way, raw=None) == replace(by_the_long_way, raw=None)


@given(st.integers(0, MAX_TOKENS), st.integers(0, MAX_TOKENS))
def test_honest_figures_are_never_flagged(prompt: int, completion: int) -> None:
    raw = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    assert read(raw) == Usage(input=prompt, output=completion)


# -- bodies -----------------------------------------------------------------------------------


def chat_body(**changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello."}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": CHAT,
        "service_tier": "default",
        **changes,
    }


def test_a_plain_answer_is_read_once_for_usage_model_and_finish() -> None:
    usage, model, finish = usage_of_body(orjson.dumps(chat_body()))
    assert usage == Usage(
        input=2006, output=300, cached=1920, reasoning=64, service_tier="default", raw=CHAT
    )
    assert (model, finish) == ("gpt-4o-2024-08-06", "stop")


@pytest.mark.parametrize("body", [b"", b"<html>", b"ID3\x04\x00", b'{"usage":', b"[1]", b"null"])
def test_a_body_that_is_no_json_object_says_nothing(body: bytes) -> None:
    assert usage_of_body(body) == (None, None, None)
    assert usage_of_body(body * 20_000) == (None, None, None)


def test_an_answer_without_usage_or_model_still_says_how_it_finished() -> None:
    body = orjson.dumps(chat_body(usage=None, model=None))
    assert usage_of_body(body) == (None, None, "stop")


def choices(*reasons: str | None) -> dict[str, Any]:
    return {"choices": [{"finish_reason": reason} for reason in reasons]}


@pytest.mark.parametrize(
    ("answer", "finish", "complete"),
    [
        (choices("stop"), "stop", True),
        (choices("tool_calls"), "tool_calls", True),
        (choices("stop", "length", "content_filter"), "length", True),
        (choices("stop", None), None, False),
        (choices(), None, False),
        (choices(None), None, False),
        ({"choices": [5]}, None, False),
        ({"object": "edit", "choices": [{"text": "x"}]}, FINISH_COMPLETE, True),
        ({"object": "response", "status": "completed", "error": None}, "completed", True),
        ({"object": "response", "status": "in_progress"}, "in_progress", False),
        ({"object": "response", "status": "failed", "error": {"code": "x"}}, FINISH_ERROR, False),
        (
            {
                "object": "response",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
            },
            "max_output_tokens",
            True,
        ),
        ({"object": "response", "status": "incomplete"}, "incomplete", False),
        ({"object": "response", "status": 5}, None, False),
        ({"object": "list", "data": []}, FINISH_COMPLETE, True),
        ({"text": "a transcription"}, FINISH_COMPLETE, True),
        ({"error": {"message": "no"}}, FINISH_ERROR, False),
    ],
)
def test_the_finish_says_whether_an_answer_is_whole(
    answer: dict[str, Any], finish: str | None, complete: bool
) -> None:
    assert usage_of_body(orjson.dumps(answer))[2] == finish
    assert is_complete(finish) is complete


@pytest.mark.parametrize(
    ("answer", "is_error"),
    [
        ({"error": {"message": "no"}}, True),
        ({"error": "no", "choices": []}, True),
        ({"type": "error", "error": {"type": "overloaded_error"}}, True),
        ({"object": "error", "message": "no", "code": 400}, True),
        ({"error": None, "output": []}, False),
        ({"error": {"message": "late"}, "choices": [{}]}, False),
        ({"data": []}, False),
        ([], False),
        (None, False),
    ],
)
def test_a_200_that_carries_an_error_in_place_of_content_is_told(
    answer: object, is_error: bool
) -> None:
    assert is_error_body(answer) is is_error


def test_a_verbose_transcription_states_its_length_beside_the_usage() -> None:
    body = orjson.dumps({"task": "transcribe", "duration": 8.47, "text": "Hello."})
    assert usage_of_body(body)[0] == Usage(extras=UsageExtras(audio_ms=8470))


def long_list(item: object) -> list[object]:
    return [{"index": i, "embedding": item} for i in range(400)]


VECTOR = [random.Random(1).random() for _ in range(8)]
LONG_LISTS: dict[str, dict[str, Any]] = {
    "openai": {
        "object": "list",
        "data": long_list(VECTOR),
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    },
    "vllm": {
        "id": "embd-1",
        "model": "text-embedding-3-small",
        "data": long_list("AAAA" * 40),
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    },
    "brackets in texts": {
        "id": "[[",
        "data": long_list(["]", '"usage":{"prompt_tokens":99}', "}"] * 5),
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
        "note": "]]}",
    },
    "two lists": {
        "data": long_list(VECTOR),
        "model": "text-embedding-3-small",
        "warnings": [],
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    },
    "usage first": {
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
        "model": "text-embedding-3-small",
        "data": long_list(VECTOR),
    },
    "a deeper usage": {
        "data": long_list({"usage": {"prompt_tokens": 99}, "model": "wrong"}),
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    },
}


@pytest.mark.parametrize("answer", LONG_LISTS.values(), ids=LONG_LISTS)
@pytest.mark.parametrize("indent", [None, orjson.OPT_INDENT_2])
def test_a_long_list_is_skipped_and_what_surrounds_it_is_read(
    answer: dict[str, Any], indent: int | None
) -> None:
    usage, model, finish = usage_of_body(orjson.dumps(answer, option=indent))
    assert usage == Usage(input=8, raw={"prompt_tokens": 8, "total_tokens": 8})
    assert (model, finish) == ("text-embedding-3-small", FINISH_COMPLETE)


def test_a_long_list_of_embeddings_is_not_parsed() -> None:
    body = orjson.dumps(LONG_LISTS["openai"])
    broken = body.replace(b'"index":7,', b'"index":7 7,')
    assert usage_of_body(broken) == usage_of_body(body)


def test_a_long_picture_without_a_model_is_read() -> None:
    picture: dict[str, Any] = {
        "created": 1,
        "data": [{"b64_json": "A" * 50_000}],
        "usage": {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11},
    }
    usage, model, finish = usage_of_body(orjson.dumps(picture))
    assert usage == Usage(input=5, output=6, raw=picture["usage"])
    assert (model, finish) == (None, FINISH_COMPLETE)


def test_a_long_completion_is_read_whole() -> None:
    answer = chat_body()
    answer["choices"][0]["message"]["content"] = "[]" * 20_000
    assert usage_of_body(orjson.dumps(answer))[1:] == ("gpt-4o-2024-08-06", "stop")


@given(st.binary(max_size=200) | st.dictionaries(NAMES, LEAVES).map(json.dumps).map(str.encode))
def test_no_body_raises(body: bytes) -> None:
    usage_of_body(body)
    usage_of_body(b" " * 20_000 + body)


# -- estimates --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Count by the rule, whatever is installed here."""
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    tokens_module._encoding.cache_clear()
    yield
    tokens_module._encoding.cache_clear()


@pytest.mark.parametrize(("size", "tokens"), [(-1, 0), (0, 0), (1, 1), (4, 1), (5, 2)])
def test_four_characters_are_a_token(size: int, tokens: int) -> None:
    assert estimate_tokens(size) == tokens


def test_a_script_with_long_letters_has_more_tokens_than_latin() -> None:
    assert count_tokens("a" * 8) == 2
    assert count_tokens("漢" * 8) == 6


@pytest.mark.parametrize(
    "text", ["длинный текст на русском", "ένα μεγάλο κείμενο", "größeres Übel"]
)
def test_in_an_alphabet_four_letters_are_a_token_however_many_bytes_they_take(text: str) -> None:
    assert count_tokens(text) == estimate_tokens(len(text))
    request = {"tools": [{"description": text}]}
    latin = {"tools": [{"description": "x" * len(text)}]}
    assert estimate_usage(request, deltas=0, output_size=0) == estimate_usage(
        latin, deltas=0, output_size=0
    )


def test_half_a_surrogate_pair_has_a_size() -> None:
    assert text_size("a\ud800") == 4


def test_with_the_optional_tokenizer_texts_are_counted_exactly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoding = SimpleNamespace(encode_ordinary=str.split)
    package = SimpleNamespace(get_encoding={"o200k_base": encoding}.__getitem__)
    monkeypatch.setitem(sys.modules, "bpe_openai", package)
    tokens_module._encoding.cache_clear()
    assert count_tokens("extraordinarily few words") == 3
    assert count_tokens("") == 0
    assert count_tokens("x " * 60_000) == 60_000


def test_a_chat_is_estimated_from_its_texts_and_three_tokens_a_message() -> None:
    request = {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "a" * 40},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "b" * 20},
                    {"type": "image_url", "image_url": {"url": "data:" + "A" * 9999}},
                ],
            },
            {"role": "assistant", "tool_calls": [{"function": {"arguments": "c" * 8}}]},
        ],
    }
    usage = estimate_usage(request, deltas=0, output_size=0)
    assert usage == Usage(input=10 + 5 + 2 + 3 * 3, estimated=True)


@pytest.mark.parametrize(
    ("request_body", "tokens"),
    [
        ({"prompt": "a" * 12}, 3),
        ({"prompt": ["a" * 12, "b" * 4]}, 4),
        ({"prompt": [[1, 2, 3], [4]]}, 4),
        ({"input": "a" * 12, "instructions": "b" * 8}, 5),
        ({"input": [{"role": "user", "content": [{"text": "a" * 12}]}]}, 6),
        ({"input": [[1, 2], [3]]}, 3),
        ({"prompt": "", "tools": [{"name": "x"}]}, 4),
        ({"prompt": "a", "tools": [2**70]}, 1),
        ({"prompt": "a", "tools": "none"}, 1),
        ({"messages": 5.5, "input": None}, 0),
        ({}, 0),
    ],
)
def test_each_kind_of_prompt_is_estimated(request_body: dict[str, Any], tokens: int) -> None:
    assert estimate_usage(request_body, deltas=0, output_size=0).input == tokens


@pytest.mark.parametrize(
    ("deltas", "output_size", "tokens"),
    [
        (100, 420, 100),  # a token at a time
        (100, 130, 100),  # a token at a time, in a script of long letters
        (3, 4000, 1000),  # a paragraph at a time
        (0, 401, 101),  # no stream
        (0, 0, 0),
    ],
)
def test_output_is_the_deltas_if_they_came_a_token_at_a_time_else_four_characters_a_token(
    deltas: int, output_size: int, tokens: int
) -> None:
    usage = estimate_usage({}, deltas=deltas, output_size=output_size)
    assert usage == Usage(output=tokens, estimated=True)


def test_a_request_for_speech_states_the_characters_it_is_billed_by() -> None:
    usage = estimate_usage({"input": "Hello.", "voice": "alloy"}, deltas=0, output_size=0)
    assert usage.extras == UsageExtras(characters=6)


def test_a_request_nested_beyond_all_measure_is_estimated() -> None:
    nested: Any = "abcd"
    for _ in range(100_000):
        nested = [nested]
    assert estimate_usage({"prompt": nested}, deltas=0, output_size=0).input == 1


@given(st.dictionaries(st.sampled_from(["messages", "input", "prompt", "tools", "voice"]), JSON))
def test_no_request_raises(request_body: dict[str, Any]) -> None:
    assert_consistent(estimate_usage(request_body, deltas=1, output_size=10))
