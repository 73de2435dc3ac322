"""The schema: one for SQLite and PostgreSQL. Migrations bring a database to it.

What people make is never removed while the ledger speaks of it: `deleted_at` hides a row and keeps
its name for the calls that were booked on it. `revision` grows with every change that a running
process must learn of (see `aieye.access.directory`).

The condition of an index is said for SQLite alone: the migrations have both, and to name an option of
PostgreSQL here would load its dialect into every process.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from aieye.db.types import Blob, Json, NanoDollars, UtcTime, now

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


def _living(column: str, table: str) -> Index:
    """Unique among the rows that are not deleted."""
    name = f"uq_{table}_{column}_living"
    return Index(name, column, unique=True, sqlite_where=text("deleted_at IS NULL"))


class Stamped:
    """When a row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now, onupdate=now)


class Revision(Base):
    """One row. `value` grows with every change of what processes keep in memory, and `purges` with
    every purge of the cache."""

    __tablename__ = "revision"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)
    purges: Mapped[int] = mapped_column(BigInteger)


class User(Stamped, Base):
    """A person. The built-in owner (`is_builtin`) holds what was made before anybody signed up."""

    __tablename__ = "users"
    __table_args__ = (_living("email", "users"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    email: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(150), default="")
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    is_builtin: Mapped[bool] = mapped_column(Boolean, default=False)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Session(Base):
    """A signed-in browser or script. Only the hash of the cookie's random id is kept."""

    __tablename__ = "sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    csrf_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    last_seen_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    ip: Mapped[str] = mapped_column(String(64), default="")
    user_agent: Mapped[str] = mapped_column(String(300), default="")


class SetupLink(Base):
    """A single-use link: it makes the first administrator, or lets `user_id` set a password."""

    __tablename__ = "setup_links"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    user_id: Mapped[int | None] = mapped_column(Integer)


class LoginAttempt(Base):
    """Failed sign-ins of an account, an address, or both together, for the waiting time before the next."""

    __tablename__ = "login_attempts"

    subject: Mapped[str] = mapped_column(String(300), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    window_started_at: Mapped[datetime] = mapped_column(UtcTime)


class Token(Stamped, Base):
    """A public token: what programs hold. Only a keyed hash of the secret is stored.

    After a roll the secret before (`former_digest`) works on until `former_until`.
    """

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(24))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[str] = mapped_column(String(16))
    cache_namespace: Mapped[str] = mapped_column(String(64), default="default")
    cache_enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    provider_key_id: Mapped[int | None] = mapped_column(ForeignKey("provider_keys.id"))
    models: Mapped[list[str] | None] = mapped_column(Json)
    former_digest: Mapped[str | None] = mapped_column(String(64))
    former_prefix: Mapped[str | None] = mapped_column(String(24))
    former_until: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Provider(Stamped, Base):
    """An origin that speaks OpenAI's API, reached with one or more keys."""

    __tablename__ = "providers"
    __table_args__ = (_living("name", "providers"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    base_url: Mapped[str] = mapped_column(String(500))
    is_default: Mapped[bool] = mapped_column(Boolean, default=False)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)


class ProviderKey(Stamped, Base):
    """A provider's secret key, sealed (`aieye.access.cipher`) and never shown again."""

    __tablename__ = "provider_keys"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    sealed: Mapped[str | None] = mapped_column(Text)
    last4: Mapped[str] = mapped_column(String(4))
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Route(Stamped, Base):
    """An alias: a model name that stands for an ordered or weighted list of targets.

    `targets` is `[{"model", "provider", "key_id" | null, "weight"}]`, tried in turn.
    """

    __tablename__ = "routes"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    alias: Mapped[str] = mapped_column(String(200), unique=True)
    strategy: Mapped[str] = mapped_column(String(16))
    targets: Mapped[list[dict[str, Any]]] = mapped_column(Json)


class PriceOverride(Stamped, Base):
    """An administrator's price for a model, from a date on. Rates are decimal text, $ per million."""

    __tablename__ = "price_overrides"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    provider: Mapped[str | None] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(200))
    rates: Mapped[dict[str, str]] = mapped_column(Json)
    effective_from: Mapped[datetime] = mapped_column(UtcTime)


class PriceSnapshot(Base):
    """A price as it was when a call was booked on it; calls point here by `price_id`."""

    __tablename__ = "price_snapshots"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    body: Mapped[dict[str, Any]] = mapped_column(Json)


class AuditEntry(Base):
    """An administrator's act, written in the transaction of the act itself."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    actor_user_id: Mapped[int | None] = mapped_column(Integer, index=True)
    actor: Mapped[str] = mapped_column(String(254))
    action: Mapped[str] = mapped_column(String(64))
    object_type: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[str] = mapped_column(String(64))
    details: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    ip: Mapped[str] = mapped_column(String(64), default="")
    request_id: Mapped[str] = mapped_column(String(64), default="")


class OwnedObject(Base):
    """An object made at a provider (a file, a batch …), whose it is and the key it was made with.

    A cached answer's id may be given to several users: each of them has a row.
    """

    __tablename__ = "owned_objects"
    # All that a list asks for, so that it never looks at the rows.
    __table_args__ = (
        Index("ix_owned_objects_user_id_kind", "user_id", "kind", "provider_id", "key_id"),
    )

    external_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    provider_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key_id: Mapped[int | None] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class IdempotentCall(Base):
    """What an `Idempotency-Key` stands for: a call in flight (`status` null) or its answer.

    Under the negative id of a user: a form of theirs that was sent (`aieye.ui.saving`), without one.
    """

    __tablename__ = "idempotent_calls"

    token_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    path: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_digest: Mapped[str] = mapped_column(String(64))
    call_id: Mapped[str] = mapped_column(String(32))
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[list[list[str]] | None] = mapped_column(Json)
    body: Mapped[bytes | None] = mapped_column(Blob)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)


class Instance(Base):
    """A running process. Calls that a dead one left open are marked when its heart has stopped."""

    __tablename__ = "instances"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    seen_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class CallableName(Base):
    """The one name space of what pipelines call: who holds a name (`kind` and `object_id`)."""

    __tablename__ = "names"
    __table_args__ = (Index("uq_names_kind_object_id", "kind", "object_id", unique=True),)

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))
    object_id: Mapped[int] = mapped_column(Integer)


class RegisteredFunction(Stamped, Base):
    """A function that pipelines may call; one that comes back has its old row.

    `definition` is what its file said of it when it was registered, `aieye.functions.model.describe`.
    `description` is what an administrator says of it; None leaves that to its docstring.
    """

    __tablename__ = "functions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    file: Mapped[str] = mapped_column(String(255))
    source_hash: Mapped[str] = mapped_column(String(64))
    definition: Mapped[dict[str, Any]] = mapped_column(Json)
    description: Mapped[str | None] = mapped_column(Text)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Authored(Stamped):
    """What people write for pipelines to call; what it says is in versions, which never change.

    `version` is the newest. `served_version` is what runs: the one that `labels` (a label's version
    by its name) calls `production`, else the newest.
    """

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    is_shared: Mapped[bool] = mapped_column(Boolean, default=False)
    version: Mapped[int] = mapped_column(Integer)
    served_version: Mapped[int] = mapped_column(Integer)
    labels: Mapped[dict[str, int]] = mapped_column(Json, default=dict)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Prompt(Authored, Base):
    """A text with variables for a model."""

    __tablename__ = "prompts"

    description: Mapped[str] = mapped_column(Text, default="")


class PromptVersion(Base):
    """What a prompt says, as it was saved once. `variables` are those of `body`, in its order."""

    __tablename__ = "prompt_versions"

    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(Text)
    variables: Mapped[list[str]] = mapped_column(Json)
    model: Mapped[str] = mapped_column(String(200))
    params: Mapped[dict[str, Any]] = mapped_column(Json)
    json_mode: Mapped[bool] = mapped_column(Boolean)
    schema: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    created_by: Mapped[int | None] = mapped_column(Integer)


class Preset(Authored, Base):
    """A predefined configuration. `uid` is what it is called by; `is_callable`: it holds its name in
    `names`, which only a name that is a NAME and was free does."""

    __tablename__ = "presets"
    __table_args__ = (_living("uid", "presets"),)

    uid: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(200))
    type: Mapped[str] = mapped_column(String(12))
    is_callable: Mapped[bool] = mapped_column(Boolean, default=False)


class PresetVersion(Base):
    """What a preset says, as it was saved once. A search's documents are rows of their own, shared
    by all versions with the same ones."""

    __tablename__ = "preset_versions"

    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    config: Mapped[dict[str, Any]] = mapped_column(Json)
    documents_id: Mapped[str | None] = mapped_column(ForeignKey("preset_documents.id"), index=True)
    document_count: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    created_by: Mapped[int | None] = mapped_column(Integer)


class PresetDocuments(Base):
    """The documents of searches: a JSON text a line, compressed (zlib). `id` is the SHA-256 of the
    lines in hex, `size_bytes` how long they are."""

    __tablename__ = "preset_documents"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    lines: Mapped[bytes] = mapped_column(Blob)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class DocumentVector(Base):
    """What a model at a provider made of a document: 32-bit floats, little end first. `digest` is
    the SHA-256 of the document's line in `preset_documents`, in whichever of those it stands."""

    __tablename__ = "document_vectors"

    digest: Mapped[bytes] = mapped_column(Blob, primary_key=True)
    provider_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    model: Mapped[str] = mapped_column(String(200), primary_key=True)
    vector: Mapped[bytes] = mapped_column(Blob)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Pipeline(Authored, Base):
    """Prompts, functions and other pipelines, composed."""

    __tablename__ = "pipelines"


class PipelineVersion(Base):
    """The text of a pipeline and what was found when it was saved.

    `arguments` are `[{"name", "type" | null, "is_required", "default"}]`, `diagnostics` warnings,
    and `bindings` what each callee stands for, by its offset in the text:
    `[{"at", "name", "kind", "id", "parameters"}]` (see `aieye.pipeline.stored`).
    """

    __tablename__ = "pipeline_versions"

    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    source: Mapped[str] = mapped_column(Text)
    arguments: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    bindings: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    diagnostics: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    created_by: Mapped[int | None] = mapped_column(Integer)


class PipelineUse(Base):
    """What a version of a pipeline calls: a function, a prompt, a preset or a pipeline."""

    __tablename__ = "pipeline_uses"
    __table_args__ = (Index("ix_pipeline_uses_kind_object_id", "kind", "object_id"),)

    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(12), primary_key=True)
    object_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class PipelineTag(Base):
    """A word that pipelines are found by."""

    __tablename__ = "pipeline_tags"

    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(50), primary_key=True, index=True)
    position: Mapped[int] = mapped_column(Integer)


