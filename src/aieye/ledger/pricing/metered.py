"""What a price is applied to: the counts of a call. Pure.

Stated here, since the ledger stands below the gateway and imports nothing of it.
"""

from __future__ import annotations

from typing import Protocol


class MeteredExtras(Protocol):
    """What is billed beside tokens; see `aieye.gateway.usage.UsageExtras`."""

    @property
    def citation(self) -> int: ...
    @property
    def searches(self) -> int: ...
    @property
    def audio_ms(self) -> int: ...
    @property
    def characters(self) -> int: ...


class Metered(Protocol):
    """The counts that a price is applied to; see `aieye.gateway.usage.Usage`.

    Stated here, since the ledger stands below the gateway and imports nothing of it.
    """

    @property
    def input(self) -> int: ...
    @property
    def output(self) -> int: ...
    @property
    def cached(self) -> int: ...
    @property
    def cache_write(self) -> int: ...
    @property
    def reasoning(self) -> int: ...
    @property
    def input_audio(self) -> int: ...
    @property
    def input_image(self) -> int: ...
    @property
    def output_audio(self) -> int: ...
    @property
    def output_image(self) -> int: ...
    @property
    def extras(self) -> MeteredExtras | None: ...
