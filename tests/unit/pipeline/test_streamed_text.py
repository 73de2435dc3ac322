"""Texts out of the events of a chat answer."""

from __future__ import annotations

import pytest

from aieye.pipeline.model_requests import NoValue
from aieye.pipeline.streamed_text import EndedBadly, SaidTooMuch, StreamedText
from tests.fakes.chat import DONE, chat_frames, error_frame, frame, usage


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_text_is_read_wherever_the_network_cut_it(size: int) -> None:
    stream = b"".join(chat_frames("Hello dear Ada", usage=usage())) + DONE
    reader = StreamedText()
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    said = [text for part in parts for text in reader.feed(part)]
    assert said == ["Hello ", "dear ", "Ada"]
    assert reader.end() == "Hello dear Ada"


def test_an_answer_without_its_end_is_none() -> None:
    reader = StreamedText()
    list(reader.feed(b"".join(chat_frames("Hello"))))
    with pytest.raises(EndedBadly, match="broke off"):
        reader.end()


def test_an_error_among_the_events_is_told() -> None:
    with pytest.raises(EndedBadly, match="No more"):
        list(StreamedText().feed(error_frame("No more.")))


def test_a_refusal_is_no_value() -> None:
    reader = StreamedText()
    list(reader.feed(frame({"choices": [{"delta": {"refusal": "I cannot."}}]}) + DONE))
    with pytest.raises(NoValue, match="refused: I cannot"):
        reader.end()


@pytest.mark.parametrize("field", ["content", "refusal"])
def test_what_is_more_than_a_value_may_be_is_refused_while_it_grows(field: str) -> None:
    reader = StreamedText()
    part = frame({"choices": [{"delta": {field: "x" * (1 << 18)}}]})
    for _ in range(4):
        list(reader.feed(part))
    with pytest.raises(SaidTooMuch, match="larger than 1,048,576 bytes"):
        list(reader.feed(part))


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"choices": [{}]}', b"nonsense", b"[1"])
def test_what_is_no_chunk_says_nothing(data: bytes) -> None:
    assert list(StreamedText().feed(b"data: " + data + b"\n\n")) == []