class Execution(Base):
    """One run of a pipeline. `run_id` is what its calls in the ledger are marked with.

    `error` is null or a diagnostic's fields. Costs are null while a step's is unknown; it `is_simulated`
    where each such step was and no other cost anything, and so misses no price. Without `has_texts`
    arguments and output are gone, also the steps', and of errors code and place are left.
    """

    __tablename__ = "executions"
    __table_args__ = (
        Index("ix_executions_pipeline_id_id", "pipeline_id", "id"),
        Index("ix_executions_user_id_id", "user_id", "id"),
        Index(
            "ix_executions_running",
            "instance_id",
            sqlite_where=text("status = 'running'"),
        ),
        Index(
            "ix_executions_texts",
            "started_at",
            sqlite_where=text("has_texts = 1"),
        ),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[str] = mapped_column(String(64), unique=True)
    instance_id: Mapped[str] = mapped_column(String(32))
    # Null for a text that is not saved. Ids of what may be gone by now: the run stays.
    pipeline_id: Mapped[int | None] = mapped_column(Integer)
    pipeline_version: Mapped[int | None] = mapped_column(Integer)
    pipeline: Mapped[str | None] = mapped_column(String(100))
    user_id: Mapped[int | None] = mapped_column(Integer)
    token_id: Mapped[int | None] = mapped_column(Integer)
    key_id: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(12))
    started_at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    has_texts: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    arguments: Mapped[dict[str, Any]] = mapped_column(Json)
    output: Mapped[Any | None] = mapped_column(Json)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    tokens_input: Mapped[int] = mapped_column(BigInteger, default=0)
    tokens_output: Mapped[int] = mapped_column(BigInteger, default=0)
    cost_nano: Mapped[int | None] = mapped_column(NanoDollars)
    cost_input_nano: Mapped[int | None] = mapped_column(NanoDollars)
    saved_nano: Mapped[int | None] = mapped_column(NanoDollars)
    is_simulated: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class ExecutionStep(Base):
    """A step of a run as it was traced: where it stands in the text, when it ran, what it cost.

    `path` leads to it through pipelines that call others. `arguments` and `output` are previews.
    """

    __tablename__ = "execution_steps"

    execution_id: Mapped[int] = mapped_column(ForeignKey("executions.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(12))
    span_start: Mapped[int] = mapped_column(Integer)
    span_end: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(12))
    attempts: Mapped[int] = mapped_column(Integer)
    queued_at: Mapped[datetime | None] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    cache: Mapped[str | None] = mapped_column(String(8))
    arguments: Mapped[Any | None] = mapped_column(Json)
    output: Mapped[Any | None] = mapped_column(Json)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    model: Mapped[str | None] = mapped_column(String(200))
    tokens_input: Mapped[int | None] = mapped_column(BigInteger)
    tokens_output: Mapped[int | None] = mapped_column(BigInteger)
    cost_nano: Mapped[int | None] = mapped_column(NanoDollars)
    cost_input_nano: Mapped[int | None] = mapped_column(NanoDollars)
    saved_nano: Mapped[int | None] = mapped_column(NanoDollars)
    is_simulated: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class CacheEntry(Base):
    """A stored answer. `checksum` covers key and body; an entry that fails it is a miss.

    With a `body_id` its texts are those of that row of `call_bodies`, and empty here.
    """

    __tablename__ = "cache_entries"
    __table_args__ = (
        Index("ix_cache_entries_model_id", "model", "id"),
        Index(
            "ix_cache_entries_expires_at",
            "expires_at",
            sqlite_where=text("expires_at IS NOT NULL"),
        ),
        Index(
            "ix_cache_entries_body_id",
            "body_id",
            sqlite_where=text("body_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    key: Mapped[bytes] = mapped_column(Blob, unique=True)
    endpoint: Mapped[str] = mapped_column(String(64))
    provider_id: Mapped[int] = mapped_column(Integer)
    namespace: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(200))
    is_stream: Mapped[bool] = mapped_column(Boolean)
    content_type: Mapped[str] = mapped_column(String(100))
    headers: Mapped[list[list[str]]] = mapped_column(Json)
    body: Mapped[bytes] = mapped_column(Blob)
    checksum: Mapped[bytes] = mapped_column(Blob)
    # The canonical request, as it was hashed: `explain` compares it with a call that missed.
    request: Mapped[bytes] = mapped_column(Blob)
    # What a hit books: the call that paid, its tokens and its cost.
    meta: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    hits: Mapped[int] = mapped_column(BigInteger, default=0)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    body_id: Mapped[str | None] = mapped_column(String(32))


class CacheTotals(Base):
    """One row: how much is stored, kept by triggers on `cache_entries`, so that nothing counts."""

    __tablename__ = "cache_totals"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    entries: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class Call(Base):
    """The ledger: one row per client call. Columns in the order in which the writer fills them."""

    __tablename__ = "calls"
    __table_args__ = (
        Index("ix_calls_token_id_id", "token_id", "id"),
        Index("ix_calls_user_id_id", "user_id", "id"),
        Index(
            "ix_calls_open",
            "instance_id",
            sqlite_where=text("state = 'open'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    instance_id: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(12))
    token_id: Mapped[int | None] = mapped_column(Integer)
    user_id: Mapped[int | None] = mapped_column(Integer)
    provider_id: Mapped[int | None] = mapped_column(Integer)
    key_id: Mapped[int | None] = mapped_column(Integer)
    endpoint: Mapped[str] = mapped_column(String(64))
    model_asked: Mapped[str | None] = mapped_column(String(200))
    model: Mapped[str | None] = mapped_column(String(200))
    is_stream: Mapped[bool] = mapped_column(Boolean)
    status: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None] = mapped_column(String(300))
    cache: Mapped[str] = mapped_column(String(8))
    latency_us: Mapped[int | None] = mapped_column(BigInteger)
    ttft_us: Mapped[int | None] = mapped_column(BigInteger)
    tokens_input: Mapped[int | None] = mapped_column(BigInteger)
    tokens_cached: Mapped[int | None] = mapped_column(BigInteger)
    tokens_output: Mapped[int | None] = mapped_column(BigInteger)
    tokens_reasoning: Mapped[int | None] = mapped_column(BigInteger)
    cost_nano: Mapped[int | None] = mapped_column(NanoDollars)
    saved_nano: Mapped[int | None] = mapped_column(NanoDollars)
    cost_state: Mapped[str] = mapped_column(String(10))
    price_id: Mapped[str | None] = mapped_column(String(32))
    usage: Mapped[dict[str, Any] | None] = mapped_column(Json)
    body_id: Mapped[str | None] = mapped_column(String(32))
    upstream_request_id: Mapped[str | None] = mapped_column(String(200))
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    tags: Mapped[dict[str, str] | None] = mapped_column(Json)
    run_id: Mapped[str | None] = mapped_column(String(64))
    step: Mapped[str | None] = mapped_column(String(200))
    pipeline: Mapped[str | None] = mapped_column(String(100))


class CallBody(Base):
    """What was asked and answered, redacted; hits on a cache entry share the row of its first call.

    Like a call's, its id is a UUID of version 7: ids sort by the time at which they were made.
    """

    __tablename__ = "call_bodies"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    is_compressed: Mapped[bool] = mapped_column(Boolean)
    request: Mapped[bytes | None] = mapped_column(Blob)
    response: Mapped[bytes | None] = mapped_column(Blob)


class UsageDimension(Base):
    """A combination of what usage is counted by; 0 and "" stand for none.

    `id` is a hash of the combination, so that writers need not ask the database for it.
    """

    __tablename__ = "usage_dimensions"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    token_id: Mapped[int] = mapped_column(Integer)
    user_id: Mapped[int] = mapped_column(Integer)
    provider_id: Mapped[int] = mapped_column(Integer)
    endpoint: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(200))
    pipeline: Mapped[str] = mapped_column(String(100))
    status: Mapped[int] = mapped_column(Integer)
    cache: Mapped[str] = mapped_column(String(8))


class UsageRollup(Base):
    """Sums of the calls of one minute, hour or day (`grain` in seconds) and one dimension."""

    __tablename__ = "usage_rollups"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own form

    grain: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    bucket: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    dimension_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    calls: Mapped[int] = mapped_column(BigInteger)
    unpriced: Mapped[int] = mapped_column(BigInteger)
    tokens_input: Mapped[int] = mapped_column(BigInteger)
    tokens_cached: Mapped[int] = mapped_column(BigInteger)
    tokens_output: Mapped[int] = mapped_column(BigInteger)
    tokens_reasoning: Mapped[int] = mapped_column(BigInteger)
    cost_nano: Mapped[int] = mapped_column(NanoDollars)
    saved_nano: Mapped[int] = mapped_column(NanoDollars)
    latency_us: Mapped[int] = mapped_column(BigInteger)


class LatencyRollup(Base):
    """How many calls of one rollup fell into one latency bin (`aieye.ledger.rollups.BIN_EDGES_MS`)."""

    __tablename__ = "latency_rollups"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own form

    grain: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    bucket: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    dimension_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    bin: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    calls: Mapped[int] = mapped_column(BigInteger)


class VersionUse:
    """What the calls of one day (`bucket`, in UTC) that were made with one version came to."""

    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own form

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    bucket: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    calls: Mapped[int] = mapped_column(BigInteger)
    unpriced: Mapped[int] = mapped_column(BigInteger)
    cost_nano: Mapped[int] = mapped_column(NanoDollars)
    saved_nano: Mapped[int] = mapped_column(NanoDollars)


class PromptUse(VersionUse, Base):
    """Of a version of a prompt, what pipelines asked with it."""

    __tablename__ = "prompt_uses"

    prompt_id: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, sort_order=-1
    )


class PresetUse(VersionUse, Base):
    """Of a version of a preset, all that was asked through it."""

    __tablename__ = "preset_uses"

    preset_id: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, sort_order=-1
    )


class ChartName(Base):
    """A model, token, user, provider or pipeline (`kind`) that a chart has shown, by what filters name
    it; the order of the ids gives them their colours."""

    __tablename__ = "chart_names"
    __table_args__ = (UniqueConstraint("kind", "value"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(200))


class InstallationSecret(Base):
    """A secret of the installation, sealed: the pepper of the tokens' hashes (`pepper`)."""

    __tablename__ = "installation_secrets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    sealed: Mapped[str] = mapped_column(Text)
