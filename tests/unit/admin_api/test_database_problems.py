"""Which failure of Postgres is told as what, by when it happens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from admin_api.http.errors import DatabaseUnavailable, OutcomeUnknown, WriteConflict
from admin_api.writes.transactions import reading, transaction


class Engine:
    """Its connections commit, or fail to."""

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


def postgres_says(sqlstate: str | None, *, lost: bool = False) -> DBAPIError:
    """An error as SQLAlchemy wraps it; without an SQLSTATE it is the connection's."""
    original = type("FromTheDriver", (Exception,), {"sqlstate": sqlstate})()
    return DBAPIError("a statement", {}, original, connection_invalidated=lost)


FAILURES: list[tuple[Exception, Any, Any]] = [
    (postgres_says(None, lost=True), DatabaseUnavailable, OutcomeUnknown),
    (postgres_says("57P01"), DatabaseUnavailable, OutcomeUnknown),
    (TimeoutError(), DatabaseUnavailable, OutcomeUnknown),
    (ConnectionResetError(), DatabaseUnavailable, OutcomeUnknown),
    (postgres_says("40P01"), WriteConflict, WriteConflict),
    (postgres_says("40001"), WriteConflict, WriteConflict),
    (postgres_says("23505"), DBAPIError, DBAPIError),
]


@pytest.mark.parametrize(("failure", "before", "at_commit"), FAILURES, ids=lambda value: str(value)[:40])
async def test_a_failure_before_the_commit_changed_nothing_and_one_at_the_commit_may_have(
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


async def test_what_is_only_read_is_not_committed() -> None:
    engine = Engine()
    async with reading(engine):  # type: ignore[arg-type]
        pass
    assert engine.commits == 0
    async with transaction(engine):  # type: ignore[arg-type]
        pass
    assert engine.commits == 1
