from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.app import build_worker
from backfiller.settings import BackfillerSettings
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.backfilling.current_minute import CURRENT_MINUTE
from support.writers import an_engine, worker_settings


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with an_engine(database_url) as engine:
        yield engine


@pytest.fixture(autouse=True)
def current_minute() -> None:
    CURRENT_MINUTE.renew()


@pytest.fixture
def a_worker(kafka_settings: KafkaSettings, login_url: Callable[[str], str]) -> Callable[..., Worker]:
    """A worker with its own database role and short pauses."""

    def build(**changes: Any) -> Worker:
        fast = {"turn_seconds": 0.05, "retry_initial_wait_seconds": 0.2, "ledger_wait_seconds": 0.5}
        url = login_url("backfiller")
        return build_worker(worker_settings(BackfillerSettings, kafka_settings, url, **(fast | changes)))

    return build
