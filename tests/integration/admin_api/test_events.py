"""Event streams from a real Kafka to a real connection, also over several instances."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, build_api
from admin_api.events.positions import encode
from admin_api.middleware.concurrent_requests import PLACES
from contracts.backfills import BackfillProgressed
from contracts.event import Event
from contracts.exchanges import ExchangeHealthChanged
from contracts.topics import BACKFILL_EVENTS, CONFIG_CHANGES, EXCHANGE_HEALTH, RUN_EVENTS, Topic
from contracts.vocabulary import ExchangeState
from local_stack.keeper import KeptKafka
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.process.http_server import http_server
from runtime.settings import KafkaSettings
from support.api import BASE, TOKEN, a_token, client_of
from support.kafka import create_topics, delete_topics
from support.polling import eventually
from support.run_histories import a_start

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

Served = tuple[AdminApi, str]


@asynccontextmanager
async def publishing(settings: KafkaSettings) -> AsyncIterator[EventPublisher]:
    broker = build_broker(settings, "event-test")
    await broker.start()
    yield EventPublisher(broker, settings, "event-test")
    await broker.stop()


@pytest.fixture
async def publisher(kafka_settings: KafkaSettings) -> AsyncIterator[EventPublisher]:
    async with publishing(kafka_settings) as publisher:
        yield publisher


@pytest.fixture
async def serve(a_setting: Callable[..., Any], kafka_settings: KafkaSettings) -> AsyncIterator[Callable[..., Any]]:
    """Starts an instance with its event feed and HTTP server."""
    async with AsyncExitStack() as instances:

        async def start(**overrides: Any) -> Served:
            return await instances.enter_async_context(
                _serving(build_api(a_setting(**kafka_settings.model_dump(), **overrides)))
            )

        yield start


@asynccontextmanager
async def _serving(api: AdminApi) -> AsyncIterator[Served]:
    background = api.feed.background()
    async with http_server(api.app, "127.0.0.1", 0) as port:
        running = asyncio.create_task(background.run())
        await eventually(lambda: api.feed.buffer.is_started, within=30)
        yield api, f"http://127.0.0.1:{port}"
        await background.stop()
        await running
    await api.close()


class Connection:
    """A client that parses an event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def next(self, within: float = 20) -> tuple[str, Any]:
        """The name and data of the next event. Comments and ids without data only change `last_id`."""
        name, data = "", ""
        async with asyncio.timeout(within):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if field == "id":
                    self.last_id = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data = value
                elif not line and data:
                    return name, json.loads(data)
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def connected(
    url: str, last_event_id: str = "", *, token: str = TOKEN, **query: Any
) -> AsyncIterator[Connection]:
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
        client.stream("GET", f"{BASE}/events", params=query) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        connection = Connection(response)
        yield connection


def health(state: ExchangeState) -> ExchangeHealthChanged:
    now = datetime.now(UTC)
    return ExchangeHealthChanged(
        occurred_at=now, exchange="binance", state=state, until=None, error_class=None, reason=None, collector="here:1"
    )


async def publish(publisher: EventPublisher, *events: Event, topic: Topic = RUN_EVENTS) -> list[str]:
    await publisher.publish_many(topic, events)
    return [str(event.event_id) for event in events]


async def test_a_new_client_receives_exchange_states_and_then_new_runs(
    serve: Callable[..., Any], publisher: EventPublisher
) -> None:
    await publish(publisher, health(ExchangeState.OK), health(ExchangeState.BANNED), topic=EXCHANGE_HEALTH)
    api, url = await serve()
    # An API that has not read the whole topic yet sends an earlier state first.
    read = {"topic": EXCHANGE_HEALTH.name}
    await eventually(lambda: api.registry.get_sample_value("candlekeep_event_stream_events_total", read) == 2)
    async with connected(url) as connection:
        name, data = await connection.next()
        assert (name, data["type"], data["state"]) == ("exchange", "ExchangeHealthChanged", "banned")
        (sent,) = await publish(publisher, a_start(config_id=3))
        name, data = await connection.next()
        assert (name, data["event_id"], data["config_id"]) == ("run", sent, 3)


