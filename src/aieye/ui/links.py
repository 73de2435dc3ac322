"""Links that keep what the page's URL says already: filters, range, order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

# A change of any filter starts the list anew.
_PLACE = "cursor"


@dataclass(frozen=True, slots=True)
class Here:
    """Where the page is; call it for the same place with another query.

    `here(model="gpt-4o", tag=None)` sets one parameter and drops another; a list repeats one.
    """

    path: str
    params: Sequence[tuple[str, str]] = ()

    def __call__(
        self, path: str | None = None, /, **changes: str | int | Sequence[str] | None
    ) -> str:
        changes.setdefault(_PLACE, None)
        kept = [(name, value) for name, value in self.params if name not in changes]
        for name, value in changes.items():
            if value is None:
                continue
            values = [value] if isinstance(value, str | int) else value
            kept += [(name, str(one)) for one in values]
        query = urlencode(kept)
        target = self.path if path is None else path
        return f"{target}?{query}" if query else target

    def __str__(self) -> str:
        query = urlencode(self.params)
        return f"{self.path}?{query}" if query else self.path

    def get(self, name: str, default: str = "") -> str:
        """The value of a parameter, its last where it stands twice."""
        return self.as_dict.get(name, default)

    @property
    def as_dict(self) -> Mapping[str, str]:
        return dict(self.params)

    def without(self, name: str, value: str) -> str:
        """The same place less one value of a parameter that may repeat."""
        left = [one for key, one in self.params if key == name and one != value]
        return self(**{name: left})

    def others(self, *names: str) -> Sequence[tuple[str, str]]:
        """What a form that sets `names` has to keep in hidden fields."""
        return [(key, value) for key, value in self.params if key not in {*names, _PLACE}]
