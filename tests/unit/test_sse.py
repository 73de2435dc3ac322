"""Event streams are split, read and metered the same wherever the network cuts them."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseErrorEvent

from aieye.gateway.sse import (
    Dialect,
    Event,
    EventTooLarge,
    FrameSplitter,
    StreamMeter,
    error_frame,
    iter_events,
    number_after,
)
from aieye.gateway.sse.observer import StreamObserver
from aieye.gateway.sse.template import Template
from aieye.gateway.usage import Usage, text_size

CAP = 1 << 20
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
SIGNALS = (
    "[DONE]",
    "data: [DONE]\n\n",
    '"usage":{"total_tokens":1}',
    '{"error":{"message":"no"}}',
    "error",
    "event: error",
    '"finish_reason":"stop"',
    '","finish_reason":"stop"}],"usage":{}}',
    '"choices":[]',
    "response.completed",
    '"type":"response.failed"',
    "finish_reason",
    "usage",
    "\\",
    '\\"',
)

# --- Making streams -------------------------------------------------------------------------------


def chunk(delta: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """One chat chunk as OpenAI writes it, with the one choice's delta, or without choices."""
    reason, index = fields.pop("finish_reason", None), fields.pop("index", 0)
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "gpt-5.4-mini",
        "choices": [] if delta is None else [choice],
        **fields,
    }


def role() -> dict[str, Any]:
    return chunk({"role": "assistant", "content": "", "refusal": None})


def text(content: str, **fields: Any) -> dict[str, Any]:
    return chunk({"content": content}, **fields)


def end(reason: str = "stop", **fields: Any) -> dict[str, Any]:
    return chunk({}, finish_reason=reason, **fields)


def usage_only() -> dict[str, Any]:
    return chunk(None, usage=USAGE)


