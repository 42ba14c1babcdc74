"""Triggers of manual runs: new runs, joined runs, and the release of their ticks.

No relay, collector or log-writer runs here. The tests read released ticks from the outbox and write the run log.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi, build_api
from admin_api.configs.manual_run_queue import INITIAL_RUN_WITHIN, RESEND_AFTER
from contracts.ticks import TickDue, initial_run_id
from contracts.topics import TICKS
from runtime.kafka.codec import decode
from store.tables import configs, execution_logs, manual_runs, outbox
from support.api import client_of, created

pytestmark = pytest.mark.postgres

AddRun = Callable[..., Awaitable[int]]
Settings = Callable[..., Any]


@pytest.fixture
async def config(api: AdminApi, client: httpx.AsyncClient) -> dict[str, Any]:
    """A config that is one minute old, so no initial run is expected."""
    made = await created(client)
    async with api.engine.begin() as connection:
        await connection.execute(sa.update(configs).values(updated_at=configs.c.updated_at - timedelta(minutes=1)))
    return made


@pytest.fixture
async def running(add_run: AddRun, config: dict[str, Any]) -> int:
    """A run of that config that is in progress. Returns the id of its row."""
    return await add_run(**in_progress(config))


@pytest.fixture
async def other_instance(a_setting: Settings) -> AsyncIterator[httpx.AsyncClient]:
    made = build_api(a_setting())
    async with client_of(made) as client:
        yield client
    await made.close()


def in_progress(config: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "config_id": config["id"],
        "status": "running",
        "started_at": now - timedelta(seconds=1),
        "deadline_at": now + timedelta(seconds=119),
    }


async def trigger(client: httpx.AsyncClient, config: dict[str, Any], **headers: str) -> str:
    answer = await client.post(f"/configs/{config['id']}/trigger", headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


async def ticks(api: AdminApi) -> list[TickDue]:
    query = sa.select(outbox.c.value).where(outbox.c.topic == TICKS.name).order_by(outbox.c.id)
    async with api.engine.begin() as connection:
        values = (await connection.execute(query)).scalars().all()
    events = [decode(TICKS, value) for value in values]
    assert all(isinstance(event, TickDue) for event in events)
    return events  # type: ignore[return-value]


async def released(api: AdminApi) -> list[str]:
    return [str(tick.run_id) for tick in await ticks(api)]


async def end(api: AdminApi, row: int) -> None:
    async with api.engine.begin() as connection:
        await connection.execute(sa.update(execution_logs).values(status="success").where(execution_logs.c.id == row))


async def release(api: AdminApi, after: timedelta = timedelta()) -> None:
    await api.releaser.release_once(datetime.now(UTC) + after)


async def test_a_trigger_of_an_idle_config_is_released_at_once(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    assert await released(api) == []
    run_id = await trigger(client, config)
    assert await released(api) == [run_id]


async def test_a_trigger_does_not_wait_for_runs_of_ranges(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], add_run: AddRun
) -> None:
    for job_type in ("backfill", "repair"):
        await add_run(**in_progress(config), job_type=job_type, trigger="range")
    run_id = await trigger(client, config)
    assert await released(api) == [run_id]


async def test_triggers_during_a_run_join_one_run_that_is_released_after_it(
    api: AdminApi,
    client: httpx.AsyncClient,
    other_instance: httpx.AsyncClient,
    config: dict[str, Any],
    running: int,
) -> None:
    first = await trigger(client, config)
    assert await trigger(other_instance, config) == first
    await release(api)
    assert await released(api) == []
    await end(api, running)
    await release(api)
    await release(api)
    assert await released(api) == [first]


async def test_a_trigger_after_the_release_gets_a_new_run_although_the_first_is_not_logged(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], add_run: AddRun
) -> None:
    first = await trigger(client, config)
    second = await trigger(client, config)
    assert first != second
    assert await trigger(client, config) == second
    await release(api)
    assert await released(api) == [first]
    await add_run(config_id=config["id"], run_id=UUID(first))
    await release(api)
    assert await released(api) == [first, second]
    async with api.engine.begin() as connection:
        left = (await connection.execute(sa.select(manual_runs.c.run_id))).scalars().all()
    assert [str(run_id) for run_id in left] == [second], "the run that ended is deleted"


@pytest.mark.parametrize("busy", [True, False])
async def test_concurrent_triggers_at_two_instances_join_one_run(
    api: AdminApi,
    client: httpx.AsyncClient,
    other_instance: httpx.AsyncClient,
    config: dict[str, Any],
    add_run: AddRun,
    busy: bool,
) -> None:
    """If a run is in progress, all triggers join one run. Otherwise the first starts at once and the others join."""
    if busy:
        await add_run(**in_progress(config))
    run_ids = await asyncio.gather(*(trigger((client, other_instance)[n % 2], config) for n in range(20)))
    assert len(set(run_ids)) == (1 if busy else 2)
    assert len(await released(api)) == (0 if busy else 1)


async def test_no_trigger_gets_the_id_of_a_run_that_was_released_before_it(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], add_run: AddRun
) -> None:
    """Triggers race with releases. A released run may already have started, so no later trigger may get its id."""
    requested: list[tuple[datetime, str]] = []
    seen_at: dict[str, datetime] = {}
    done = asyncio.Event()

    async def request_triggers() -> None:
        for _ in range(15):
            at = datetime.now(UTC)
            requested.append((at, await trigger(client, config)))

    async def run_and_release() -> None:
        while not done.is_set():
            for run_id in await released(api):
                if run_id not in seen_at:
                    seen_at[run_id] = datetime.now(UTC)
                    await add_run(config_id=config["id"], run_id=UUID(run_id))
            await release(api)

    running = asyncio.create_task(run_and_release())
    await asyncio.gather(*(request_triggers() for _ in range(4)))
    done.set()
    await running
    assert len(seen_at) > 2
    assert all(at <= seen_at.get(run_id, at) for at, run_id in requested)


async def test_a_run_that_started_after_the_trigger_does_not_hold_it(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], running: int, add_run: AddRun
) -> None:
    """The collector makes it wait for that run. Otherwise a config with frequent runs would hold it forever."""
    run_id = await trigger(client, config)
    await end(api, running)
    await add_run(**in_progress(config) | {"started_at": datetime.now(UTC)})
    await release(api)
    assert await released(api) == [run_id]


async def test_a_run_past_its_deadline_holds_nothing(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], add_run: AddRun
) -> None:
    await add_run(**in_progress(config) | {"deadline_at": datetime.now(UTC) - timedelta(seconds=1)})
    assert await released(api) == []
    run_id = await trigger(client, config)
    assert await released(api) == [run_id]


async def test_a_trigger_of_a_new_config_waits_for_the_initial_run(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun
) -> None:
    config = await created(client)
    first = await trigger(client, config)
    assert await trigger(client, config) == first
    await release(api)
    assert await released(api) == []
    initial = initial_run_id(config["id"], config["version"])
    row = await add_run(**in_progress(config) | {"run_id": initial, "started_at": datetime.now(UTC)})
    await release(api, INITIAL_RUN_WITHIN * 2)
    assert await released(api) == []
    await end(api, row)
    await release(api)
    assert await released(api) == [first]


async def test_a_trigger_waits_for_the_initial_run_only_for_a_limited_time(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    first = await trigger(client, await created(client))
    await release(api, INITIAL_RUN_WITHIN * 2)
    assert await released(api) == [first]


async def test_without_a_run_log_a_trigger_is_held_for_a_limited_time(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any]
) -> None:
    first, second = await trigger(client, config), await trigger(client, config)
    await release(api, timedelta(seconds=2 * 120 - 5))
    assert await released(api) == [first]
    await release(api, timedelta(seconds=2 * 120 + 5))
    assert await released(api) == [first, second]


async def test_a_tick_without_a_logged_run_is_sent_again_before_kafka_deletes_it(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], add_run: AddRun
) -> None:
    first = await trigger(client, config)
    await release(api, RESEND_AFTER - timedelta(minutes=1))
    assert await released(api) == [first]
    await release(api, RESEND_AFTER + timedelta(minutes=1))
    assert await released(api) == [first, first]
    await add_run(config_id=config["id"], run_id=UUID(first))
    await release(api, RESEND_AFTER * 3)
    assert await released(api) == [first, first]


@pytest.mark.parametrize("verb", ["delete", "disable"])
async def test_a_held_run_of_a_deleted_or_disabled_config_is_still_released(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], running: int, verb: str
) -> None:
    run_id = await trigger(client, config)
    path = f"/configs/{config['id']}"
    answer = await (client.delete(path) if verb == "delete" else client.post(f"{path}/disable"))
    assert answer.is_success
    await end(api, running)
    await release(api)
    [tick] = await ticks(api)
    assert (str(tick.run_id), tick.config.version) == (run_id, 1)


async def test_a_joined_run_collects_the_config_as_it_is_at_the_last_trigger(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], running: int
) -> None:
    first = await trigger(client, config)
    changed = await client.put(f"/configs/{config['id']}", json={"timeframes": ["1m", "1h", "1d"]})
    assert changed.status_code == 200
    assert await trigger(client, config) == first
    await end(api, running)
    await release(api)
    [tick] = await ticks(api)
    assert (tick.config.version, tick.config.timeframes) == (2, ("1m", "1h", "1d"))
    assert tick.progress == (), "a manual run collects the newest page of each timeframe"


async def test_a_key_gets_its_stored_response_after_the_release_and_another_key_joins(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], running: int
) -> None:
    first = await trigger(client, config, **{"Idempotency-Key": "one"})
    assert await trigger(client, config, **{"Idempotency-Key": "two"}) == first
    await end(api, running)
    await release(api)
    assert await trigger(client, config, **{"Idempotency-Key": "one"}) == first
    assert await trigger(client, config) != first


async def test_a_bulk_trigger_joins_held_runs(
    api: AdminApi, client: httpx.AsyncClient, config: dict[str, Any], running: int
) -> None:
    idle = await created(client, symbol="ETH/USDT", enabled=False)
    first = await trigger(client, config)
    selected = {"select": {"ids": [idle["id"], config["id"]]}}
    answer = (await client.post("/configs/bulk/trigger", json=selected)).json()
    own, joined = (item["run_id"] for item in answer["items"])
    assert joined == first
    assert await released(api) == [own]


async def test_two_instances_release_a_run_once(
    api: AdminApi, a_setting: Settings, client: httpx.AsyncClient, config: dict[str, Any], running: int
) -> None:
    run_id = await trigger(client, config)
    await end(api, running)
    other = build_api(a_setting())
    await asyncio.gather(*(release(each) for each in (api, other) for _ in range(3)))
    await other.close()
    assert await released(api) == [run_id]
