"""The notices in the database. They are kept over a restart, so that no message is repeated, and each problem gets its
last message.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.notifications.decisions import Notice
from admin_api.notifications.problems import Group, Problem, cause_of
from admin_api.receivers.settings import ProblemKind
from store.tables import notifications

Changes = Sequence[tuple[Group, Notice | None]]
"""The new notice of each group. None if the notice has ended."""

_KEY: Final = ("receiver", "exchange", "cause")
_columns: Final = notifications.c


async def load(
    connection: AsyncConnection, receivers: Collection[str], kinds: Collection[ProblemKind]
) -> Mapping[str, dict[Group, Notice]]:
    """The notices by receiver. Notices that no longer match the settings are ignored."""
    found: dict[str, dict[Group, Notice]] = {receiver: {} for receiver in receivers}
    for row in await connection.execute(sa.select(notifications).where(_columns.receiver.in_(receivers))):
        cause = cause_of(row.cause)
        if cause is None or cause.kind not in kinds:
            continue
        group = Group(row.exchange, cause)
        problem = Problem(group=group, since=row.since, size=row.size, total=row.total, example=row.example)
        found[row.receiver][group] = Notice(
            problem=problem, first_seen=row.first_seen, last_seen=row.last_seen, reported_at=row.reported_at
        )
    return found


async def delete_unwanted(
    connection: AsyncConnection, receivers: Collection[str], kinds: Collection[ProblemKind]
) -> None:
    """Remove the notices of receivers and kinds that are no longer in the settings. No message is sent about their
    end.
    """
    kind = sa.func.split_part(_columns.cause, ":", 1)
    await connection.execute(
        sa.delete(notifications).where(sa.or_(_columns.receiver.not_in(receivers), kind.not_in(kinds)))
    )


async def save(connection: AsyncConnection, receiver: str, changes: Changes) -> None:
    """Write the notices in one transaction, or in the current one of the connection."""
    rows = [_row(receiver, group, notice) for group, notice in changes if notice is not None]
    if rows:
        added = insert(notifications)
        values = {column.name: column for column in added.excluded if column.name not in _KEY}
        await connection.execute(added.on_conflict_do_update(index_elements=_KEY, set_=values), rows)
    over = [(group.exchange, group.cause.text) for group, notice in changes if notice is None]
    if over:
        mine = _columns.receiver == receiver
        await connection.execute(
            sa.delete(notifications).where(mine, sa.tuple_(_columns.exchange, _columns.cause).in_(over))
        )


def _row(receiver: str, group: Group, notice: Notice) -> dict[str, object]:
    problem = notice.problem
    return {
        "receiver": receiver,
        "exchange": group.exchange,
        "cause": group.cause.text,
        "since": problem.since,
        "size": problem.size,
        "total": problem.total,
        "example": problem.example,
        "first_seen": notice.first_seen,
        "last_seen": notice.last_seen,
        "reported_at": notice.reported_at,
    }
