"""Frames that are like one before: known without parsing them.

Nearly all frames of a stream differ from the one before only in the text of their delta, their
padding and their number. All else is compared byte for byte, so no text of an answer can be taken
for a signal, and no signal for a text.
"""

from __future__ import annotations

from typing import Final

from aieye.gateway.sse.template import Likes, Template

_MAX_TEMPLATES: Final = 8
_MAX_LEARNED: Final = 64


class Likeness:
    """The templates of one stream, the one that was last of use first."""

    __slots__ = ("_learned", "_templates")

    def __init__(self) -> None:
        self._templates: list[Template] = []
        self._learned = 0

    def learn(self, frame: bytes) -> None:
        """Keep an ordinary frame that was parsed, so that its like need not be."""
        # A provider that changes more than the text in every frame teaches nothing.
        if self._learned < _MAX_LEARNED and (template := Template.of(frame)):
            self._learned += 1
            self._templates.insert(0, template)
            del self._templates[_MAX_TEMPLATES:]

    def skim(self, frames: bytes, position: int, *, is_plain: bool) -> Likes:
        """Read the frames from `position` on, up to the first that is like none before.

        `is_plain`: see `Template.match`.
        """
        templates = self._templates
        count = text_size = 0
        while position < len(frames):
            for template in templates:
                end, more, more_text = template.match(frames, position, is_plain=is_plain)
                if more:
                    break
            else:
                break
            if template is not templates[0]:
                templates.remove(template)
                templates.insert(0, template)
            position = end
            count += more
            text_size += more_text
        return position, count, text_size