def data(event: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"


def chat_stream(*chunks: dict[str, Any], done: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(map(data, chunks)) + done


def typed(kind: str, **fields: Any) -> bytes:
    return b"event: %s\n" % kind.encode() + data({"type": kind, **fields})


def response_stream(end_kind: str = "response.completed", **response: Any) -> bytes:
    opening: dict[str, Any] = {
        "id": "resp_1",
        "model": "gpt-5.4",
        "error": None,
        "usage": None,
        "output": [],
    }
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    deltas = [
        typed("response.output_text.delta", sequence_number=n, **where, delta=word, obfuscation="x")
        for n, word in enumerate(["Hel", "lo", " w\u2028rld", ' "q"', "\n"], 2)
    ]
    return (
        typed("response.created", sequence_number=0, response=opening)
        + typed("response.output_item.added", sequence_number=1, output_index=0, item={})
        + b"".join(deltas)
        + typed(
            end_kind,
            sequence_number=7,
            response={**opening, "usage": {"input_tokens": 1, "output_tokens": 5}, **response},
        )
    )


CHAT = chat_stream(role(), text("Grüße, 世界 🌍"), text("a\u2028b\u0085c"), end(), usage_only())
TOOLS = chat_stream(
    role(),
    chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
    end("tool_calls"),
    usage_only(),
)
ODD = (
    b"\xef\xbb\xbf: hello\r\n\r\nid: 7\rretry: 3000\rdata:"
    + orjson.dumps(role())
    + b"\r\r\n\n: ping\n\nevent: message\ndata: {\ndata: "
    + orjson.dumps(text("one\u2029"))[1:]
    + b"\r\n\r\nunknown: field\n\n"
    + data(text("two")).replace(b"\n", b"\r")
    + data(end()).replace(b"\n", b"\r\n")
    + b": about the bill\r\n"
    + data(usage_only()).replace(b"\n", b"\r\n")
    + b"data: [DONE]\n\r\n"
)
RESPONSES = response_stream()
SPEECH = typed("speech.audio.delta", audio="UklG") + typed("speech.audio.done", usage=USAGE)
STREAMS: list[tuple[Dialect, bytes]] = [
    ("chat", CHAT),
    ("chat", CHAT.replace(b"\n", b"\r\n")),
    ("chat", CHAT.replace(b"\n", b"\r")),
    ("chat", CHAT.replace(b"\n\n", b"\n\n\n")),
    ("chat", CHAT[:-2]),
    ("chat", b"\xef\xbb\xbf" + CHAT[:-1] + b": bye"),
    ("chat", TOOLS),
    ("chat", ODD),
    ("responses", RESPONSES),
    ("responses", RESPONSES.replace(b"\n", b"\r\n")),
    ("responses", RESPONSES[:-1]),
    ("other", SPEECH),
]


def reference_events(raw: bytes) -> list[tuple[str, bytes]]:
    """The standard's algorithm, one byte at a time."""
    lines, line, previous = [], bytearray(), 0
    for byte in raw.removeprefix(b"\xef\xbb\xbf"):
        if byte == 10 and previous == 13:
            pass
        elif byte in (10, 13):
            lines.append(bytes(line))
            line.clear()
        else:
            line.append(byte)
        previous = byte
    events, name, buffer = [], b"", b""
    for one in lines:
        if not one:
            if buffer:
                events.append((name.decode(errors="replace") or "message", buffer[:-1]))
            name = buffer = b""
        elif not one.startswith(b":"):
            field, _, value = one.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"event":
                name = value
            elif field == b"data":
                buffer += value + b"\n"
    return events


def named(events: Iterator[Event]) -> list[tuple[str, bytes]]:
    return [(event.name, event.data) for event in events]


def meter(dialect: Dialect = "chat", *, withhold: bool = True, cap: int = CAP) -> StreamMeter:
    return StreamMeter(dialect, withhold_usage=withhold, max_event_bytes=cap)


def fed(
    dialect: Dialect, *chunks: bytes, withhold: bool = True, cap: int = CAP
) -> tuple[StreamMeter, bytes]:
    """A meter at the end of a stream that came in these chunks, and what the client got."""
    observer = meter(dialect, withhold=withhold, cap=cap)
    sent = b"".join([observer.feed(piece) for piece in chunks])
    assert observer.end() == observer.tail
    return observer, sent


def state(observer: StreamMeter) -> dict[str, Any]:
    """Everything that a meter tells."""
    slots = StreamMeter.__slots__ + StreamObserver.__slots__
    names = [name for name in slots if not name.startswith("_")]
    names += ["tail", "finish_reason", "complete"]
    return {name: getattr(observer, name) for name in names}


def whole(observer: StreamMeter, sent: bytes, raw: bytes) -> bytes:
    """What was sent, withheld and held back, in its places."""
    if observer.usage_span is None or not observer._withhold:
        return sent + observer.tail
    start, stop = observer.usage_span
    return sent[:start] + raw[start:stop] + sent[start:] + observer.tail


def until_refused(feed: Callable[[bytes], bytes], pieces: Iterable[bytes]) -> bytes:
    """What may be sent before an event is refused."""
    sent = b""
    for piece in pieces:
        try:
            sent += feed(piece)
        except EventTooLarge as exc:
            return sent + exc.frames
    pytest.fail("nothing was refused")


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[a:b] for a, b in pairwise(bounds)]


# --- Splitting and reading ------------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "raw"), STREAMS)
def test_every_cut_in_two_gives_every_byte_once_and_only_whole_frames(
    dialect: Dialect, raw: bytes
) -> None:
    for place in range(len(raw) + 1):
        splitter = FrameSplitter(CAP)
        first, second = splitter.feed(raw[:place]), splitter.feed(raw[place:])
        assert first + second + splitter.take() == raw
        known = reference_events(raw)
        assert (
            named(iter_events(first)) + reference_events(second)
            == known[: len(reference_events(first + second))]
        )


@pytest.mark.parametrize(("dialect", "raw"), STREAMS)
def test_a_stream_that_comes_byte_by_byte_has_the_same_events(dialect: Dialect, raw: bytes) -> None:
    splitter = FrameSplitter(CAP)
    frames = [splitter.feed(raw[i : i + 1]) for i in range(len(raw))]
    assert b"".join(frames) + splitter.take() == raw
    events = [event for frame in frames for event in reference_events(frame)]
    assert events == named(iter_events(raw))[: len(events)]
    assert len(reference_events(raw)) - len(events) <= 1  # a last CR may be half of a CRLF


@pytest.mark.parametrize(("dialect", "raw"), STREAMS)
def test_the_reader_agrees_with_the_standards_algorithm(dialect: Dialect, raw: bytes) -> None:
    assert named(iter_events(raw)) == reference_events(raw)
    for event in iter_events(raw):
        start, stop = event.span
        assert named(iter_events(raw[start:stop])) == [(event.name, event.data)]


LINES = st.one_of(
    st.sampled_from([b"data: [DONE]", b"data:", b"data", b":", b": ping", b"event: error", b"id"]),
    st.builds(
        lambda field, colon, value: field + colon + value,
        st.sampled_from([b"data", b"event", b"id", b"retry", b"datax", b" data", b""]),
        st.sampled_from([b":", b": ", b":  "]),
        st.text("aü\u2028\u0085\x0b\x00:{}", max_size=6).map(str.encode),
    ),
    st.just(b""),
    st.just(b""),
)
RAW = st.builds(
    lambda bom, lines, last: bom + b"".join(line + eol for line, eol in lines) + last,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=25),
    LINES,
)


