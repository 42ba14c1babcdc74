"""The unit of work: one transaction, with the messages, audit entries and log lines that belong to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.request_cost import RequestCost
from admin_api.writes import audit_log
from admin_api.writes.actors import Actor
from admin_api.writes.audit_log import AuditRecord
from admin_api.writes.outbox import Announcement, append
from admin_api.writes.transactions import transaction
from runtime.failpoints import failpoint
from runtime.logs import log


@dataclass(frozen=True)
class UnitOfWork:
    """The context of one write operation. Operations change rows through `connection`.

    Announcements and audit entries are collected and written together at the end. So a thousand changes need three
    more statements and not three thousand. Log lines are written after the commit.
    """

    connection: AsyncConnection
    actor: Actor
    now: datetime
    cost: RequestCost
    """The cost of the request. Operations add the runs that they start, and the number of requests that they count
    as.
    """
    _announcements: list[Announcement] = field(default_factory=list)
    _records: list[AuditRecord] = field(default_factory=list)
    _lines: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def announce(self, *announcements: Announcement) -> None:
        """Add messages to the outbox, in order. The row of the config or backfill must be new or locked
        by this transaction.
        """
        self._announcements.extend(announcements)

    def record(self, record: AuditRecord) -> None:
        """Add an entry to the audit log."""
        self._records.append(record)

    def log_after_commit(self, sentence: str, **context: Any) -> None:
        """Log `sentence` after the commit."""
        self._lines.append((sentence, context))

    def discard(self) -> None:
        """Forget everything that was collected. Call this after a rollback."""
        self._announcements.clear()
        self._records.clear()
        self._lines.clear()

    async def flush(self) -> None:
        """Write the announcements and audit entries. Call it immediately before the commit."""
        await append(self.connection, self._announcements)
        await audit_log.record_many(self.connection, self.actor, self.now, self._records)

    def after_commit(self) -> None:
        """Write the log lines. Call it immediately after the commit."""
        if self._announcements:
            failpoint("admin_api.after_commit")
        for sentence, context in self._lines:
            log.info(sentence, **context)


@asynccontextmanager
async def unit_of_work(
    engine: AsyncEngine, actor: Actor, now: datetime, cost: RequestCost
) -> AsyncIterator[UnitOfWork]:
    """A unit of work in a new transaction, committed at the end of the block."""
    async with transaction(engine) as connection:
        unit = UnitOfWork(connection, actor, now, cost)
        yield unit
        await unit.flush()
    unit.after_commit()
