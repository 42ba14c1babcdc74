"""The mapping of Postgres' failures to API errors, before and during the commit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from admin_api.http.errors import DatabaseUnavailable, OutcomeUnknown, WriteConflict
from admin_api.writes.transactions import reading, transaction


class Engine:
    """An engine whose connections can fail at the commit."""

    def __init__(self, at_commit: Exception | None = None) -> None:
        self._at_commit = at_commit
        self.commits = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["Engine"]:
        yield self

    async def commit(self) -> None:
        self.commits += 1
        if self._at_commit is not None:
            raise self._at_commit


def driver_error(sqlstate: str | None, *, lost: bool = False) -> DBAPIError:
    """A driver error in SQLAlchemy's wrapper. Without an SQLSTATE it is an error of the connection."""
    original = type("FromTheDriver", (Exception,), {"sqlstate": sqlstate})()
    return DBAPIError("a statement", {}, original, connection_invalidated=lost)


FAILURES: list[tuple[Exception, Any, Any]] = [
    (driver_error(None, lost=True), DatabaseUnavailable, OutcomeUnknown),
    (driver_error("57P01"), DatabaseUnavailable, OutcomeUnknown),
    (TimeoutError(), DatabaseUnavailable, OutcomeUnknown),
    (ConnectionResetError(), DatabaseUnavailable, OutcomeUnknown),
    (driver_error("40P01"), WriteConflict, WriteConflict),
    (driver_error("40001"), WriteConflict, WriteConflict),
    (driver_error("23505"), DBAPIError, DBAPIError),
]


@pytest.mark.parametrize(("failure", "before", "at_commit"), FAILURES, ids=lambda value: str(value)[:40])
async def test_only_a_failure_of_the_commit_has_an_unknown_outcome(
    failure: Exception, before: type[Exception], at_commit: type[Exception]
) -> None:
    async def fail(opened: Any) -> None:
        async with opened:
            raise failure

    async def commit(engine: Any) -> None:
        async with transaction(engine):
            pass

    for opened in (transaction, reading):
        with pytest.raises(before):
            await fail(opened(Engine()))  # type: ignore[arg-type]
    with pytest.raises(at_commit):
        await commit(Engine(at_commit=failure))


async def test_a_read_transaction_is_not_committed() -> None:
    engine = Engine()
    async with reading(engine):  # type: ignore[arg-type]
        pass
    assert engine.commits == 0
    async with transaction(engine):  # type: ignore[arg-type]
        pass
    assert engine.commits == 1
