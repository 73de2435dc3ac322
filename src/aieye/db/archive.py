"""The file of a backup: a zip with a manifest and each table as lines of JSON.

`tables/<name>.jsonl` holds one array per row, in the order of the manifest's columns; bytes are
base64. Nothing in it depends on the kind of database, so that a backup of SQLite goes into
PostgreSQL and back. `manifest.json` names the schema's revision and, of each table, the number of
rows and the SHA-256 of its lines. Rows are read and written one at a time, whatever their number.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, Self, TypeAlias

import orjson

from aieye import __version__
from aieye.db.types import now
from aieye.errors import AieyeError

FORMAT = "aieye-backup"
FORMAT_VERSION = 1
_MANIFEST = "manifest.json"
# Names of tables and columns become part of statements: nothing else than a name passes.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
# The first levels win most of what the later ones do, several times faster.
_COMPRESSION_LEVEL = 3
_READ_BYTES = 2**20

Kind: TypeAlias = Literal["plain", "boolean", "bytes"]
Columns: TypeAlias = Mapping[str, Kind]
Row: TypeAlias = Sequence[Any]


class BackupError(AieyeError):
    """A backup could not be made or brought back; the database is as it was."""

    code = "backup_error"


class InvalidBackup(BackupError):
    """The file is no backup, is damaged, or comes from a newer version."""

    status = 422
    type = "invalid_request_error"
    code = "invalid_backup"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """What the manifest says of a table."""

    columns: Columns
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the backup holds; `schema` is the revision of its tables."""

    schema: str
    database: str
    created_at: datetime
    version: str
    tables: Mapping[str, StoredTable]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


class ArchiveWriter:
    """Writes a backup to `file`: a context, with `table` for each table and then `finish`."""

    def __init__(self, file: IO[bytes], *, schema: str, database: str) -> None:
        self._zip = zipfile.ZipFile(
            file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL
        )
        self._schema, self._database = schema, database
        self._tables: dict[str, StoredTable] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @contextmanager
    def table(self, name: str, columns: Columns) -> Iterator[Callable[[Row], None]]:
        """Add a table; what it gives is called with each row."""
        encoders = [_ENCODE[kind] for kind in columns.values()]
        digest, rows = hashlib.sha256(), 0
        with self._zip.open(_entry(name), "w", force_zip64=True) as entry:

            def add(row: Row) -> None:
                nonlocal rows
                values = [
                    None if value is None else encode(value)
                    for encode, value in zip(encoders, row, strict=True)
                ]
                line = orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)
                digest.update(line)
                entry.write(line)
                rows += 1

            yield add
        self._tables[name] = StoredTable(dict(columns), rows, digest.hexdigest())

    def finish(self) -> Manifest:
        """Add the manifest, without which the file is no backup."""
        manifest = Manifest(self._schema, self._database, now(), __version__, self._tables)
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "aieye": manifest.version,
            "created_at": manifest.created_at,
            "database": manifest.database,
            "schema": manifest.schema,
            "tables": self._tables,
        }
        self._zip.writestr(_MANIFEST, orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return manifest


class Archive:
    """A backup to read from. Raises `InvalidBackup` here and while reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _explained(path):
            self._zip = zipfile.ZipFile(path)
            self.manifest = _parse(orjson.loads(self._zip.read(_MANIFEST)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def rows(self, name: str) -> Iterator[tuple[Any, ...]]:
        """A table's rows; at the end their number and checksum have been compared."""
        table = self.manifest.tables[name]
        decoders = [_DECODE[kind] for kind in table.columns.values()]
        digest, rows = hashlib.sha256(), 0
        with _explained(self.path), self._zip.open(_entry(name)) as entry:
            for line in io.BufferedReader(entry, _READ_BYTES):  # type: ignore[type-var] # as typed it wants a raw file
                digest.update(line)
                rows += 1
                yield tuple(
                    None if value is None else decode(value)
                    for decode, value in zip(decoders, orjson.loads(line), strict=True)
                )
            if (rows, digest.hexdigest()) != (table.rows, table.sha256):
                raise InvalidBackup(f"{self.path} is damaged: the table {name} is not complete.")


def sync_directory(directory: Path) -> None:
    """Have the directory's entries on disk, such as a file just renamed."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parse(document: Mapping[str, Any]) -> Manifest:
    if document["format"] != FORMAT:
        raise ValueError("another format")
    if document["format_version"] > FORMAT_VERSION:
        raise InvalidBackup(
            f"The backup was made by a newer AI-Eye ({document['aieye']}): install that version."
        )
    tables = {name: StoredTable(**table) for name, table in document["tables"].items()}
    names = [*tables, *(column for table in tables.values() for column in table.columns)]
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("not a name")
    return Manifest(
        document["schema"],
        document["database"],
        datetime.fromisoformat(document["created_at"]),
        document["aieye"],
        tables,
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """All the ways in which a file is no backup, or no longer one, are `InvalidBackup`."""
    try:
        yield
    except OSError as error:
        raise InvalidBackup(f"{path} cannot be read: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, EOFError) as error:
        raise InvalidBackup(f"{path} is not a backup of AI-Eye, or is damaged.") from error


def _entry(table: str) -> str:
    return f"tables/{table}.jsonl"


def _as_is(value: Any) -> Any:
    return value


def _to_text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _from_text(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


_ENCODE: Mapping[Kind, Callable[[Any], Any]] = {
    "plain": _as_is,
    "boolean": bool,
    "bytes": _to_text,
}
_DECODE: Mapping[Kind, Callable[[Any], Any]] = {
    "plain": _as_is,
    "boolean": bool,
    "bytes": _from_text,
}
