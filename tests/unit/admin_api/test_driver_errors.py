"""No error of a database driver ends a background task: it goes on with a new session."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr

from admin_api.configs.manual_runs import ManualRunReleaser
from admin_api.http.errors import DatabaseUnavailable
from admin_api.metrics import Metrics
from admin_api.relay.relay import Relay
from admin_api.settings import AdminApiSettings
from admin_api.writes.transactions import reading, transaction
from runtime.database import DRIVER_ERRORS, is_transient
from runtime.lifecycle.periodic_tasks import PeriodicTask
from runtime.process.startup import is_outage

ERRORS: list[Exception] = [
    asyncpg.InternalClientError("got result for unknown protocol state 3"),
    asyncpg.ProtocolError("unexpected message"),
    asyncpg.OutdatedSchemaCacheError("cached statement plan is invalid"),
    asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.AdminShutdownError("terminating connection"),
    asyncpg.InsufficientPrivilegeError("permission denied"),
    sa.exc.DBAPIError("a statement", {}, Exception("from the driver")),
    sa.exc.TimeoutError("no connection is free"),
    sa.exc.PendingRollbackError("the transaction is broken"),
    sa.exc.ResourceClosedError("the connection is closed"),
    TimeoutError(),
    ConnectionResetError(),
]
CONNECTION_ERRORS = ERRORS[:4]

Task = tuple[Callable[[], Awaitable[None]], list[int]]
"""The background task, and the numbers of its attempts."""


def a_relay(error: Exception, monkeypatch: pytest.MonkeyPatch) -> Task:
    settings = AdminApiSettings(
        candlekeep_admin_token=SecretStr("x" * 24),
        database_url=SecretStr("postgresql://nowhere/x"),
        kafka_bootstrap_servers="nowhere:1",
    )
    relay, attempts = Relay(settings, Metrics(CollectorRegistry()), None), []  # type: ignore[arg-type]
    monkeypatch.setattr(relay, "_session", failing_once(error, attempts, relay.stop))
    return relay.run, attempts


def a_releaser(error: Exception, monkeypatch: pytest.MonkeyPatch) -> Task:
    releaser, attempts = ManualRunReleaser(None, timedelta(minutes=4)), []  # type: ignore[arg-type]
    monkeypatch.setattr(releaser, "release_once", failing_once(error, attempts, releaser.background().stop))
    return releaser.run, attempts


def a_periodic_task(error: Exception, _: pytest.MonkeyPatch) -> Task:
    attempts: list[int] = []
    failures = Counter("failures", "Failures.", ("task",), registry=CollectorRegistry())
    task = PeriodicTask("a task", lambda: work(), 0.01, failures)  # noqa: PLW0108 -- assigned below
    work = failing_once(error, attempts, task.stop)
    return task.run, attempts


def failing_once(error: Exception, attempts: list[int], stop: Callable[[], Awaitable[None]]) -> Any:
    """Raises the error at the first attempt, and stops the task at the second one."""

    async def attempt(*_: object) -> None:
        attempts.append(len(attempts) + 1)
        if len(attempts) == 1:
            raise error
        await stop()

    return attempt


@pytest.mark.parametrize("build", [a_relay, a_releaser, a_periodic_task])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_background_task_goes_on_after_any_error_of_a_driver(
    build: Callable[[Exception, pytest.MonkeyPatch], Task], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    if build is a_releaser and isinstance(error, OSError):
        error = DatabaseUnavailable("Postgres is not available.")  # `transaction` raises this instead
    run, attempts = build(error, monkeypatch)
    async with asyncio.timeout(10):
        await run()
    assert attempts == [1, 2]


@pytest.mark.parametrize("error", CONNECTION_ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_of_the_connection_is_an_outage_for_requests_batches_and_the_start(error: Exception) -> None:
    class Engine:
        def connect(self) -> None:
            raise error

    for opened in (transaction, reading):
        with pytest.raises(DatabaseUnavailable):
            async with opened(Engine()):  # type: ignore[arg-type]
                pass
    assert is_transient(error), "candles or runs would become dead letters"
    assert is_outage(error), "the process would not start"


def test_the_list_of_driver_errors_is_complete() -> None:
    modules = (asyncpg.exceptions, asyncpg.exceptions._base, sa.exc)
    found = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    errors = {each for each in found if issubclass(each, Exception) and not issubclass(each, Warning)}
    assert len(errors) > 200
    assert {each.__name__ for each in errors if not issubclass(each, DRIVER_ERRORS)} == set()