@settings(max_examples=300, deadline=None)
@given(RAW, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_legal_framing_cut_anywhere_has_the_events_of_the_standard(
    raw: bytes, places: list[int]
) -> None:
    splitter = FrameSplitter(CAP)
    frames = [splitter.feed(piece) for piece in cut(raw, places)]
    rest = splitter.take()
    assert b"".join(frames) + rest == raw
    events = reference_events(raw)
    assert named(iter_events(raw)) == events
    whole_frames = b"".join(frames)
    assert reference_events(whole_frames) == events[: len(reference_events(whole_frames))]
    assert sum(len(reference_events(frame)) for frame in frames) == len(
        reference_events(whole_frames)
    )


def test_a_last_event_without_a_blank_line_is_read_only_on_request() -> None:
    raw = b"data: 1\n\ndata: 2"
    assert [event.data for event in iter_events(raw)] == [b"1"]
    assert [event.data for event in iter_events(raw, flush=True)] == [b"1", b"2"]


def test_lines_that_end_in_many_ways_give_each_event_as_soon_as_it_is_sure() -> None:
    splitter = FrameSplitter(CAP)
    raw = b"data: 1\n\rdata: 2\r\rdata: 3\r\n\ndata: 4\n\r\n"
    frames = [splitter.feed(raw[i : i + 1]) for i in range(len(raw))]
    assert [(i, frame) for i, frame in enumerate(frames) if frame] == [
        (9, b"data: 1\n\r"),
        (17, b"data: 2\r\r"),
        (27, b"data: 3\r\n\n"),
        (37, b"data: 4\n\r\n"),
    ]


def test_a_mark_inside_the_stream_is_no_byte_order_mark() -> None:
    assert named(iter_events(b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n")) == [("message", b"1")]


# --- Caps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_cap_counts_a_whole_frame_however_it_is_cut(size: int) -> None:
    fits, exceeds = b"data: " + b"x" * 92 + b"\n\n", b"data: " + b"x" * 93 + b"\n\n"
    raw = b"data: 1\n\n" + fits + exceeds
    splitter = FrameSplitter(len(fits))
    pieces = [raw[place : place + size] for place in range(0, len(raw), size)]
    assert until_refused(splitter.feed, pieces) == b"data: 1\n\n" + fits
    with pytest.raises(EventTooLarge):
        splitter.feed(b"data: 2\n\n")


def test_an_endless_line_is_refused_with_bounded_memory() -> None:
    observer = meter(cap=100_000)
    observer.feed(data(text("hi")))
    block = b"x" * 10_000
    tracemalloc.start()
    try:
        assert until_refused(observer.feed, [block] * 1_000) == b""
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()
    assert (observer.finished, observer.complete, observer.deltas) == (False, False, 1)
    assert observer.raw_length < 200_000


def test_frames_before_a_giant_one_are_metered_and_may_be_sent() -> None:
    observer = meter(cap=1_000)
    good = data(role()) + data(text("hi"))
    with pytest.raises(EventTooLarge) as caught:
        observer.feed(good + data(usage_only()) + b"data: " + b"x" * 2_000)
    assert caught.value.frames == good
    assert (observer.deltas, observer.usage) == (1, USAGE)


def test_a_provider_that_never_stops_after_its_end_is_cut_off() -> None:
    observer = meter(cap=1_000)
    observer.feed(chat_stream(text("hi"), end()))
    assert until_refused(observer.feed, [b": more\n\n"] * 1_000) == b""
    assert observer.finished


def test_a_long_frame_that_comes_byte_by_byte_costs_linear_work() -> None:
    splitter = FrameSplitter(CAP)
    raw = b"data: " + b"x" * 200_000 + b"\r\n\r\n"
    frames = [splitter.feed(raw[i : i + 1]) for i in range(len(raw))]
    assert frames[-1] == raw


# --- Metering: what may go out --------------------------------------------------------------------


@pytest.mark.parametrize("withhold", [True, False])
@pytest.mark.parametrize(("dialect", "raw"), STREAMS)
def test_a_meter_tells_the_same_at_every_cut_and_loses_no_byte(
    dialect: Dialect, raw: bytes, withhold: bool
) -> None:
    known, _ = fed(dialect, raw, withhold=withhold)
    assert known.finished
    assert known.complete
    for place in range(len(raw) + 1):
        observer, sent = fed(dialect, raw[:place], raw[place:], withhold=withhold)
        assert state(observer) == state(known)
        assert whole(observer, sent, raw) == raw
    observer, sent = fed(dialect, *cut(raw, list(range(len(raw)))), withhold=withhold)
    assert state(observer) == state(known)
    assert whole(observer, sent, raw) == raw


@pytest.mark.parametrize(("dialect", "raw"), STREAMS)
def test_a_stream_cut_off_before_its_end_is_never_finished(dialect: Dialect, raw: bytes) -> None:
    *_, last = (event for event in iter_events(raw, flush=True) if event.data)
    whole_event = raw.rindex(last.data[-1:], 0, last.span[1]) + 1
    for place in range(whole_event):
        observer, sent = fed(dialect, raw[:place])
        assert (observer.finished, observer.complete, observer.tail) == (False, False, b"")
        assert b"[DONE]" not in sent
        assert b"event: response.completed" not in sent
        assert FrameSplitter(CAP).feed(sent) == sent  # whole frames only
    assert fed(dialect, raw[:whole_event])[0].complete


def test_the_terminal_frame_and_what_follows_wait_for_the_commit() -> None:
    observer = meter()
    body = data(role()) + data(text("hi")) + data(end())
    assert observer.feed(body + b"data: [DO") == body
    assert (observer.finished, observer.tail) == (False, b"")
    assert observer.feed(b"NE]\n\n: bye\n\nrest") == b""
    assert observer.feed(b" of it") == b""
    assert observer.finished
    assert observer.end() == observer.tail == b"data: [DONE]\n\n: bye\n\nrest of it"
    assert observer.complete


def test_done_without_a_blank_line_ends_the_stream_when_the_provider_closes_it() -> None:
    observer = meter()
    observer.feed(data(text("hi")) + data(end()) + b"data: [DONE]")
    assert (observer.finished, observer.tail) == (False, b"")
    assert observer.end() == b"data: [DONE]"
    assert observer.finished
    assert observer.complete


def test_an_unfinished_last_frame_is_metered_but_never_sent() -> None:
    observer = meter()
    observer.feed(data(text("hi")) + data(end()))
    assert observer.feed(data(usage_only())[:-2]) == b""
    assert observer.end() == b""
    assert (observer.finished, observer.usage) == (False, USAGE)


def test_the_usage_only_frame_is_withheld_from_a_client_that_did_not_ask() -> None:
    before, after = data(role()) + data(text("hi")) + data(end()), b"data: [DONE]\n\n"
    raw = before + data(usage_only()) + after
    observer, sent = fed("chat", raw)
    assert (sent, observer.tail, observer.usage) == (before, after, USAGE)
    assert observer.usage_span == (len(before), len(raw) - len(after))
    observer, sent = fed("chat", raw, withhold=False)
    assert (sent, observer.tail, observer.usage) == (raw[: -len(after)], after, USAGE)
    assert observer.usage_span == (len(before), len(raw) - len(after))


@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"choices":[],"usage":{"total_tokens":1}}\n\n',
        b'data:{ "choices" : [ ] ,"usage"\t: {"total_tokens":1}}\r\n\r\n',
        b'data: {"usage":\ndata: {"total_tokens":1},\ndata: "choices":null}\n\n',
        b': cost\nid: 3\ndata: {"choices":[],"usage":{"total_tokens":1}}\n\n',
    ],
)
def test_the_usage_only_frame_is_known_in_any_spelling(frame: bytes) -> None:
    raw = data(text("hi")) + data(end()) + frame + b"data: [DONE]\n\n"
    observer, sent = fed("chat", raw)
    assert sent == data(text("hi")) + data(end())
    assert observer.usage == {"total_tokens": 1}
    assert raw[slice(*observer.usage_span or (0, 0))] == frame


