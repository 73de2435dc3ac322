"""The fields of a form, as pages read them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol


class Upload(Protocol):
    """A file that was sent with a form."""

    filename: str | None

    async def read(self, size: int = -1) -> bytes:
        """What it holds, from where it was read last."""
        ...


class Fields(Mapping[str, str]):
    """The fields of a form; of a name that stands twice, the last value (`all` has each)."""

    def __init__(
        self,
        values: Mapping[str, Sequence[str]],
        files: Mapping[str, Sequence[Upload]] | None = None,
    ) -> None:
        self._values = values
        self.files = MappingProxyType(dict(files or {}))

    def __getitem__(self, name: str) -> str:
        return self._values[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> Sequence[str]:
        """All values of a name: what was ticked of several boxes."""
        return self._values.get(name, ())

    def text(self, name: str) -> str:
        """What was typed, less the space around it; empty when the field is not there."""
        return self.get(name, "").strip()

    def is_on(self, name: str) -> bool:
        """Whether a box is ticked: browsers leave out those that are not."""
        return self.get(name, "") not in {"", "false", "off", "0"}
