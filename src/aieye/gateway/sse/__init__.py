"""Event streams: split into frames, read, and metered while they are relayed.

Pure: bytes in, bytes out. A *frame* is the bytes of one event up to and including its blank line.
What a provider sent is never serialised again: frames are forwarded, cut out or held back, whole
and unchanged.
"""

from aieye.gateway.sse.dialect import Dialect, error_frame, number_after
from aieye.gateway.sse.frames import Event, iter_events
from aieye.gateway.sse.meter import StreamMeter
from aieye.gateway.sse.splitter import EventTooLarge, FrameSplitter

__all__ = [
    "Dialect",
    "Event",
    "EventTooLarge",
    "FrameSplitter",
    "StreamMeter",
    "error_frame",
    "iter_events",
    "number_after",
]
