from pathlib import Path

import pytest

from local_stack.api_client import client
from local_stack.keeper import KeptKafka
from local_stack.stack import StackOptions, running_stack
from runtime.settings import KafkaSettings
from support.polling import eventually
from support.shared_services import SharedServices

pytestmark = [pytest.mark.system, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(300)]

CONFIG = {"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m"], "interval_minutes": 10}


@pytest.fixture
def options(tmp_path: Path, kafka: KeptKafka, kafka_settings: KafkaSettings, database_url: str) -> StackOptions:
    return StackOptions(
        folder=tmp_path,
        kafka=kafka.existing,
        topic_prefix=kafka_settings.kafka_topic_prefix,
        database_url=database_url,
        database_logins=SharedServices.of_this_run().database_logins(),
        prepare=False,
    )


async def test_a_run_requested_without_a_collector_ends_after_its_restart(options: StackOptions) -> None:
    async with running_stack(options) as stack, client(stack.api_url, stack.token) as api:

        async def ended(run_id: str | None = None) -> bool:
            rows = (await api.get("/execution-logs")).json()
            return any(row["finished_at"] for row in rows if run_id in {row["run_id"], None})

        config_id = (await api.post("/configs", json=CONFIG)).raise_for_status().json()["id"]
        await eventually(ended, within=30, every=0.1)
        await stack.processes["collector"].halt()
        run_id = (await api.post(f"/configs/{config_id}/trigger")).raise_for_status().json()["run_id"]
        await stack.processes["collector"].start()
        # It succeeds or is skipped, because the killed run may be repeated at the same time.
        await eventually(lambda: ended(run_id), within=60, every=0.1)
