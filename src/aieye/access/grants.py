"""What somebody may do who holds no token: whoever is signed in, or works at the server itself."""

from __future__ import annotations

from aieye.access.snapshot import DEFAULT_NAMESPACE, SCOPES, Grant


def grant_of_user(user_id: int, user: str, role: str, *, key_id: int | None = None) -> Grant:
    """What a user may do without a token: all that one of theirs without limits could."""
    return Grant(
        token_id=None,
        token_name="",
        user_id=user_id,
        user=user,
        role=role,
        scope=SCOPES["runs"],
        namespace=DEFAULT_NAMESPACE,
        cache_enabled=True,
        expires_at=None,
        key_id=key_id,
        models=None,
    )