async def test_a_page_follows_the_progress_of_backfills(serve: Callable[..., Any], publisher: EventPublisher) -> None:
    numbers = {"candles": 100, "missing_candles": 40, "waiting": 1, "requested": 1, "failed": 0, "ended": 3}
    progress = BackfillProgressed(occurred_at=datetime.now(UTC), backfill_id=3, is_whole=False, **numbers)
    _, url = await serve()
    async with connected(url, kind="backfill", exchange="binance") as connection:
        await publish(publisher, a_start(config_id=3))
        (sent,) = await publish(publisher, progress, topic=BACKFILL_EVENTS)
        name, data = await connection.next()
        assert (name, data["event_id"], data["backfill_id"]) == ("backfill", sent, 3)
        assert {name: data[name] for name in numbers} == numbers


async def test_a_client_resumes_at_another_instance_without_loss_or_repetition(
    serve: Callable[..., Any], publisher: EventPublisher
) -> None:
    (_, one), (_, other) = await serve(), await serve()
    runs = [a_start(config_id=config_id) for config_id in range(1, 41)]
    async with connected(one) as connection:
        await publish(publisher, *runs[:20])
        received = [(await connection.next())[1]["event_id"] for _ in range(20)]
    await publish(publisher, *runs[20:])
    async with connected(other, connection.last_id) as resumed:
        received += [(await resumed.next())[1]["event_id"] for _ in range(20)]
    assert sorted(received) == sorted(str(run.event_id) for run in runs)


async def test_an_instance_that_starts_later_has_the_events_of_the_last_minutes(
    serve: Callable[..., Any], publisher: EventPublisher
) -> None:
    _, one = await serve()
    async with connected(one) as connection:
        await publish(publisher, a_start(config_id=1))
        await connection.next()
        missed = await publish(publisher, a_start(config_id=2), a_start(config_id=2))
    _, later = await serve()
    async with connected(later, connection.last_id) as resumed:
        assert [(await resumed.next())[1]["event_id"] for _ in missed] == missed


async def test_tombstones_and_unreadable_messages_are_ignored(
    serve: Callable[..., Any], publisher: EventPublisher
) -> None:
    api, url = await serve()
    async with connected(url, kind="run") as connection:
        await publisher.tombstone(CONFIG_CHANGES, "7")
        await publisher.publish_raw(RUN_EVENTS, key="3", value=b"junk", headers={})
        (sent,) = await publish(publisher, a_start(config_id=3))
        assert (await connection.next())[1]["event_id"] == sent
    assert sum(api.feed.buffer.positions.values()) == 3


async def recreate(kafka: KeptKafka, settings: KafkaSettings, topic: Topic) -> None:
    await delete_topics(kafka, settings, [topic])

    async def created() -> bool:
        try:
            await create_topics(kafka, settings, [topic])
        except AssertionError:  # the broker has not deleted it yet
            return False
        return True

    await eventually(created, within=30)


async def publish_and_read(publisher: EventPublisher, *connections: Connection) -> None:
    await publish(publisher, *(a_start(config_id=3) for _ in range(5)))
    for connection in connections:
        for _ in range(5):
            await connection.next()


async def read_until_reset(connection: Connection) -> None:
    """A slow broker may accept one more event into the topic that it is deleting. It arrives before the reset."""
    kind = "run"
    while kind == "run":
        kind, _ = await connection.next(within=60)
    assert kind == "reset"


