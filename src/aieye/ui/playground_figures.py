"""What a trial of the playground came to, in words: of what failed only what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from aieye.access.snapshot import DEMO_ID
from aieye.ui import show
from aieye.ui.playground_run import Trial

# How an answer ends that is not whole, as providers say it.
_CUT_OFF: Final[Mapping[str, str]] = {
    "length": "Cut off: the most tokens were reached.",
    "content_filter": "Cut off by the provider's filter of contents.",
}


class Figure(NamedTuple):
    """A figure under its word."""

    word: str
    value: str
    is_saved: bool = False


def figures_of(trial: Trial) -> Sequence[Figure]:
    """Cost, tokens and times. What was refused has neither a first token nor a cost to speak of."""
    record, found = trial.record, []
    is_answered = bool(trial.text) or not trial.error
    tokens = (record.tokens_input, record.tokens_output)
    if is_answered or record.cost_nano:
        is_simulated = record.cost_nano is None and record.provider_id == DEMO_ID
        found.append(Figure("Cost", "simulated" if is_simulated else show.money(record.cost_nano)))
    if record.saved_nano:
        found.append(Figure("Saved", show.money(record.saved_nano), is_saved=True))
    if any(one is not None for one in tokens):
        found.append(Figure("Tokens in, out", ", ".join(map(show.number, tokens))))
    if is_answered and record.ttft_us is not None:
        found.append(Figure("First token", show.duration(record.ttft_us / 1000)))
    if record.latency_us is not None:
        found.append(Figure("Latency", show.duration(record.latency_us / 1000)))
    return found


def cut_off(trial: Trial) -> str:
    """That an answer is not whole, though it ended well; empty for one that is."""
    return _CUT_OFF.get(trial.ended_by, "")
