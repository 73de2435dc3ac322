"""An answer stored in one form is given in the other without loss, or not at all."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from aieye.cache.forms import CannotConvert, Dialect, fold_frames, frame_body, strip_usage
from aieye.gateway.sse import StreamMeter, iter_events
from aieye.gateway.usage import is_complete, usage_of_body

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
DONE = b"data: [DONE]\n\n"
RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

# --- Making answers -------------------------------------------------------------------------------


def chunk(delta: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """One chat chunk as OpenAI writes it, with the one choice's delta, or without choices."""
    names = ("index", "finish_reason", "logprobs", "token_ids")
    own = {key: fields.pop(key) for key in names if key in fields}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} | own
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "gpt-5.4-mini",
        "system_fingerprint": "fp_1",
        "choices": [] if delta is None else [choice],
        **fields,
    }


def end(reason: str = "stop", **fields: Any) -> dict[str, Any]:
    return chunk({}, finish_reason=reason, **fields)


def stream(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in chunks) + DONE


def fold(*chunks: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(fold_frames("chat", stream(*chunks)))
    return body


def message(*deltas: dict[str, Any]) -> dict[str, Any]:
    """The message that a stream of these deltas folds to."""
    folded: dict[str, Any] = fold(*map(chunk, deltas), end())["choices"][0]["message"]
    return folded


def frames(
    dialect: Dialect, body: dict[str, Any], *, include_usage: bool = True
) -> list[dict[str, Any]]:
    """The events of a body as a stream, which is of the right outer form."""
    raw = frame_body(dialect, orjson.dumps(body), include_usage=include_usage)
    events = list(iter_events(raw))
    assert b"".join(raw[slice(*event.span)] for event in events) == raw
    if dialect != "responses":
        assert events.pop().data == b"[DONE]"
    read = [orjson.loads(event.data) for event in events]
    if dialect == "responses":
        assert [event.name for event in events] == [event["type"] for event in read]
    return read


def folded_back(dialect: Dialect, body: dict[str, Any], *, include_usage: bool = True) -> Any:
    raw = frame_body(dialect, orjson.dumps(body), include_usage=include_usage)
    return orjson.loads(fold_frames(dialect, raw))


def completion(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-5.4-mini",
        "choices": list(choices),
        "usage": USAGE,
        **fields,
    }


def choice(index: int = 0, reason: str = "stop", **said: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": None, "refusal": None, **said}
    return {"index": index, "message": said, "logprobs": None, "finish_reason": reason}


# --- Bodies of any kind ---------------------------------------------------------------------------

TEXT = st.one_of(st.text(max_size=20), st.sampled_from(["[DONE]", "a\u2028b\r\n\n", '{"error"']))
SOME_TEXT = TEXT.filter(bool)
NAME = st.text("abc_", min_size=1, max_size=8)


def objects(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Any:
    return st.fixed_dictionaries(required, optional=optional or {})


TOKENS = st.lists(
    objects(
        {
            "token": TEXT,
            "logprob": st.floats(-20, 0),
            "bytes": st.none(),
            "top_logprobs": st.just([]),
        }
    ),
    max_size=3,
)
TOOL_CALLS = st.lists(
    objects(
        {
            "id": NAME,
            "type": st.just("function"),
            "function": objects({"name": NAME, "arguments": TEXT}),
        }
    ),
    max_size=3,
)
ANNOTATION = {"type": "url_citation", "start_index": 0, "end_index": 1, "url": "u", "title": "t"}
CITATION = ANNOTATION.copy()
del CITATION["type"]
MESSAGES = objects(
    {"role": st.just("assistant"), "content": st.none() | TEXT, "refusal": st.none() | TEXT},
    {
        "tool_calls": TOOL_CALLS | st.none(),
        "function_call": st.none() | objects({"name": NAME, "arguments": TEXT}),
        "reasoning_content": st.none() | TEXT,
        "annotations": st.sampled_from(
            [[], [{"type": "url_citation", "url_citation": CITATION}] * 2]
        ),
        "audio": st.none()
        | objects(
            {
                "id": NAME,
                "data": st.sampled_from(["", "UklGRg==", "AAAA"]),
                "transcript": TEXT,
                "expires_at": st.integers(0, 2**40),
            }
        ),
        "thoughts": st.none()
        | objects({"depth": st.integers(-(2**63), 2**64 - 1)})
        | st.lists(st.integers(-9, 9)),
    },
)
LOGPROBS = st.none() | objects({"content": TOKENS | st.none(), "refusal": st.none() | TOKENS})


def choices(required: dict[str, Any], optional: dict[str, Any]) -> Any:
    return st.lists(objects(required, optional), min_size=1, max_size=3).map(
        lambda found: [{"index": index, **one} for index, one in enumerate(found)]
    )


ANSWER = {
    "id": SOME_TEXT,
    "created": st.integers(1, 2**40),
    "model": SOME_TEXT,
    "usage": st.just(USAGE) | st.just({**USAGE, "total_tokens": 2**63, "cost": 1e-7}),
}
MORE = {
    "system_fingerprint": st.none() | NAME,
    "service_tier": st.sampled_from([None, "default"]),
    "citations": st.lists(SOME_TEXT, max_size=2),
    "x_provider": st.none() | objects({"id": NAME, "n": st.floats(0, 1)}),
}
CHATS = objects(
    {
        **ANSWER,
        "object": st.just("chat.completion"),
        "choices": choices(
            {"message": MESSAGES, "finish_reason": st.sampled_from(["stop", "length"])},
            {"logprobs": LOGPROBS, "stop_reason": st.none() | NAME},
        ),
    },
    MORE,
)
TEXT_LOGPROBS = st.none() | objects(
    {
        "tokens": st.lists(TEXT, max_size=3),
        "token_logprobs": st.lists(st.floats(-20, 0), max_size=3),
        "top_logprobs": st.none() | st.lists(objects({"a": st.floats(-20, 0)}), max_size=2),
        "text_offset": st.lists(st.integers(0, 9), max_size=3),
    }
)
COMPLETIONS = objects(
    {
        **ANSWER,
        "object": st.just("text_completion"),
        "choices": choices(
            {"text": TEXT, "finish_reason": st.sampled_from(["stop", "content_filter"])},
            {"logprobs": TEXT_LOGPROBS},
        ),
    },
    MORE,
)
PARTS = st.one_of(
    objects(
        {
            "type": st.just("output_text"),
            "text": TEXT,
            "annotations": st.sampled_from([[], [ANNOTATION]]),
        },
        {"logprobs": st.just([])},
    ),
    objects({"type": st.just("refusal"), "refusal": TEXT}),
)
STATUS = {"status": st.just("completed")}
ITEMS = st.one_of(
    objects(
        {
            "id": NAME,
            "type": st.just("message"),
            "role": st.just("assistant"),
            "content": st.lists(PARTS, max_size=2),
            **STATUS,
        }
    ),
    objects(
        {
            "id": NAME,
            "type": st.just("reasoning"),
            "summary": st.lists(
                objects({"type": st.just("summary_text"), "text": TEXT}), max_size=2
            ),
        },
        {
            "content": st.lists(
                objects({"type": st.just("reasoning_text"), "text": TEXT}), max_size=2
            ),
            "encrypted_content": st.none() | TEXT,
            **STATUS,
        },
    ),
    objects(
        {
            "id": NAME,
            "type": st.just("function_call"),
            "call_id": NAME,
            "name": NAME,
            "arguments": TEXT,
        },
        STATUS,
    ),
    objects(
        {
            "id": NAME,
            "type": st.just("custom_tool_call"),
            "call_id": NAME,
            "name": NAME,
            "input": TEXT,
        }
    ),
    objects(
        {
            "id": NAME,
            "type": st.just("web_search_call"),
            "action": st.just({"type": "search", "query": "q"}),
            **STATUS,
        }
    ),
)
RESPONSE_USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 12,
}
RESPONSES = objects(
    {
        "id": SOME_TEXT,
        "object": st.just("response"),
        "created_at": st.integers(0, 2**40),
        "status": st.sampled_from(["completed", "incomplete"]),
        "error": st.none(),
        "incomplete_details": st.sampled_from([None, {"reason": "max_output_tokens"}]),
        "model": SOME_TEXT,
        "output": st.lists(ITEMS, max_size=3),
        "parallel_tool_calls": st.booleans(),
        "tool_choice": st.just("auto"),
        "tools": st.just([]),
        "usage": st.just(RESPONSE_USAGE),
    },
    {"metadata": st.just({"delta": "a", "type": "error"}), "completed_at": st.integers(0, 9)},
)
QUICK = settings(max_examples=100, deadline=None)


@QUICK
@given(CHATS)
def test_a_chat_body_comes_back_from_its_stream(body: dict[str, Any]) -> None:
    assert folded_back("chat", body) == body
    del body["usage"]
    assert folded_back("chat", body, include_usage=False) == body


@QUICK
@given(CHATS)
def test_a_framed_chat_is_what_the_official_client_reads(body: dict[str, Any]) -> None:
    state = ChatCompletionStreamState()
    for event in frames("chat", body):
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    final = state.current_completion_snapshot
    assert final.usage is not None
    assert final.usage.to_dict() == body["usage"]
    for read, said in zip(final.choices, body["choices"], strict=True):
        assert read.message.content == said["message"]["content"]
        assert read.message.refusal == said["message"]["refusal"]
        assert read.finish_reason == said["finish_reason"]
        calls = [call.function for call in read.message.tool_calls or []]
        assert [{"name": call.name, "arguments": call.arguments} for call in calls] == [
            call["function"] for call in said["message"].get("tool_calls") or []
        ]


@QUICK
@given(COMPLETIONS)
def test_a_text_completion_comes_back_from_its_stream(body: dict[str, Any]) -> None:
    assert folded_back("completions", body) == body
    Completion.model_validate(folded_back("completions", body))
    *_, last = (event for event in frames("completions", body) if event["choices"])
    Completion.model_validate(last)


@QUICK
@given(RESPONSES)
def test_a_response_comes_back_from_its_stream(body: dict[str, Any]) -> None:
    assert folded_back("responses", body) == body


@QUICK
@given(RESPONSES)
def test_a_framed_response_is_what_the_official_client_reads(body: dict[str, Any]) -> None:
    events = frames("responses", body)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    said: dict[tuple[object, ...], str] = {}
    for event in events:
        read = RESPONSE_EVENT.validate_python(event)
        assert read.type == event["type"]
        if event["type"].endswith(".delta"):
            part = event.get("content_index", event.get("summary_index"))
            said[event["type"], event["output_index"], part] = event["delta"]
    texts = [
        text
        for item in body["output"]
        for holder in [item, *item.get("summary", []), *item.get("content", [])]
        for key in ("arguments", "input", "text", "refusal")
        if (text := holder.get(key))
    ]
    assert list(said.values()) == texts
    assert Response.model_validate(events[-1]["response"]).to_dict() is not None


@QUICK
@given(
    st.one_of(*[st.tuples(st.just(d), b) for d, b in [("chat", CHATS), ("responses", RESPONSES)]])
)
def test_a_framed_body_is_a_complete_stream_with_the_same_usage(
    answer: tuple[Dialect, dict[str, Any]],
) -> None:
    dialect, body = answer
    raw = frame_body(dialect, orjson.dumps(body), include_usage=True)
    meter = StreamMeter(dialect, withhold_usage=True, max_event_bytes=1 << 20)
    sent = meter.feed(raw)
    is_whole = is_complete(usage_of_body(orjson.dumps(body))[2])
    assert (meter.finished, meter.complete, meter.error) == (True, is_whole, None)
    assert (meter.usage, meter.model, meter.upstream_id) == (
        body["usage"],
        body["model"],
        body["id"],
    )
    assert sent + meter.tail == strip_usage(raw, meter.usage_span)
    if dialect == "chat":
        unasked = orjson.loads(fold_frames(dialect, strip_usage(raw, meter.usage_span)))
        del body["usage"]
        assert unasked == body


# --- Streams as providers send them ---------------------------------------------------------------


def test_a_stream_folds_to_the_body_that_would_have_been_sent_plain() -> None:
    body = fold(
        chunk({"role": "assistant", "content": "", "refusal": None}, obfuscation="x"),
        chunk({"content": "Hel"}, service_tier="default"),
        chunk({"content": "lo \u2028"}),
        end(obfuscation="yy"),
        chunk(None, usage=USAGE),
    )
    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-5.4-mini",
        "system_fingerprint": "fp_1",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello \u2028", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
    assert list(body)[:5] == ["id", "object", "created", "model", "choices"]
    ChatCompletion.model_validate(body)


def test_parallel_tool_calls_are_put_together_by_their_index() -> None:
    def piece(index: int, **call: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": index, **call}]})

    body = fold(
        chunk({"role": "assistant", "content": None}),
        piece(1, id="b", type="function", function={"name": "g", "arguments": ""}),
        piece(0, id="a", type="function", function={"name": "f", "arguments": ""}),
        piece(0, function={"arguments": '{"x"'}),
        piece(1, function={"arguments": "{}"}),
        piece(0, id="", type=None, function={"name": "f", "arguments": ": 1}"}),
        end("tool_calls"),
    )
    read = ChatCompletion.model_validate(body).choices[0].message
    assert read.content is None
    assert [call.to_dict() for call in read.tool_calls or []] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_custom_tool_calls_go_both_ways() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls\n"}}
    body = completion(choice(reason="tool_calls", tool_calls=[call]))
    pieces = [event["choices"][0]["delta"].get("tool_calls") for event in frames("chat", body)[:-1]]
    assert pieces[1:3] == [
        [{"index": 0, **call, "custom": {"name": "sh", "input": ""}}],
        [{"index": 0, "custom": {"input": "ls\n"}}],
    ]
    assert folded_back("chat", body) == body


def test_choices_that_come_interleaved_are_told_apart() -> None:
    pieces = [chunk({"content": text}, index=index) for index, text in enumerate("abcd")]
    ends = [end(reason, index=i) for i, reason in enumerate(["stop", "length", "stop", "stop"])]
    body = fold(*reversed(pieces), *pieces, *reversed(ends))
    assert [(c["index"], c["message"]["content"]) for c in body["choices"]] == [
        (0, "aa"),
        (1, "bb"),
        (2, "cc"),
        (3, "dd"),
    ]
    assert body["choices"][1]["finish_reason"] == "length"


def test_reasoning_and_unknown_texts_are_joined_too() -> None:
    folded = message(
        {"role": "assistant", "content": None, "reasoning_content": "Well"},
        {"reasoning_content": ", "},
        {"content": "Yes", "reasoning_content": None},
        {"thinking": "a"},
        {"thinking": "b"},
    )
    assert folded == {
        "role": "assistant",
        "content": "Yes",
        "reasoning_content": "Well, ",
        "thinking": "ab",
    }


def test_logprobs_are_joined() -> None:
    tokens = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -1e-7}]
    body = fold(
        chunk({"content": ""}, logprobs={"content": [], "refusal": None}),
        *[chunk({"content": "x"}, logprobs={"content": [one], "refusal": None}) for one in tokens],
        end(),
    )
    assert body["choices"][0]["logprobs"] == {"content": tokens, "refusal": None}


def test_the_logprobs_of_text_completions_are_joined() -> None:
    def piece(text: str, offset: int, reason: str | None = None) -> dict[str, Any]:
        logprobs = {"tokens": [text], "text_offset": [offset], "top_logprobs": None}
        one = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": reason}
        return {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [one]}

    raw = stream(piece("a", 0), piece("b", 1), piece("", 2, "stop"))
    body = orjson.loads(fold_frames("completions", raw))
    assert list(body) == ["id", "object", "model", "choices"]
    [read] = body["choices"]
    assert read["text"] == "ab"
    assert read["logprobs"] == {
        "tokens": ["a", "b", ""],
        "text_offset": [0, 1, 2],
        "top_logprobs": None,
    }


def test_a_spoken_answer_is_joined_as_bytes() -> None:
    folded = message(
        {"role": "assistant", "audio": {"id": "audio_1", "transcript": "Hel"}},
        {"audio": {"data": "UklGRg=="}},
        {"audio": {"data": "AAA=", "transcript": "lo"}},
        {"audio": {"expires_at": 7}},
    )
    assert folded["audio"] == {
        "id": "audio_1",
        "transcript": "Hello",
        "data": "UklGRgAA",
        "expires_at": 7,
    }


def test_a_first_chunk_that_names_nothing_gives_way_to_the_next() -> None:
    azure = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    filters = {"hate": {"filtered": False}}
    body = fold(
        {**azure, "prompt_filter_results": [{"prompt_index": 0}]},
        chunk({"role": "assistant", "content": "hi"}),
        {**end(), "choices": [{**end()["choices"][0], "content_filter_results": filters}]},
    )
    assert (body["id"], body["created"], body["model"]) == (
        "chatcmpl-1",
        1741569952,
        "gpt-5.4-mini",
    )
    assert body["prompt_filter_results"] == [{"prompt_index": 0}]
    assert body["choices"][0]["content_filter_results"] == filters


def test_what_comes_after_the_end_of_a_choice_takes_nothing_back() -> None:
    body = fold(
        chunk({"role": "assistant"}, usage={"total_tokens": 1}),
        end("length", usage=USAGE),
        chunk({"audio": {"expires_at": 7}}, usage=None),
    )
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["choices"][0]["message"]["audio"] == {"expires_at": 7}
    assert body["usage"] == USAGE


def test_any_legal_framing_folds_to_the_same_body() -> None:
    raw = stream(chunk({"role": "assistant", "content": "a\u2028b"}), end())
    known = fold_frames("chat", raw)
    for odd in (
        raw.replace(b"\n", b"\r\n"),
        raw.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf: hi\n\n" + raw[:-2],
        raw.replace(b"data: ", b"id: 1\ndata:"),
        raw.replace(b'"choices"', b'\ndata: "choices"'),
    ):
        assert fold_frames("chat", odd) == known


def test_a_response_folds_to_that_of_its_last_event() -> None:
    body = {
        "id": "resp_1",
        "status": "incomplete",
        "output": [{"type": "message"}],
        "big": 2**64 - 1,
    }
    event = {"type": "response.incomplete", "sequence_number": 1, "response": body}
    created = b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n'
    raw = created + b"event: response.incomplete\ndata: " + orjson.dumps(event) + b"\n\n"
    assert orjson.loads(fold_frames("responses", raw)) == body
    assert orjson.loads(fold_frames("responses", raw + DONE)) == body


# --- Streams as OpenAI would have sent them -------------------------------------------------------


def test_a_framed_chat_begins_with_the_role_and_ends_with_reason_usage_and_done() -> None:
    body = completion(choice(content="Hi"), system_fingerprint="fp_1", citations=["u"])
    events = frames("chat", body)
    assert [event.pop("citations", None) for event in events] == [["u"], None, None, None]
    common = {key: events[0][key] for key in ("id", "created", "model", "system_fingerprint")}
    assert all(event.items() >= common.items() for event in events)
    assert all(event["object"] == "chat.completion.chunk" for event in events)
    assert [event["usage"] for event in events] == [None, None, None, USAGE]
    assert [event["choices"] for event in events] == [
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "", "refusal": None},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
        [{"index": 0, "delta": {"content": "Hi"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
        [],
    ]


def test_a_client_that_did_not_ask_for_usage_gets_no_such_field() -> None:
    for event in frames("chat", completion(choice(content="Hi")), include_usage=False):
        assert "usage" not in event


def test_reasoning_comes_before_content_and_calls_after_it() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = choice(content="Hi", tool_calls=[call], reasoning_content="Hm", reason="tool_calls")
    events = frames("chat", completion(said), include_usage=False)
    assert [list(event["choices"][0]["delta"]) for event in events] == [
        ["role", "refusal", "content"],
        ["reasoning_content"],
        ["content"],
        ["tool_calls"],
        ["tool_calls"],
        [],
    ]


def test_a_framed_response_opens_in_progress_and_closes_complete() -> None:
    text = {"type": "output_text", "text": "Hi", "annotations": [ANNOTATION], "logprobs": []}
    item = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    body = {"id": "resp_1", "status": "completed", "output": [item], "usage": RESPONSE_USAGE}
    events = frames("responses", body)
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[0]["response"] == {**body, "status": "in_progress", "output": [], "usage": None}
    assert events[2]["item"] == {**item, "status": "in_progress", "content": []}
    assert events[3]["part"] == {**text, "text": "", "annotations": []}
    assert events[-1]["response"] == body


# --- What cannot be converted ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([], id="nothing"),
        pytest.param([chunk({"content": "a"})], id="a choice without an end"),
        pytest.param([chunk(None, usage=USAGE)], id="no choices"),
        pytest.param([end(), {"error": {"message": "no"}}], id="an error"),
        pytest.param([end(), {"type": "ping"}], id="an event that is no chunk"),
        pytest.param([end(), chunk({}, x=1), chunk({}, x=2)], id="a changing field"),
        pytest.param([end(), chunk({"x": [1]}), chunk({"x": [1]})], id="unknown pieces"),
        pytest.param([end(token_ids=[5]), end(token_ids=[5])], id="unknown pieces of a choice"),
        pytest.param([end(), chunk({"x": 1}), chunk({"x": "a"})], id="a field of two types"),
        pytest.param([end(), chunk({"content": [{"text": "a"}]})], id="content that is no text"),
        pytest.param([end(), chunk({"tool_calls": [{"id": "a"}]})], id="a call without index"),
        pytest.param(
            [end(), *[chunk({"tool_calls": [{"index": 0, "id": i}]}) for i in "ab"]],
            id="two calls with one index",
        ),
        pytest.param([end(), chunk({"audio": {"data": "A"}})], id="audio that is no base64"),
        pytest.param([end(index="0")], id="an index that is no number"),
        pytest.param([end(), chunk({"tool_calls": "a"}), chunk({"tool_calls": []})], id="types"),
        pytest.param(
            [end(logprobs={"content": []}), end(logprobs={"content": 1})], id="logprobs that differ"
        ),
    ],
)
def test_a_stream_that_cannot_be_put_together_is_refused(chunks: list[dict[str, Any]]) -> None:
    with pytest.raises(CannotConvert):
        fold_frames("chat", stream(*chunks))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"data: [DONE]\n\n",
        stream(end()).removesuffix(DONE),
        stream(end()).replace(b'"choices"', b'"choices'),
        b"data: 7\n\n" + stream(end()),
        stream(end()).replace(b"1741569952", b"18446744073709551617"),
        stream(end()).replace(b"1741569952", b"1" * 5_000),
        stream(end()).replace(b"1741569952", b"[" * 600 + b"]" * 600),
        stream(end()).replace(b"chatcmpl-1", rb"\ud83d"),
    ],
)
def test_a_broken_or_inexact_stream_is_refused(raw: bytes) -> None:
    with pytest.raises(CannotConvert):
        fold_frames("chat", raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'data: {"type":"response.completed"}\n\n',
        b'data: {"type":"response.failed","response":{}}\n\n',
        b'data: {"type":"error","message":"no"}\n\n',
        b'data: {"type":"response.created","response":{}}\n\n' + DONE,
    ],
)
def test_a_response_that_did_not_end_well_is_refused(raw: bytes) -> None:
    with pytest.raises(CannotConvert):
        fold_frames("responses", raw)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("chat", {"error": {"message": "no"}}),
        ("chat", completion()),
        ("chat", completion(choice(0), choice(0))),
        ("chat", completion(choice(0) | {"finish_reason": None})),
        ("chat", completion(choice(0, content=[{"type": "text"}]))),
        ("chat", completion(choice(0), usage=None)),
        ("chat", completion({"index": 0})),
        ("chat", completion(choice(0, tool_calls=[{"function": {"name": "f"}}]))),
        ("completions", completion({"index": 0, "finish_reason": "stop"})),
        ("responses", {"status": "in_progress", "output": []}),
        ("responses", {"status": "failed", "output": []}),
        ("responses", {"status": "completed"}),
        ("responses", {"status": "completed", "output": [{"type": "message", "content": []}]}),
        (
            "responses",
            {
                "status": "completed",
                "output": [{"id": "a", "type": "message", "content": [{"type": "x"}]}],
            },
        ),
        ("other", {}),
    ],
)
def test_a_body_that_has_no_stream_is_refused(dialect: Dialect, body: dict[str, Any]) -> None:
    with pytest.raises(CannotConvert):
        frame_body(dialect, orjson.dumps(body), include_usage=True)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a": 18446744073709551617}'])
def test_a_body_that_is_no_exact_object_is_refused(body: bytes) -> None:
    with pytest.raises(CannotConvert):
        frame_body("chat", body, include_usage=False)


def test_streams_of_audio_and_images_have_no_other_form() -> None:
    with pytest.raises(CannotConvert):
        fold_frames("other", b'data: {"type":"speech.audio.done"}\n\n')


def test_cutting_the_usage_frame_leaves_the_rest_as_it_was() -> None:
    raw = stream(end(), chunk(None, usage=USAGE))
    meter = StreamMeter("chat", withhold_usage=False, max_event_bytes=1 << 20)
    meter.feed(raw)
    assert strip_usage(raw, meter.usage_span) == stream(end())
    assert strip_usage(stream(end()), None) == stream(end())
