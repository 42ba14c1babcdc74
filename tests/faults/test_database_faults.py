"""Postgres dies without a goodbye, or the way to it swallows everything."""

import asyncio
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local_stack.keeper import KeptKafka
from support.faults.proxy import proxying
from support.faults.system import operated
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122


async def test_nothing_is_lost_when_postgres_is_killed_three_times(
    kafka: KeptKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)  # a server of our own, which nobody minds losing
    async with operated(system_options(kafka, None, tmp_path), seed=SEED) as system:
        await system.create(30)
        for _ in range(3):
            await asyncio.sleep(system.random.uniform(2, 5))
            system.send("postgres", signal.SIGQUIT)  # what `pg_ctl -m immediate` sends
            await system.trigger(system.random.choice(system.config_ids))
        await system.judge()


async def test_nothing_is_lost_or_stuck_when_the_way_to_postgres_is_a_black_hole(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    server = urlsplit(database_url)
    assert server.hostname is not None
    assert server.port is not None
    async with proxying(server.hostname, server.port) as proxy:
        login = server.netloc.rpartition("@")[0]
        proxied = server._replace(netloc=f"{login}@127.0.0.1:{proxy.listens_on}").geturl()
        async with operated(system_options(kafka, proxied, tmp_path), seed=SEED, database_url=database_url) as system:
            await system.create(30)
            proxy.be("black hole")
            call = await system.trigger(system.config_ids[0])
            await asyncio.sleep(20)
            assert call.outcome == "unknown"
            proxy.be("reset")
            await asyncio.sleep(2)
            proxy.be("pass")
            await system.judge()
