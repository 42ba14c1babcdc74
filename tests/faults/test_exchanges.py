"""An exchange that refuses: it is left alone for as long as it asks, and nobody else waits for it."""

from pathlib import Path

import pytest

from local_stack.keeper import KeptKafka
from support.faults.system import operated
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122


async def test_an_exchange_that_refuses_is_not_asked_before_it_said_and_no_slot_is_lost(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as system:
        await system.mood("rate_limit", exchange="binance", count=2, retry_after=4)
        await system.create(30)
        evidence = await system.judge()
        assert [request.exchange for request in evidence.requests if request.retry_after] == ["binance"] * 2
