"""Which form of an answer a client asks for."""

from __future__ import annotations

import pytest

from aieye.api.run_events import prefers_events


@pytest.mark.parametrize(
    ("accept", "wants_events"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/event-stream", True),
        ("Text/Event-Stream", True),
        ("text/event-stream, */*;q=0.1", True),
        ("text/*, application/json;q=0.5", True),
        ("application/json, text/event-stream", False),
        ("application/json;q=0.2,text/event-stream;q=0.4", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=x", False),
        ("text/event-stream;q=0, */*", False),
        (";;,,q=1,=", False),
    ],
)
def test_events_come_to_those_alone_who_ask_for_them(accept: str, wants_events: bool) -> None:
    assert prefers_events(accept) is wants_events
