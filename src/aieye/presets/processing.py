"""Presets processed: what they ask goes the way of every call, and the answers come together.

Each question to a model has a row in the ledger, with the preset's id among its tags. Several
prompts that go through chat are several questions, asked side by side; one that fails ends the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aieye.access.snapshot import Grant
from aieye.cache.controls import DEFAULT, Controls
from aieye.cache.key import write_json
from aieye.errors import AieyeError
from aieye.gateway.answer_headers import with_money_of
from aieye.gateway.calls import LEFT, Call, Reply
from aieye.gateway.relay import Relay
from aieye.gateway.routing import resolve
from aieye.gateway.service import Gateway
from aieye.ledger.book import CallRecord
from aieye.presets.apply import Prompt
from aieye.presets.asking import Asking, asking_of, completion
from aieye.presets.engines import Engines
from aieye.presets.models import Preset
from aieye.telemetry.metrics import Metrics

# What takes longer than this is noted as open in the ledger.
SLOW_SECONDS: Final = 0.05
TAG: Final = "preset"
"""The tag of a call's row that holds the id of the preset it was made for."""


@dataclass(slots=True)
class Asker:
    """Who asks and pays, and what it means when the task is cancelled. `calls` are those made."""

    grant: Grant
    cancelled_as: tuple[int, str] = LEFT
    controls: Controls = DEFAULT
    calls: list[Call] = field(default_factory=list)

    def left(self) -> None:
        """Note that the client is gone, which ends what is under way."""
        for call in self.calls:
            call.cancelled_as = LEFT


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked and what came: all good replies, or the one that is an error.

    `record` is that of the first call, whose id the client is told.
    """

    asking: Asking
    replies: Sequence[Reply]
    record: CallRecord

    @property
    def failed(self) -> Reply | None:
        """The reply that is an error."""
        return next((one for one in self.replies if one.status >= 400), None)

    @property
    def bodies(self) -> list[bytes]:
        return [reply.body or b"" for reply in self.replies]


class Processing:
    """One a process."""

    def __init__(self, relay: Relay, gateway: Gateway, metrics: Metrics) -> None:
        self._engines = Engines()
        self._relay = relay
        self._gateway = gateway
        self._metrics = metrics

    async def process(
        self, preset: Preset, text: str, prompt: Prompt | None, asker: Asker
    ) -> Answered:
        """Ask about a text what the preset asks. Raises `AieyeError`; its calls are booked."""
        if preset.type != "completion":
            return await self._ask(asking_of(preset.type, preset.config, text), preset, asker)
        model = preset.model
        through_chat = self.is_through_chat(asker.grant, model)
        asking = asking_of(
            "completion", preset.config, text, prompt=prompt, through_chat=through_chat
        )
        answered = await self._ask(asking, preset, asker)
        failed = answered.failed
        if failed is not None and self.is_wrong_way(model, failed, through_chat=through_chat):
            asking = asking_of(
                "completion", preset.config, text, prompt=prompt, through_chat=not through_chat
            )
            answered = await self._ask(asking, preset, asker)
        return answered

    def is_through_chat(self, grant: Grant, model: str) -> bool:
        """Whether a completion of the model goes through chat. Raises what `resolve` does."""
        served = resolve(self._gateway.directory.current, grant, model)[0].model
        return self._engines.is_chat_only(model, served or model)

    def is_wrong_way(self, model: str, reply: Reply, *, through_chat: bool) -> bool:
        """Whether a reply says that the model is to be asked in the other way, as it will be now."""
        return self._engines.learn(model, reply.status, reply.body, through_chat=through_chat)

    async def _ask(self, asking: Asking, preset: Preset, asker: Asker) -> Answered:
        calls = [
            Call(
                asking.match, asker.grant, write_json(body),
                CallRecord(asking.match.endpoint.name, preset=preset.counted_as),
                controls=asker.controls, cancelled_as=asker.cancelled_as, tags=tags_of(preset),
            )
            for body in asking.bodies
        ]  # fmt: skip
        if asking.is_through_chat and len(calls) == 1:
            calls[0].restate = partial(_restate, calls[0].record, asking)
        asker.calls += calls
        if len(calls) == 1:
            return Answered(asking, (await self._infer(calls[0]),), calls[0].record)
        return Answered(asking, await self.ask_all(calls), calls[0].record)

    async def ask_all(self, calls: Sequence[Call], *, own: Call | None = None) -> Sequence[Reply]:
        """The replies to several questions asked at once; only the first error, which ends the rest.

        The headers of the first say what all cost. Whoever handles `own` counts it.
        """
        tasks = [
            asyncio.ensure_future(self._relay.infer(call) if call is own else self._infer(call))
            for call in calls
        ]
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (reply := task.result()).status >= 400:
                        return (reply,)
            replies = [task.result() for task in tasks]
            replies[0].headers = with_money_of(replies[0].headers, calls)
            return replies
        finally:
            for call in calls:
                # Why the client's own call ends is why the others do.
                call.cancelled_as = calls[0].cancelled_as
            for task in waiting:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _infer(self, call: Call) -> Reply:
        self._metrics.began()
        noting = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._note_open, call.record)
        try:
            return await self._relay.infer(call)
        finally:
            noting.cancel()
            self._metrics.ended(call.record)

    def _note_open(self, record: CallRecord) -> None:
        """Should the process end now, the ledger says of a slow call that it was under way."""
        if record.status is None:
            self._gateway.book.open(record)


def _restate(record: CallRecord, asking: Asking, body: bytes | None) -> None:
    """Book what is answered where the provider's answer cannot be read."""
    if body is None or (record.status or 0) >= 400:
        return
    try:
        completion(asking, [body])
    except AieyeError as error:
        record.status, record.error = error.status, error.code


def tags_of(preset: Preset) -> Mapping[str, str]:
    """What the rows of a preset's calls are marked with."""
    return {TAG: preset.uid}
