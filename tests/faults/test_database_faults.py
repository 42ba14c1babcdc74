"""Postgres is stopped at once, its disk is full, or the connection to it is a black hole."""

import asyncio
import contextlib
import signal
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local_stack.keeper import KeptKafka
from support.faults.forcing import until_forced
from support.faults.full_disk import limited_disk
from support.faults.proxy import proxying
from support.faults.replay import lags, wait_until_caught_up
from support.faults.system import RunningSystem, running_system
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122


async def test_nothing_is_lost_when_postgres_is_killed_three_times(
    kafka: KeptKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)  # the test's own server, which it may kill
    async with running_system(system_options(kafka, None, tmp_path), seed=SEED) as system:
        await system.create(30)
        for _ in range(3):
            await asyncio.sleep(system.random.uniform(2, 5))
            await kill_postgres(system)
        await system.judge()


async def kill_postgres(system: RunningSystem) -> None:
    """Kill Postgres during a request. Returns when it runs again, so that the next kill finds a running server."""
    postgres = system.stack.processes["postgres"]
    killed = postgres.running.child
    system.send_signal("postgres", signal.SIGQUIT)  # the signal of `pg_ctl -m immediate`
    await system.trigger(system.random.choice(system.config_ids))
    await eventually(lambda: postgres.is_running and postgres.running.child is not killed, within=60)


async def test_nothing_is_lost_or_stuck_when_the_connection_to_postgres_is_a_black_hole(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    server = urlsplit(database_url)
    assert server.hostname is not None
    assert server.port is not None
    async with proxying(server.hostname, server.port) as proxy:
        login = server.netloc.rpartition("@")[0]
        proxied = server._replace(netloc=f"{login}@127.0.0.1:{proxy.listens_on}").geturl()
        async with running_system(
            system_options(kafka, proxied, tmp_path), seed=SEED, database_url=database_url
        ) as system:
            await system.create(30)
            proxy.set_mode("black hole")
            call = await system.trigger(system.config_ids[0])
            await asyncio.sleep(20)
            assert call.outcome == "unknown"
            proxy.set_mode("reset")
            await asyncio.sleep(2)
            proxy.set_mode("pass")
            await system.judge()


async def test_nothing_is_lost_while_the_disk_of_postgres_is_full(
    kafka: KeptKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with limited_disk(megabytes=256) as disk:
        options = replace(system_options(kafka, None, tmp_path), postgres_data=disk.folder / "data")
        async with running_system(options, seed=SEED) as system:
            await system.create(15)
            await system.wait_until_recovered(within=60)
            system.record_fault("disk full", "postgres")

            async def fill_disk() -> bool:
                disk.fill()
                for config_id in system.config_ids:
                    await system.trigger(config_id)  # a thousand candles each: Postgres needs new space for them
                with contextlib.suppress(AssertionError):
                    return await eventually(lambda: candles_cannot_be_written(system), within=15, every=0.5)
                return False

            await until_forced("Postgres has no space for candles", fill_disk)
            await asyncio.sleep(15)  # the fault lasts for a while
            assert await lags(system, "candle-writer"), "candle-writer committed candles that it could not write"
            disk.free()
            system.record_fault("disk freed", "postgres")
            await wait_until_caught_up(system, within=60)
            await system.judge()


async def candles_cannot_be_written(system: RunningSystem) -> bool:
    log = (system.stack.folder.logs / "postgres.log").read_text(errors="replace")
    assert "No space left on device" in log, "Postgres has not missed any space"
    assert await lags(system, "candle-writer"), "candle-writer has written all candles"
    return True
