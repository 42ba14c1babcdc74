"""Indexes for migrations: built and dropped while other sessions read and write the table.

An ordinary CREATE INDEX blocks writers until its transaction ends, and an ordinary DROP INDEX also blocks readers. The
concurrent forms of these statements block no one, but they cannot run inside a transaction. So each function here first
commits the work that the migration has done so far. If the upgrade stops in between, the next upgrade runs the whole
migration again. So every step before a call must be safe to repeat (`if_not_exists`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

_WAIT_FOR_TRANSACTIONS: Final = "10min"
"""How long a concurrent build waits for the transactions that are open on the table. No reader or writer waits behind
it.
"""

_INVALID: Final = sa.text(
    "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(CAST(:name AS text)) AND NOT indisvalid"
)


def create_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Build an index concurrently, unless one with this name exists. `options` are passed to `op.create_index`.

    An interrupted build leaves an invalid index behind, which Postgres keeps up to date and never uses. It is dropped
    first and built again.
    """
    with _outside_of_transactions():
        if op.get_bind().scalar(_INVALID, {"name": name}) is not None:
            op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, unique=False, if_not_exists=True, postgresql_concurrently=True, **options)


def drop_index(name: str, table: str) -> None:
    """Drop an index concurrently, if it exists."""
    with _outside_of_transactions():
        op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)


@contextmanager
def _outside_of_transactions() -> Iterator[None]:
    with op.get_context().autocommit_block():
        op.execute(f"SET lock_timeout = '{_WAIT_FOR_TRANSACTIONS}'")
        yield
        op.execute("RESET lock_timeout")
