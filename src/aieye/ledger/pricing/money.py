"""Money in integers: nano-dollars (1e-9 $) in rows, pico-dollars (1e-12 $) a unit in prices. Pure."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

NANO_PER_USD: Final = 10**9
MAX_NANO: Final = 2**63 - 1
"""The most that a 64-bit column holds: nine thousand million dollars for one call."""
_PICO_PER_NANO: Final = 1000
_USD = re.compile(r"([+-]?)(\d{1,12})(?:\.(\d{1,30}))?", re.ASCII)


def nano_of(pico: int, parts: int = 1) -> int:
    """Return pico-dollars (or that many parts of one) in nano-dollars, half up, within bounds."""
    divisor = parts * _PICO_PER_NANO
    nano = (pico + divisor // 2) // divisor
    if nano > MAX_NANO:
        return MAX_NANO
    return nano if nano > 0 else 0


def pico_of(usd: Decimal, *, units: int = 1_000_000) -> int:
    """Return dollars for so many units as pico-dollars for one, rounded half up.

    Prices have six decimals at most for a million tokens, so this is exact but for the few that a
    provider derives by division.
    """
    return int((usd * 10**12 / units).to_integral_value(ROUND_HALF_UP))


def format_usd(nano: int) -> str:
    """Return nano-dollars as a decimal text of dollars: no exponent, no zeros at the end."""
    dollars, rest = divmod(abs(nano), NANO_PER_USD)
    text = f"{dollars}.{rest:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nano < 0 else text


def parse_usd(text: str) -> int:
    """Return a decimal text of dollars in nano-dollars, rounded half up (away from zero).

    Raises ValueError for anything but digits with an optional sign and point.
    """
    match = _USD.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an amount of dollars")
    sign, dollars, rest = match.groups(default="")
    digits = rest.ljust(10, "0")
    nano = int(dollars) * NANO_PER_USD + int(digits[:9]) + (digits[9] >= "5")
    return -nano if sign == "-" else nano