def test_usage_beside_choices_is_read_and_forwarded_and_the_last_one_counts() -> None:
    said = [text(f"{n}", usage={"total_tokens": n}) for n in (1, 2, 2, 1)]
    raw = chat_stream(*said, end())
    observer, sent = fed("chat", raw)
    assert sent + observer.tail == raw
    assert (observer.usage, observer.usage_span) == ({"total_tokens": 1}, None)
    assert observer.complete


@pytest.mark.parametrize("place", ["usage", "response"])
def test_what_was_used_is_reported_with_the_tier_that_served_the_call(place: str) -> None:
    if place == "usage":
        raw = chat_stream(text("a"), end(), {**usage_only(), "service_tier": "flex"})
        observer, _ = fed("chat", raw)
        assert observer.reported == Usage(9, 3, service_tier="flex", raw=USAGE)
    else:
        usage = {"input_tokens": 1, "output_tokens": 5, "total_tokens": 6}
        observer, _ = fed("responses", response_stream(usage=usage, service_tier="flex"))
        assert observer.reported == Usage(1, 5, service_tier="flex", raw=usage)


def test_a_later_report_that_takes_back_an_earlier_one_is_not_believed() -> None:
    reports = [{**USAGE, "completion_tokens": n, "total_tokens": 9 + n} for n in (1, 3, 2)]
    raw = chat_stream(*(text("a", usage=report) for report in reports), end())
    observer, _ = fed("chat", raw)
    assert observer.reported == Usage(9, 3, anomaly=True, raw=reports[1])
    assert observer.usage == reports[2]


def test_chunks_without_choices_or_usage_pass() -> None:
    azure: dict[str, Any] = {
        "choices": [],
        "id": "",
        "model": "",
        "prompt_filter_results": [],
        "usage": None,
    }
    observer, sent = fed("chat", chat_stream(azure, text("hi"), end()))
    assert sent.startswith(data(azure))
    assert (observer.model, observer.upstream_id) == ("gpt-5.4-mini", "chatcmpl-1")
    assert observer.complete


def test_two_usage_only_frames_are_both_withheld_and_not_stored() -> None:
    observer, sent = fed("chat", chat_stream(text("hi"), end(), usage_only(), usage_only()))
    assert sent == data(text("hi")) + data(end())
    assert observer.finished
    assert not observer.complete


# --- Metering: what the stream says ---------------------------------------------------------------


def test_the_first_frame_names_the_model_and_the_answer() -> None:
    observer = meter()
    observer.feed(data(role()))
    assert (observer.model, observer.upstream_id) == ("gpt-5.4-mini", "chatcmpl-1")
    assert (observer.has_content, observer.deltas, observer.usage) == (False, 0, None)


def test_the_first_frame_may_follow_a_byte_order_mark() -> None:
    assert fed("chat", b"\xef\xbb\xbf" + data(role()))[0].model == "gpt-5.4-mini"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "hi"},
        {"role": "assistant", "content": "hi"},
        {"reasoning_content": "hm"},
        {"content": "", "reasoning": "hm"},
        {"content": None, "thinking": "hm"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]},
        {"function_call": {"name": "f", "arguments": ""}},
        {"audio": {"id": "a"}},
    ],
)
def test_anything_generated_is_content(delta: dict[str, Any]) -> None:
    observer, _ = fed("chat", data(role()), data(chunk(delta)), data(chunk(delta)))
    assert observer.has_content
    assert observer.deltas == 2


@pytest.mark.parametrize("delta", [{}, {"role": "assistant", "content": ""}, {"content": None}])
def test_a_role_or_an_empty_delta_is_no_content(delta: dict[str, Any]) -> None:
    observer, _ = fed("chat", data(chunk(delta)))
    assert (observer.has_content, observer.deltas) == (False, 0)


def test_an_empty_delta_between_ordinary_ones_is_not_counted() -> None:
    observer, _ = fed("chat", chat_stream(text("a"), text("b"), text(""), text("c"), end()))
    assert (observer.deltas, observer.text_size, observer.events) == (3, 3, 6)


