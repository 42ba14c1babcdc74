"""A change under way: one transaction, and what will have happened once it commits."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.writes import audit_log
from admin_api.writes.actors import Actor
from admin_api.writes.audit_log import AuditRecord
from admin_api.writes.outbox import Announcement, append
from admin_api.writes.transactions import transaction
from runtime.failpoints import failpoint
from runtime.logs import log


@dataclass(frozen=True)
class UnitOfWork:
    """What the verbs are handed. They change rows through `connection`; what they announce, record and log is gathered
    and written together at the end, so that a thousand changes cost three statements more, not three thousand.
    """

    connection: AsyncConnection
    actor: Actor
    now: datetime
    _announcements: list[Announcement] = field(default_factory=list)
    _records: list[AuditRecord] = field(default_factory=list)
    _lines: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def announce(self, *announcements: Announcement) -> None:
        """To the outbox, in this order. The config's row must be locked by us, or new."""
        self._announcements.extend(announcements)

    def record(self, record: AuditRecord) -> None:
        """To the audit log."""
        self._records.append(record)

    def log_after_commit(self, sentence: str, **context: Any) -> None:
        """A line of the log, once it is true."""
        self._lines.append((sentence, context))

    def abandon(self) -> None:
        """The rows were rolled back: nothing of it happened."""
        self._announcements.clear()
        self._records.clear()
        self._lines.clear()

    async def finish(self) -> None:
        """The last thing before the commit."""
        await append(self.connection, self._announcements)
        await audit_log.record_many(self.connection, self.actor, self.now, self._records)

    def committed(self) -> None:
        """The first thing after it."""
        if self._announcements:
            failpoint("admin_api.after_commit")
        for sentence, context in self._lines:
            log.info(sentence, **context)


@asynccontextmanager
async def unit_of_work(engine: AsyncEngine, actor: Actor, now: datetime) -> AsyncIterator[UnitOfWork]:
    """Work in a transaction of its own, committed at the end of the block."""
    async with transaction(engine) as connection:
        work = UnitOfWork(connection, actor, now)
        yield work
        await work.finish()
    work.committed()
