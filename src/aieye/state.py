"""The one container of what a running process holds; `aieye.app` builds it, handlers are given it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.db.engine import Database
from aieye.db.types import now
from aieye.settings import Settings


@dataclass(slots=True)
class State:
    """What lives as long as the process."""

    settings: Settings
    database: Database
    cipher: Cipher
    directory: Directory
    started_at: datetime = field(default_factory=now)