async def test_connected_and_returning_clients_receive_a_reset_after_a_topic_was_created_again(
    serve: Callable[..., Any], publisher: EventPublisher, kafka: KeptKafka, kafka_settings: KafkaSettings
) -> None:
    _, url = await serve()
    async with connected(url, kind="run") as leaving, connected(url, kind="run") as staying:
        await publish_and_read(publisher, leaving, staying)
        await recreate(kafka, kafka_settings, RUN_EVENTS)
        # The sequence numbers of an idempotent producer are valid for one topic only.
        async with publishing(kafka_settings) as later:
            await publish(later, a_start(config_id=3))
            await read_until_reset(staying)
            async with connected(url, leaving.last_id, kind="run") as returned:
                assert (await returned.next())[0] == "reset"
            (sent,) = await publish(later, a_start(config_id=3))
            received = [(await staying.next())[1]["event_id"]]
            if received != [sent]:  # the first event of the new topic, received again after the reset
                received.append((await staying.next())[1]["event_id"])
            assert received[-1] == sent
            await publish(later, *(a_start(config_id=3) for _ in range(8)))
            async with connected(url, leaving.last_id, kind="run") as returned:
                assert (await returned.next())[0] == "reset"


async def test_an_id_ahead_of_the_topics_leads_to_a_reset(serve: Callable[..., Any]) -> None:
    api, url = await serve()
    forged = encode({partition: offset + 1_000 for partition, offset in api.feed.buffer.positions.items()}, 2**50)
    async with connected(url, forged) as connection:
        assert (await connection.next())[0] == "reset"


async def test_a_returning_client_receives_a_reset_while_the_topic_that_was_created_again_is_still_empty(
    serve: Callable[..., Any], publisher: EventPublisher, kafka: KeptKafka, kafka_settings: KafkaSettings
) -> None:
    _, url = await serve()
    async with connected(url, kind="run") as leaving, connected(url, kind="run") as staying:
        await publish_and_read(publisher, leaving, staying)
        await recreate(kafka, kafka_settings, RUN_EVENTS)
        await read_until_reset(staying)
        async with connected(url, leaving.last_id, kind="run") as returned:
            assert (await returned.next())[0] == "reset"


@pytest.mark.parametrize("per_caller", [2, 50])
async def test_one_caller_cannot_use_the_places_of_others(per_caller: int, serve: Callable[..., Any]) -> None:
    api, url = await serve(max_event_streams=4, max_event_streams_per_caller=per_caller)
    async with client_of(api) as admin:
        other = (await a_token(admin, "viewer"))["token"]
    async with connected(url), connected(url):
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            refused = await client.get(f"{BASE}/events")
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:candlekeep:problem:too-many-requests")
        assert int(refused.headers["Retry-After"]) > 0
        async with connected(url, token=other):
            assert api.event_streams.count == 3
    async with connected(url):
        pass


async def test_open_streams_leave_places_for_the_other_requests_of_their_caller(serve: Callable[..., Any]) -> None:
    _, url = await serve()
    async with AsyncExitStack() as streams, httpx.AsyncClient(base_url=url, timeout=5) as caller:
        for _ in range(PLACES + 1):
            async with asyncio.timeout(20):
                await streams.enter_async_context(connected(url))
        answer = await caller.get(f"{BASE}/me", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200


async def test_a_stop_of_the_api_ends_its_streams(serve: Callable[..., Any]) -> None:
    api, url = await serve()
    async with connected(url) as connection:
        await eventually(lambda: api.event_streams.count == 1, within=10)
        await api.feed.stop()
        with pytest.raises(AssertionError, match="ended"):
            await connection.next(within=5)
    await eventually(lambda: api.event_streams.count == 0, within=10)


async def test_a_stream_ends_after_the_requested_time_and_bad_ids_are_refused(serve: Callable[..., Any]) -> None:
    _, url = await serve()
    async with connected(url, seconds=1) as connection:
        with pytest.raises(AssertionError, match="ended"):
            await connection.next(within=10)
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
        refused = await client.get(f"{BASE}/events", headers={"Last-Event-ID": "17"})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/last-event-id")
        assert (await client.get(f"{BASE}/events", params={"kind": "weather"})).status_code == 422
