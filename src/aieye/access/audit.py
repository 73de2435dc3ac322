"""The log of administrators' acts: a row in the transaction of the act, or no act at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.bounds import UNLIMITED, Bounds
from aieye.access.directory import ADMINISTRATOR
from aieye.db.tables import AuditEntry


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a signed-in user, a token's user, or the command line (`user_id` None).

    `bounds` are the limits of the token that they act with: what they hand out lies within.
    """

    user_id: int | None
    label: str
    role: str
    ip: str = ""
    request_id: str = ""
    bounds: Bounds = UNLIMITED

    @property
    def is_administrator(self) -> bool:
        return self.role == ADMINISTRATOR

    def may_see(self, owner_id: int | None) -> bool:
        """Whether the actor may see what belongs to `owner_id`."""
        return self.is_administrator or (self.user_id is not None and owner_id == self.user_id)


# The command line on the server's own machine acts with the rights of whoever owns its files.
COMMAND_LINE = Actor(None, "command line", ADMINISTRATOR)
# The server itself: the first start, and what the environment configures.
SYSTEM = Actor(None, "system", ADMINISTRATOR)


def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: object,
    **details: Any,
) -> None:
    """Add the act to the session. `details` must hold no secret: names, ids, old and new values."""
    session.add(
        AuditEntry(
            actor_user_id=actor.user_id,
            actor=actor.label,
            action=action,
            object_type=object_type,
            object_id=str(object_id),
            details=details,
            ip=actor.ip,
            request_id=actor.request_id,
        )
    )