@pytest.mark.parametrize("done", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]\r\r"])
def test_an_answer_is_complete_when_every_choice_has_ended(done: bytes) -> None:
    chunks = [text("a"), text("b", index=1), end()]
    assert not fed("chat", chat_stream(*chunks, done=done))[0].complete
    observer, _ = fed("chat", chat_stream(*chunks, end("length", index=1), done=done))
    assert observer.complete
    assert observer.finish_reason == "stop"


@pytest.mark.parametrize("place", [0, 1])
def test_an_answer_of_which_a_choice_ended_in_an_error_is_not_complete(place: int) -> None:
    reasons = ["stop", "stop"]
    reasons[place] = "error"
    ends = (end(reason, index=index) for index, reason in enumerate(reasons))
    observer, _ = fed("chat", chat_stream(text("a"), text("b", index=1), *ends))
    assert observer.finished
    assert not observer.complete


def test_a_choice_that_first_appears_in_an_ordinary_frame_is_noticed() -> None:
    chunks = [text("a"), text("a"), text("a", index=1), text("a", index=1), end()]
    observer, _ = fed("chat", chat_stream(*chunks))
    assert observer.finished
    assert not observer.complete


def test_empty_finish_reasons_end_no_choice() -> None:
    unfinished = text("a", finish_reason="")
    assert not fed("chat", chat_stream(unfinished, unfinished))[0].complete


def test_a_stream_without_choices_is_not_complete() -> None:
    observer, _ = fed("chat", b"data: [DONE]\n\n")
    assert observer.finished
    assert not observer.complete


