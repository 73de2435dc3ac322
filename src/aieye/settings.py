"""Settings from the environment or `.env`: read once at the start, frozen, and passed down.

A wrong value raises `SettingsError`, which names the variable and never its value; an unknown
`AIEYE_` variable is reported by `unknown_variables` with the name that was probably meant.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import (
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from aieye.errors import AieyeError
from aieye.setting_values import (
    ByteCount,
    Days,
    Given,
    Lifetime,
    MapItems,
    Optional_,
    Seconds,
    StepSeconds,
    Switch,
    check_address,
    check_database,
    check_secret,
)

PREFIX = "AIEYE_"
# Variables with the prefix that are read elsewhere: the command line as a client, and the tests.
OTHER_VARIABLES = frozenset(
    {"AIEYE_URL", "AIEYE_TOKEN", "AIEYE_TEST_DATABASE_URL", "AIEYE_TEST_REDIS_URL"}
)


# What is read and checked here and has no effect yet: it comes with what it is for.
IDLE_VARIABLES = ("AIEYE_REDIS_URL",)


class SettingsError(AieyeError):
    """The configuration is wrong and the start is refused. The message names the variable."""

    code = "configuration_error"


class Settings(BaseSettings):
    """Every setting of the service; names, defaults and meaning are those of the README's table."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data_dir: Annotated[Path, Given] = Path("data")
    database_url: str = ""
    redis_url: Annotated[str | None, Optional_] = None
    host: Annotated[str, Given] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    workers: PositiveInt = 1
    public_url: Annotated[str | None, Optional_] = None
    trusted_proxies: str = ""
    secret_key: SecretStr | None = None
    secret_key_file: Annotated[Path | None, Optional_] = None
    funcs_dir: Annotated[Path, Given] = Path("funcs")
    config_file: Annotated[Path, Given] = Path("config/config.json")
    saga_open: Switch = False
    admin_email: Annotated[str | None, Optional_] = None
    admin_password: Annotated[SecretStr | None, Optional_] = None

    cache_default: Switch = True
    cache_ttl: Annotated[Lifetime | None, Optional_] = None
    cache_memory_bytes: ByteCount = 64 * 2**20
    cache_store_bytes: ByteCount = 2 * 2**30
    search_model: Annotated[str, Given] = "text-embedding-3-small"

    ledger_durability: Literal["strict", "relaxed"] = "strict"
    ledger_bodies: Switch = True
    ledger_retention_days: Days = 30
    stream_usage: Literal["inject", "leave"] = "inject"

    connect_timeout: Seconds = 5
    first_byte_timeout: Seconds = 600
    idle_timeout: Seconds = 120
    upstream_timeout: Seconds = 600

    pipeline_timeout: StepSeconds = 900
    pipeline_model_timeout: StepSeconds = 60
    pipeline_function_timeout: StepSeconds = 30
    pipeline_map_items: MapItems = 1_000

    max_json_bytes: ByteCount = 50 * 2**20
    max_upload_bytes: ByteCount = 512 * 2**20
    max_event_bytes: ByteCount = 16 * 2**20

    openai_api_key: Annotated[SecretStr | None, Optional_] = Field(
        default=None, validation_alias="OPENAI_API_KEY"
    )
    openai_base_url: Annotated[str | None, Optional_] = Field(
        default=None, validation_alias="OPENAI_BASE_URL"
    )

    @field_validator("data_dir")
    @classmethod
    def _is_directory(cls, value: Path) -> Path:
        if value.exists() and not value.is_dir():
            raise ValueError("is not a directory")
        return value

    @field_validator("public_url", "openai_base_url")
    @classmethod
    def _is_http_url(cls, value: str | None) -> str | None:
        return None if value is None else check_address(value).rstrip("/")

    @field_validator("public_url")
    @classmethod
    def _is_bare(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("takes no user name, query or fragment")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("should start with redis://, rediss:// or unix://")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_known_database(cls, value: str) -> str:
        if value:
            check_database(value)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in filter(None, (part.strip() for part in value.split(","))):
            try:
                if part != "*":
                    ipaddress.ip_network(part, strict=False)
            except ValueError:
                # Its own message would repeat the value.
                raise ValueError("should be addresses or networks such as 10.0.0.0/8") from None
        return value

    @field_validator("secret_key")
    @classmethod
    def _are_strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            for key in value.get_secret_value().split(","):
                check_secret(key)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.workers > 1 and self.is_sqlite:
            raise ValueError(
                "AIEYE_WORKERS: more than one worker needs PostgreSQL (set AIEYE_DATABASE_URL)"
            )
        if not self.is_loopback and self.public_url is None:
            raise ValueError(
                "AIEYE_PUBLIC_URL: required when AIEYE_HOST is not a loopback address such as "
                "127.0.0.1"
            )
        if (self.admin_email is None) != (self.admin_password is None):
            raise ValueError("AIEYE_ADMIN_EMAIL and AIEYE_ADMIN_PASSWORD go together")
        return self

    @property
    def database(self) -> str:
        """The database's URL, the embedded one under the data directory by default."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'aieye.db'}"

    @property
    def is_sqlite(self) -> bool:
        return self.database.startswith("sqlite")

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(self.host)

    @property
    def is_readable_on_the_way(self) -> bool:
        """Whether people reach the service over a network without TLS."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "http" and not _is_loopback(parts.hostname or "")

    @property
    def base_url(self) -> str:
        """Where people reach the service, without a slash at the end."""
        if self.public_url:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def key_file(self) -> Path | None:
        """Where the secret keys are read from; None where the environment holds them."""
        if self.secret_key is not None:
            return None
        return self.secret_key_file or self.data_dir / "secret.key"

    def secret_keys(self) -> tuple[str, ...]:
        """The secret keys, newest first; the key file is made (mode 0600) when there is none.

        Raises `SettingsError` for a key that is empty, short or a sample.
        """
        path = self.key_file
        if self.secret_key is not None or path is None:
            given = self.secret_key.get_secret_value() if self.secret_key else ""
            return tuple(key.strip() for key in given.split(","))
        try:
            if not path.exists():
                _make_secret_file(path)
            keys = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
            for key in keys or ("",):
                check_secret(key)
        except UnicodeDecodeError as error:
            raise SettingsError("AIEYE_SECRET_KEY_FILE: is not text") from error
        except ValueError as error:
            raise SettingsError(f"AIEYE_SECRET_KEY_FILE: {error}") from error
        except OSError as error:
            variable = "AIEYE_DATA_DIR" if self.secret_key_file is None else "AIEYE_SECRET_KEY_FILE"
            raise SettingsError(f"{variable}: {path.name}: {error.strerror}") from error
        return keys


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make_secret_file(path: Path) -> None:
    import secrets  # noqa: PLC0415 - only the very first start needs it

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    try:
        # A link fails where the file exists: of two first starts, one wins and both read its key.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def load_settings(**overrides: Any) -> Settings:
    """The settings from the environment and `.env`; `overrides` are the command line's options.

    Raises `SettingsError` with one line a wrong variable, never with a value.
    """
    try:
        _refuse_unreadable_lines()
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except UnicodeDecodeError as error:
        raise SettingsError("The file .env is not UTF-8 text.") from error


def _refuse_unreadable_lines() -> None:
    """Raises `SettingsError` for a line of `.env` that is none; its reader would leave it out."""
    if not Path(".env").is_file():
        return
    with Path(".env").open(encoding="utf-8") as file:
        wrong = next((line.original for line in parse_stream(file) if line.error), None)
    if wrong is not None:
        # What the reader gives begins with the empty lines before it.
        blank = wrong.string[: -len(wrong.string.lstrip())].count("\n")
        raise SettingsError(f"The file .env, line {wrong.line + blank}: should be NAME=value.")


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        place = str(problem["loc"][0]) if problem["loc"] else ""
        name = place if place.isupper() else f"{PREFIX}{place.upper()}"
        lines.append(f"{name}: {message}" if place else message)
    return "\n".join(lines)


def unknown_variables() -> dict[str, str | None]:
    """`AIEYE_` variables that mean nothing here, each with the name that was probably meant."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    unknown = sorted(
        name for name in _given() if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    return {name: _nearest(name.upper(), known) for name in unknown}


def idle_variables() -> list[str]:
    """Those of `IDLE_VARIABLES` that somebody has set."""
    given = _given()
    values = {name.upper(): value for name, value in given.items()}
    return [name for name in IDLE_VARIABLES if values.get(name)]


def _given() -> dict[str, str | None]:
    """Everything in the environment and `.env`."""
    return {**(dotenv_values(".env") if Path(".env").is_file() else {}), **os.environ}


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The known variable that looks most like `name`. The prefix, which all share, says nothing."""
    rests = [other.removeprefix(PREFIX) for other in known]
    found = difflib.get_close_matches(name.removeprefix(PREFIX), rests, n=1)
    return f"{PREFIX}{found[0]}" if found else None
