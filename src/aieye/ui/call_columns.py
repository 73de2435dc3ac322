"""The columns of the list of calls: which there are, and which of them the URL asks for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aieye.ui.links import Here


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name in the URL. `is_usual` ones are there where none are asked for."""

    name: str
    label: str
    is_number: bool = False
    is_usual: bool = False
    for_administrators: bool = False


COLUMNS = (
    Column("when", "When", is_usual=True),
    Column("id", "Request id"),
    Column("model", "Model", is_usual=True),
    Column("asked", "Model asked for"),
    Column("endpoint", "Endpoint"),
    Column("status", "Status", is_usual=True),
    Column("error", "Error"),
    Column("cache", "Cache", is_usual=True),
    Column("stream", "Streamed"),
    Column("in", "In, tokens", is_number=True, is_usual=True),
    Column("out", "Out, tokens", is_number=True, is_usual=True),
    Column("cost", "Cost", is_number=True, is_usual=True),
    Column("saved", "Saved", is_number=True),
    Column("latency", "Latency, ms", is_number=True, is_usual=True),
    Column("ttft", "First token, ms", is_number=True),
    Column("token", "Token", is_usual=True),
    Column("user", "User", is_usual=True, for_administrators=True),
    Column("provider", "Provider"),
    Column("key", "Key"),
    Column("attempts", "Attempts", is_number=True),
    Column("pipeline", "Pipeline"),
    Column("run", "Run"),
    Column("tags", "Tags"),
)


def chosen_columns(here: Here, *, is_administrator: bool) -> Sequence[Column]:
    """The columns that `cols=…` names, or the usual ones; the first one always leads to the call."""
    asked = {value for name, value in here.params if name == "cols"}
    shown = [
        column
        for column in COLUMNS
        if (column.name in asked if asked else column.is_usual)
        and (is_administrator or not column.for_administrators)
    ]
    return shown or [COLUMNS[0]]
