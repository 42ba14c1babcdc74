from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from admin_api.app import AdminApi, build_api
from admin_api.settings import AdminApiSettings
from runtime.settings import KafkaSettings
from store.tables import execution_logs
from support.admin_api_processes import Start, starting_processes
from support.api import TOKEN, client_of
from support.notifying import Notify, Running, notifying
from support.receivers import Mailbox, Webhook, mailbox, webhook
from support.relaying import Command, StartRelay, kafka_to_stop, relay_starter

UNUSED_ADDRESS = "127.0.0.1:1"
Settings = Callable[..., AdminApiSettings]


@pytest.fixture
def a_setting(database_url: str) -> Settings:
    def make(**overrides: Any) -> AdminApiSettings:
        defaults = {
            "database_url": SecretStr(database_url),
            "kafka_bootstrap_servers": UNUSED_ADDRESS,
            "candlekeep_admin_token": SecretStr(TOKEN),
        }
        return AdminApiSettings(**{**defaults, **overrides})

    return make


@pytest.fixture
async def api(a_setting: Settings) -> AsyncIterator[AdminApi]:
    """The API without its relay."""
    api = build_api(a_setting())
    yield api
    await api.close()


@pytest.fixture
async def client(api: AdminApi) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(api) as client:
        yield client


@pytest.fixture
def add_run(api: AdminApi) -> Callable[..., Awaitable[int]]:
    """Inserts a row of the run log as log-writer does it. `minutes_ago` sets its start."""

    async def add(*, minutes_ago: float = 10, status: str = "success", **overrides: Any) -> int:
        started_at = overrides.pop("started_at", datetime.now(UTC) - timedelta(minutes=minutes_ago))
        config_id = overrides.pop("config_id", 1)
        finished = status != "running"
        duration = overrides.pop("duration_seconds", 3.2) if finished else None
        row = {
            "job_name": f"collect_data_{config_id}",
            "job_type": "data_collection",
            "symbol": "BTC/USDT",
            "exchange": "binance",
            "started_at": started_at,
            "finished_at": started_at + timedelta(seconds=duration) if duration is not None else None,
            "duration_seconds": duration,
            "status": status,
            "records_collected": 6 if status == "success" else 0,
            "error_message": "no answer" if status == "failed" else None,
            "error_class": "timeout" if status == "failed" else None,
            "metadata": {"timeframes_collected": 2, "timeframes_failed": 0, "timeframes": ["1m", "1h"]},
            "run_id": uuid4(),
            "config_id": config_id,
            "trigger": "scheduled",
            "scheduled_for": started_at,
        } | overrides
        async with api.engine.begin() as connection:
            added = await connection.execute(sa.insert(execution_logs).values(row).returning(execution_logs.c.id))
            return int(added.scalar_one())

    return add


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start `python -m admin_api ARGUMENTS` with these variables set."""
    async with starting_processes() as run:
        yield run


@pytest.fixture
async def hook() -> AsyncIterator[Webhook]:
    async with webhook() as made:
        yield made


@pytest.fixture
async def mails() -> AsyncIterator[Mailbox]:
    async with mailbox() as made:
        yield made


@pytest.fixture
def notify(api: AdminApi, a_setting: Settings) -> Notify:
    def run(
        *urls: str, clock: Callable[[], datetime] | None = None, **settings: Any
    ) -> AbstractAsyncContextManager[Running]:
        values = {"notify_urls": SecretStr(" ".join(urls)), "notify_group_seconds": 0} | settings
        return notifying(api.engine, a_setting(**values), clock)

    return run


@pytest.fixture
def running(a_setting: Settings) -> StartRelay:
    """Starts an instance whose relay runs on the given Kafka."""
    return relay_starter(a_setting)


@pytest.fixture
async def stoppable_kafka(tmp_path: Path) -> AsyncIterator[tuple[KafkaSettings, Command]]:
    """A Kafka for one test. The commands `down 1` and `up 1` stop and restart its broker."""
    async with kafka_to_stop(tmp_path) as made:
        yield made
