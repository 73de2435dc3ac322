"""Reading the ledger: calls by their rows, usage by its roll-ups. Never the one by the other.

`owner_id` limits everything to one user's calls; None is for administrators and sees all.
"""

from aieye.access.texts import FIRST_YEAR
from aieye.ledger.queries.call_filters import CallFilters
from aieye.ledger.queries.call_rows import (
    CallPage,
    FoundBody,
    FoundCall,
    find_calls,
    get_body,
    get_call,
)
from aieye.ledger.queries.usage_sums import (
    DIMENSIONS,
    Sums,
    Usage,
    UsageFilters,
    UsagePoint,
    names_of,
    totals,
    usage,
)

__all__ = [
    "DIMENSIONS",
    "FIRST_YEAR",
    "CallFilters",
    "CallPage",
    "FoundBody",
    "FoundCall",
    "Sums",
    "Usage",
    "UsageFilters",
    "UsagePoint",
    "find_calls",
    "get_body",
    "get_call",
    "names_of",
    "totals",
    "usage",
]