@pytest.mark.parametrize(
    "broken",
    [
        b"data: {\n\n",
        b"data: \n\n",
        b"data: 7\n\n",
        b"data: <html>\n\n",
        data(text("b"))[:-3] + b"\n\n",
        data(text("b")).replace(b"}]", b"}"),
        data(text("b")).replace(b'"b"', rb'"b\"'),
        data(text("b")).replace(b'"b"', rb'"b\\\"'),
        data(text("b")).replace(b'"b"', b'"b\n\n"'),
        b'data: {"choices":{"a":1}}\n\n',
        b'data: {"choices":["a"]}\n\n',
        b'data: {"choices":[{"index":"a","delta":{}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":"a"}]}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_a_malformed_frame_passes_and_the_answer_is_not_stored(broken: bytes) -> None:
    raw = chat_stream(text("a"), text("a")) + broken + chat_stream(text("c"), end())
    raw = raw.replace(b"data: [DONE]\n\n", b"", 1)
    observer, sent = fed("chat", raw)
    assert sent + observer.tail == raw
    assert observer.finished
    assert not observer.complete
    assert observer.error is None


def test_half_a_surrogate_pair_is_text() -> None:
    halves = rb"\ud83d", rb"\ude00"
    frames = [data(text("x")).replace(b"x", half) for half in halves]
    observer, _ = fed("chat", *frames, chat_stream(end()))
    assert (observer.deltas, observer.complete) == (2, True)


# --- Errors ---------------------------------------------------------------------------------------

ERROR = {"message": "Overloaded", "type": "server_error", "code": "overloaded"}


@pytest.mark.parametrize(
    ("dialect", "frame", "error"),
    [
        ("chat", b"event: error\n" + data({"error": ERROR}), ERROR),
        ("chat", data({"error": ERROR}), ERROR),
        ("chat", data({"error": "Overloaded"}), {"message": "Overloaded"}),
        ("chat", data({"id": "x", "choices": [], "usage": USAGE, "error": ERROR}), ERROR),
        ("chat", b"event: error\n" + data(ERROR), ERROR),
        ("chat", b"data: Overloaded\nevent: error\n\n", {"message": "Overloaded"}),
        ("completions", data({"error": ERROR}), ERROR),
        ("responses", typed("error", **{**ERROR, "type": "error"}), {**ERROR, "type": "error"}),
        ("responses", data({"error": ERROR}), ERROR),
        ("other", typed("error", error=ERROR), ERROR),
    ],
)
def test_an_error_event_is_forwarded_and_noted(
    dialect: Dialect, frame: bytes, error: dict[str, Any]
) -> None:
    first = {
        "chat": data(role()),
        "completions": data({"choices": [{"index": 0, "text": ""}]}),
        "responses": typed("response.created", response={}),
        "other": b": hello\n\n",
    }[dialect]
    content = {
        "chat": data(text("hi")),
        "completions": data({"choices": [{"index": 0, "text": "hi"}]}),
        "responses": typed("response.output_text.delta", delta="hi"),
        "other": typed("speech.audio.delta", audio="UklG"),
    }[dialect]
    early, sent = fed(dialect, first + frame)
    assert sent == first + frame
    assert (early.error, early.error_before_content) == (error, True)
    late, sent = fed(dialect, first, content, content, frame, b"data: [DONE]\n\n")
    assert sent.startswith(first + 2 * content + frame)
    assert (late.error, late.error_before_content, late.complete) == (error, False, False)


def test_a_failed_response_is_a_finished_error() -> None:
    observer, sent = fed("responses", response_stream("response.failed", error=ERROR))
    assert (observer.finished, observer.failed, observer.complete) == (True, True, False)
    assert (observer.error, observer.error_before_content) == (ERROR, False)
    assert observer.usage == {"input_tokens": 1, "output_tokens": 5}
    assert b"response.failed" not in sent


@pytest.mark.parametrize("value", [None, {}, ""])
def test_an_empty_error_is_none(value: object) -> None:
    observer, _ = fed("chat", chat_stream(text("hi", error=value), end(error=value)))
    assert observer.error is None
    assert observer.complete


def test_error_frames_have_the_form_that_clients_of_the_dialect_read() -> None:
    assert error_frame("chat", ERROR) == b"data: " + orjson.dumps({"error": ERROR}) + b"\n\n"
    observer, _ = fed("responses", RESPONSES[:-10])
    event = next(iter_events(observer.error_frame(ERROR)))
    assert event.name == "error"
    read = ResponseErrorEvent.model_validate_json(event.data)
    assert (read.message, read.code, read.sequence_number) == ("Overloaded", "overloaded", 7)
    for dialect in ("chat", "completions", "responses", "other"):
        assert fed(dialect, meter(dialect).error_frame(ERROR))[0].error is not None


@pytest.mark.parametrize(
    ("frames", "number"),
    [
        (b"", 0),
        (typed("response.created", response={}), 0),
        (typed("a", sequence_number=3) + typed("b", sequence_number=4), 5),
        (typed("a", sequence_number=3, delta='"sequence_number": 9'), 4),
        (b'data: {"sequence_number":' + b"9" * 5000 + b"}\n\n", 10**15),
    ],
)
def test_an_event_of_ours_is_numbered_after_the_last_one_sent(frames: bytes, number: int) -> None:
    assert number_after(frames) == number


# --- Other dialects -------------------------------------------------------------------------------


def test_text_completions_are_metered() -> None:
    def piece(text: str, reason: str | None = None) -> dict[str, Any]:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
        return {"id": "cmpl-1", "object": "text_completion", "choices": [choice], "model": "m"}

    usage = {"id": "cmpl-1", "choices": [], "usage": USAGE}
    raw = chat_stream(piece("a"), piece("b"), piece('"c"'), piece("", "stop"), usage)
    observer, sent = fed("completions", raw)
    assert (observer.deltas, observer.usage, observer.complete) == (3, USAGE, True)
    assert sent == raw[: raw.index(data(usage))]
    assert observer.finish_reason == "stop"


def test_a_response_ends_with_its_terminal_event() -> None:
    observer, sent = fed("responses", RESPONSES)
    assert sent + observer.tail == RESPONSES
    assert observer.tail.startswith(b"event: response.completed\n")
    assert (observer.model, observer.upstream_id) == ("gpt-5.4", "resp_1")
    assert observer.usage == {"input_tokens": 1, "output_tokens": 5}
    assert (observer.deltas, observer.events, observer.finish_reason) == (5, 8, "completed")
    assert observer.complete


def test_an_incomplete_response_is_a_complete_stream() -> None:
    details = {"reason": "max_output_tokens"}
    raw = response_stream("response.incomplete", incomplete_details=details)
    observer, _ = fed("responses", raw)
    assert (observer.finished, observer.complete, observer.failed) == (True, True, False)
    assert observer.finish_reason == "max_output_tokens"


def test_a_number_that_is_none_is_no_number() -> None:
    broken = RESPONSES.replace(b'"sequence_number":4', b'"sequence_number":x')
    observer, sent = fed("responses", broken)
    assert sent + observer.tail == broken
    assert (observer.finished, observer.complete) == (True, False)


def test_done_does_not_end_a_response_but_may_follow_it() -> None:
    assert not fed("responses", RESPONSES[:900] + b"\n\ndata: [DONE]\n\n")[0].finished
    assert fed("responses", RESPONSES + b"data: [DONE]\n\n")[0].complete


def test_an_event_behind_the_end_means_that_it_was_not_the_end() -> None:
    image = typed("image_generation.completed", b64_json="AAAA", usage=USAGE)
    assert fed("other", image)[0].complete
    assert not fed("other", image + image)[0].complete


@pytest.mark.parametrize(
    "kind",
    [
        "speech.audio.done",
        "transcript.text.done",
        "image_generation.completed",
        "image_edit.completed",
    ],
)
def test_audio_and_image_streams_end_with_their_last_event(kind: str) -> None:
    raw = typed("transcript.text.delta", delta="hi") + typed(kind, usage=USAGE)
    observer, sent = fed("other", raw)
    assert sent + observer.tail == raw
    assert observer.tail.startswith(b"event: " + kind.encode())
    assert (observer.usage, observer.complete, observer.deltas) == (USAGE, True, 1)
    assert not fed("other", raw[: raw.index(b"event: " + kind.encode())])[0].finished


def test_an_unknown_stream_ends_with_done() -> None:
    raw = b"event: thread.run.created\ndata: {}\n\n"
    assert not fed("other", raw)[0].finished
    assert fed("other", raw + b"event: done\ndata: [DONE]\n\n")[0].complete


# --- Texts that look like signals -----------------------------------------------------------------


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("around", ["%s", "a%s", "%sa"])
def test_a_text_that_looks_like_a_signal_changes_nothing(signal: str, around: str) -> None:
    said = around % signal
    chunks = [role(), text("a"), text("b"), text(said), text(said), text("c")]
    calls = {"tool_calls": [{"index": 0, "function": {"arguments": said}}]}
    chunks += [chunk(calls), chunk(calls)]
    body = b"".join(map(data, chunks))
    observer, sent = fed("chat", body)
    assert sent == body
    assert (observer.finished, observer.error, observer.usage) == (False, None, None)
    assert (observer.deltas, observer.finish_reason) == (7, None)
    observer, _ = fed("chat", body, chat_stream(end()))
    assert observer.complete
    frames = b"".join(typed("response.output_text.delta", delta=word) for word in ("a", said, said))
    observer, sent = fed("responses", frames)
    assert sent == frames
    assert (observer.finished, observer.error, observer.deltas) == (False, None, 3)


@pytest.mark.parametrize(
    "signal",
    [
        {"error": ERROR},
        {"usage": USAGE},
        {"finish_reason": "stop"},
        {"index": 3},
        {"delta": {"content": ""}},
        {"delta": {"content": "", "role": "assistant"}},
    ],
)
def test_a_real_signal_is_seen_between_frames_that_look_alike(signal: dict[str, Any]) -> None:
    odd = text("x")
    for key, value in signal.items():
        (odd if key in ("error", "usage") else odd["choices"][0])[key] = value
    observer, _ = fed("chat", *[data(text("a"))] * 3, data(odd), *[data(text("b"))] * 3)
    empty = "delta" in signal
    assert observer.deltas == (6 if empty else 7)
    assert (observer.error is not None) == ("error" in signal)
    assert (observer.usage is not None) == ("usage" in signal)
    assert (observer.finish_reason is not None) == ("finish_reason" in signal)
    assert (3 in observer._open) == ("index" in signal)


def test_a_line_end_inside_a_text_ends_the_event_there() -> None:
    forged = data(text("x")).replace(b'"x"', b'"x\n\ndata: [DONE]\n\n"')
    observer, sent = fed("chat", data(text("a")) * 3 + forged)
    assert observer.finished
    assert b"[DONE]" not in sent
    assert not observer.complete
    forged = data(text("x")).replace(b'"x"', b'"x\r\rdata: [DONE]\r\r"')
    observer, sent = fed("chat", data(text("a")) * 3 + forged)
    assert observer.finished
    assert b"[DONE]" not in sent


# --- Any stream, any framing, any cut -------------------------------------------------------------

TEXT = st.one_of(st.text(max_size=12), st.sampled_from(SIGNALS))
DELTAS = st.one_of(
    st.builds(lambda t: {"content": t}, TEXT),
    st.builds(lambda t: {"content": t}, TEXT),
    st.builds(lambda t: {"content": None, "reasoning_content": t}, TEXT),
    st.builds(lambda t: {"tool_calls": [{"index": 0, "function": {"arguments": t}}]}, TEXT),
    st.just({"role": "assistant", "content": ""}),
    st.just({}),
)
CHUNKS = st.builds(
    lambda delta, index, extra: chunk(delta, index=index, **extra),
    DELTAS,
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([{}, {}, {"obfuscation": "abc"}, {"usage": None}, {"usage": USAGE}]),
)
DUMPS: list[Callable[[object], bytes]] = [
    orjson.dumps,
    lambda value: json.dumps(value).encode(),
    lambda value: json.dumps(value, ensure_ascii=False).encode(errors="replace"),
]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(CHUNKS, max_size=12),
    st.sampled_from(DUMPS),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([b"", b": ping\n\n", b"id: 1\n"]),
    st.booleans(),
    st.lists(st.integers(0, 10_000), max_size=6),
)
def test_a_meter_tells_what_parsing_every_frame_would_tell(
    chunks: list[dict[str, Any]],
    dumps: Callable[[object], bytes],
    line_end: bytes,
    before: bytes,
    ends: bool,
    places: list[int],
) -> None:
    closing = [end(), end(index=1), usage_only()] if ends else []
    frames = [before + b"data: " + dumps(one) + b"\n\n" for one in [*chunks, *closing]]
    raw = b"".join([*frames, b"data: [DONE]\n\n"]).replace(b"\n", line_end)
    observer, sent = fed("chat", *cut(raw, places))
    assert whole(observer, sent, raw) == raw

    deltas = [one["choices"][0]["delta"] for one in chunks]
    counted = [d for d in deltas if any(v for k, v in d.items() if k != "role")]
    calls = [d for d in deltas if "tool_calls" in d]
    empty_calls = [d for d in calls if d not in counted]
    assert observer.deltas == len(counted) + len(empty_calls)
    assert observer.has_content == bool(observer.deltas)
    assert observer.usage == (USAGE if ends or any(c.get("usage") for c in chunks) else None)
    assert observer._open == {one["choices"][0]["index"] for one in [*chunks, *closing[:2]]}
    assert (observer.finished, observer.error) == (True, None)
    assert observer.complete == ends
    assert observer.events == len(chunks) + len(closing) + 1
    for event in iter_events(sent):
        ChatCompletionChunk.model_validate_json(event.data)


# --- Rows of like frames --------------------------------------------------------------------------

WORDS = ["the", " cat", "\n", " 世界", " мир", "ß", ' "q"', "100%s", " a\\b", "."]


class EveryFrameParsed(StreamMeter):
    """A meter that takes nothing for granted."""

    __slots__ = ()

    def _skim(self, frames: bytes, position: int, is_plain: bool) -> int:
        return position


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Each look for a row: how many bytes it may have read, how many frames it found."""
    looks = []
    match_row = Template._match_row

    def noting(
        self: Template, frames: bytes, start: int, most_bytes: int
    ) -> tuple[int, int, int] | None:
        found = match_row(self, frames, start, most_bytes)
        looks.append((min(most_bytes, len(frames) - start), found[1] if found else 0))
        return found

    monkeypatch.setattr(Template, "_match_row", noting)
    return looks


def row(count: int, **fields: Any) -> list[dict[str, Any]]:
    """Like frames, whose literal bytes have what is special in a format."""
    return [
        text(
            WORDS[n % len(WORDS)],
            system_fingerprint="%b 7%",
            obfuscation="x" * (1 + n % 9),
            **fields,
        )
        for n in range(count)
    ]


def parsed(dialect: Dialect, raw: bytes) -> dict[str, Any]:
    """What a meter tells that parses every frame."""
    observer = EveryFrameParsed(dialect, withhold_usage=True, max_event_bytes=CAP)
    observer.feed(raw)
    observer.end()
    return state(observer)


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_long_row_is_read_at_once_and_tells_what_parsing_would_tell(
    rows: list[tuple[int, int]], escaped: bool, line_end: bytes
) -> None:
    dumps = DUMPS[1] if escaped else DUMPS[0]
    chunks = [role(), *row(80), end(), usage_only()]
    raw = b"".join(b"data: " + dumps(one) + b"\n\n" for one in chunks) + b"data: [DONE]\n\n"
    raw = raw.replace(b"\n", line_end)
    observer, sent = fed("chat", raw)
    assert state(observer) == parsed("chat", raw)
    assert observer.text_size == sum(text_size(WORDS[n % len(WORDS)]) for n in range(80))
    assert max(found for _, found in rows) > 60
    assert whole(observer, sent, raw) == raw
    for place in range(0, len(raw), 97):
        assert state(fed("chat", raw[:place], raw[place:])[0]) == state(observer)


def test_a_long_row_of_numbered_events_is_read_at_once(rows: list[tuple[int, int]]) -> None:
    deltas = [
        typed("response.output_text.delta", sequence_number=n, delta=f" {n}", obfuscation="x" * 5)
        for n in range(1, 121)
    ]
    raw = typed("response.created", response={"id": "r"}) + b"".join(deltas)
    raw += typed("response.completed", response={"usage": USAGE})
    observer, sent = fed("responses", raw)
    assert state(observer) == parsed("responses", raw)
    assert (observer.deltas, max(found for _, found in rows) > 100) == (120, True)
    assert sent + observer.tail == raw


@pytest.mark.parametrize("place", [6, 7, 40, 78, 79])
@pytest.mark.parametrize(
    ("said", "instead"),
    [
        (b'"index":0', b'"index":1'),
        (b'"finish_reason":null', b'"finish_reason":"ok"'),
        (b'"error":null', b'"error":"no"'),
        (b'"error":null', b'"error":1234'),
        (b'"choices":[', b'"choicez":['),
        (b'"content":', b'"contenu":'),
        (b"data: {", b"daten: {"),
        (b"data: {", b"event: {"),
        (b'"usage":null', b'"usage":{}  '),
        (b'"logprobs":null', b'"logprobs":nul\n'),
        (b'"obfuscation":"x', b'"obfuscation":"\n'),
        (b'"obfuscation":"x', b'"obfuscation":"\r'),
        (b'"obfuscation":"x', b'"obfuscation":""'),
        (b'{"content":"', b'{"content":""'),
        (b'{"content":"', b'{"content":"\n'),
    ],
)
def test_one_frame_of_another_meaning_is_noticed_in_a_long_row(
    rows: list[tuple[int, int]], said: bytes, instead: bytes, place: int
) -> None:
    frames = [data(one) for one in row(80, error=None, usage=None)]
    assert frames[place].count(said) == 1
    frames[place] = frames[place].replace(said, instead)
    raw = data(role()) + b"".join(frames) + chat_stream(end(), usage_only())
    observer, sent = fed("chat", raw)
    told, known = state(observer), parsed("chat", raw)
    assert told.pop("text_size") == pytest.approx(known.pop("text_size"), abs=2)
    assert told == known
    assert observer._open == ({0, 1} if instead == b'"index":1' else {0})
    assert (sent + observer.tail if observer.error else whole(observer, sent, raw)) == raw
    assert rows


@pytest.mark.parametrize("every", [5, 500])
def test_rows_that_end_early_cost_linear_work(rows: list[tuple[int, int]], every: int) -> None:
    frames = [data(text("a", usage=None if n % every else 1234)) for n in range(3_000)]
    raw = b"".join(frames)
    observer, sent = fed("chat", raw)
    assert (observer.deltas, sent) == (3_000, raw)
    assert sum(found == 0 for _, found in rows) > 3_000 // every // 2
    assert sum(read for read, _ in rows) < 40 * len(raw)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(CHUNKS, st.integers(1, 30)), min_size=1, max_size=6),
    st.sampled_from(DUMPS),
    st.lists(st.integers(0, 100_000), max_size=3),
)
def test_rows_of_any_frames_cut_anywhere_tell_what_parsing_would_tell(
    repeated: list[tuple[dict[str, Any], int]],
    dumps: Callable[[object], bytes],
    places: list[int],
) -> None:
    frames = [b"data: " + dumps(one) + b"\n\n" for one, count in repeated for _ in range(count)]
    raw = b"".join([*frames, data(end()), b"data: [DONE]\n\n"])
    told, known = state(fed("chat", *cut(raw, places))[0]), parsed("chat", raw)
    assert told.pop("text_size") <= 3 * known.pop("text_size")
    assert told == known
