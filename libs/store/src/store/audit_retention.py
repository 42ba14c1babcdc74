"""Removes old entries of the audit log, with an archive or without. A new entry reports the removal."""

import getpass
import gzip
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from store.tables import audit_log

MIN_DAYS: Final = 30
"""Entries that are younger than this number of days are always kept, so that no one can remove the traces of a recent
action.
"""

_BATCH_ROWS: Final = 1000

_OLD: Final = "FROM audit_log WHERE at < $1"
_EXTENT: Final = f"SELECT count(*) AS entries, min(at) AS first, max(at) AS last {_OLD}"
_ENTRIES: Final = f"SELECT to_jsonb(audit_log)::text {_OLD} ORDER BY at, id"


@dataclass(frozen=True, kw_only=True)
class Trimmed:
    """The entries that were removed. `sha256` is the hash of the archive file; None if there is no archive."""

    entries: int
    first: datetime | None
    last: datetime | None
    sha256: str | None = None


async def trim(engine: AsyncEngine, *, keep: timedelta, archive: Path | None) -> Trimmed:
    """Remove all entries older than `keep`, in one transaction with a new entry that reports it.

    `archive`: a new file (gzip, one JSON object per line), which is safely on the disk before the transaction commits.
    The snapshot of the transaction decides which entries are old, so the archive has exactly the removed ones. Raises
    `ValueError` if `keep` is shorter than `MIN_DAYS`, and `FileExistsError`.
    """
    if keep < timedelta(days=MIN_DAYS):
        raise ValueError(f"entries of the last {MIN_DAYS} days cannot be removed")
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            await connection.execute(text("SET LOCAL candlekeep.trim_audit_log = 'on'"))
            now: datetime = await connection.scalar(text("SELECT now()"))
            driver: Any = (await connection.get_raw_connection()).driver_connection
            extent = dict(await driver.fetchrow(_EXTENT, now - keep))
            if not extent["entries"]:
                return Trimmed(**extent)
            sha256 = None if archive is None else await _write(driver, now - keep, archive)
            await driver.execute(f"DELETE {_OLD}", now - keep)
            trimmed = Trimmed(**extent, sha256=sha256)
            await connection.execute(insert(audit_log).values(_entry(trimmed, archive, now)))
            return trimmed


async def _write(driver: Any, before: datetime, archive: Path) -> str:
    with _new_file(archive) as file:
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
            async for row in driver.cursor(_ENTRIES, before, prefetch=_BATCH_ROWS):
                packed.write(row[0].encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(archive.parent)
    with archive.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that only its owner can read. It is removed if the block fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _entry(trimmed: Trimmed, archive: Path | None, now: datetime) -> dict[str, Any]:
    removed = {
        "entries": trimmed.entries,
        "first": trimmed.first and trimmed.first.isoformat(),
        "last": trimmed.last and trimmed.last.isoformat(),
    }
    return {
        "at": now,
        "actor_kind": "command",
        "actor": _user(),
        "request_id": uuid4().hex,
        "action": "audit_log.trim",
        "object_type": "audit_log",
        "outcome": "done",
        "before": removed,
        "after": {"archive": archive and archive.name, "sha256": trimmed.sha256},
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return f"uid {os.getuid()}"
