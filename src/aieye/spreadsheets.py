"""Rows as CSV, of which no spreadsheet computes anything. Without I/O."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson

MEDIA_TYPE = "text/csv; charset=utf-8"
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def cell(value: Any) -> str:
    """A value as a cell of a table. A text that a spreadsheet would compute has a quote before it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict | list):
        value = orjson.dumps(value).decode() if value else ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return str(value)


def csv_rows(rows: Iterable[Iterable[str]]) -> bytes:
    """Lines of cells, each as `cell` wrote it."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
