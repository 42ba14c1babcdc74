"""Publishes the outbox to Kafka: at least once, in the order of the changes for each key, by one instance at a time.

The order is kept for these reasons. The relay reads rows by ascending id. After Kafka's acknowledgement it deletes
exactly these rows by their ids, and never all rows up to an id. A sequence assigns ids before the commit, so a row with
a low id may be committed late. Such a row is published later and is not lost. Two rows of one config cannot commit in
the wrong order: every change of a config holds the config's row lock from before it takes an id until it commits. The
order of rows with different keys is not defined.

Only one instance works at a time, because two relays could publish two versions of a config in the wrong order, and
compaction would then keep the older version. A session-level advisory lock belongs to the connection that reads and
deletes rows, so a relay without the lock cannot continue to read. Postgres ends a session that is idle for some
seconds. So another instance soon takes over from a relay that is stalled or has lost its machine. A session is not idle
while a statement is being prepared, because that takes two requests. So the relay prepares all statements before it has
the lock. If anything fails, the producer is discarded with its unacknowledged messages. If another instance has
published some of these rows meanwhile, this instance publishes the current state of their configs again. So the newest
message about a config is never an older version.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from asyncpg.prepared_stmt import PreparedStatement
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.configs.service import reannounce
from admin_api.metrics import Metrics
from admin_api.settings import AdminApiSettings
from admin_api.writes.active_instance import driver_of, lockable_session, try_lock
from admin_api.writes.outbox import CHANNEL
from admin_api.writes.transactions import DATABASE_PROBLEMS
from contracts.topics import BACKFILL_EVENTS, CONFIG_CHANGES, TICKS, Topic
from runtime.failpoints import failpoint
from runtime.kafka.client_lifecycle import abandon_producer, start_producer
from runtime.kafka.clients import build_producer, topic_name
from runtime.kafka.topics import TopicsNotReady, verify
from runtime.logs import log
from runtime.tracing.spans import forwarding
from runtime.waiting import Backoff, wait_for_event


@asynccontextmanager
async def producing(settings: AdminApiSettings, topics: tuple[Topic, ...]) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer. At the end of the block, messages that are not acknowledged are dropped.

    This does not use FastStream's broker, because its stop flushes the producer. With an idempotent producer, a flush
    lasts as long as the outage.
    """
    await verify(settings, topics)  # a message to a missing topic could create the topic with one partition
    producer = build_producer(settings, client_id=_NAME, metadata_max_age_ms=60_000)
    try:
        await start_producer(producer)
        yield producer
    finally:
        await abandon_producer(producer)


LOCK: Final = 7_226_501_134
"""The key of the advisory lock. The instance that holds it publishes the outbox."""

_TOPICS: Final = {topic.name: topic for topic in (CONFIG_CHANGES, TICKS, BACKFILL_EVENTS)}
_BATCH = 500
_POLL_SECONDS = 1.0
_ACK_TIMEOUT_SECONDS = 10.0
_INITIAL_WAIT_SECONDS = 0.2
_MAX_WAIT_SECONDS = 3.0
_LOG_INTERVAL_SECONDS = 30.0
_OUTAGE_ERRORS = (KafkaError, TopicsNotReady, *DATABASE_PROBLEMS, OSError)
"""Kafka or Postgres is not available, or a driver failed. A new session helps. `TimeoutError` is an `OSError`."""

_SESSION_PING_SECONDS = 2.0
_IDLE_SESSION_SECONDS = 6
_NAME = "admin-api-relay"

_OLDEST_ROWS = "SELECT id, topic, key, value, headers::text AS headers, created_at FROM outbox ORDER BY id LIMIT $1"
_DELETE_ROWS = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"


class _Session(NamedTuple):
    """A connection and its prepared statements. Each execution is one request. So if the process is stalled between two
    requests, Postgres sees an idle session.
    """

    connection: asyncpg.Connection
    oldest_rows: PreparedStatement
    delete_rows: PreparedStatement


class Relay:
    """`run` until `stop`. During an outage of Kafka or Postgres it retries."""

    def __init__(self, settings: AdminApiSettings, metrics: Metrics, engine: AsyncEngine) -> None:
        self._settings = settings
        self._metrics = metrics
        self._engine = engine
        self._in_flight: dict[int, str] = {}
        """Config changes that were given to a producer and not yet deleted by this instance: their keys by row id."""
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()

    async def run(self) -> None:
        backoff, logged_at = Backoff(_INITIAL_WAIT_SECONDS, _MAX_WAIT_SECONDS), float("-inf")
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started_at = loop.time()
            try:
                await self._session()
            except _OUTAGE_ERRORS as error:
                self._metrics.relay_failures.inc()
                if loop.time() - started_at > _MAX_WAIT_SECONDS:
                    backoff.reset()  # the relay has worked in the meantime, so this is a new outage
                if loop.time() - logged_at >= _LOG_INTERVAL_SECONDS:
                    logged_at = loop.time()
                    log.warning(
                        "Cannot publish the outbox; changes wait in it until Kafka and Postgres answer",
                        action="relay_waiting",
                        error=str(error) or repr(error),
                    )
                await backoff.sleep_unless(self._stopping)

    async def stop(self) -> None:
        self._stopping.set()
        self._woken.set()

    async def _session(self) -> None:
        """Open a session with the lock. It connects to Kafka first, because an instance without Kafka must not take the
        lock from an instance that can publish.
        """
        async with (
            producing(self._settings, tuple(_TOPICS.values())) as producer,
            lockable_session(self._settings, _NAME, idle_seconds=_IDLE_SESSION_SECONDS) as lockable,
        ):
            connection = await driver_of(lockable)
            await self._republish_taken_over_rows(connection)
            session = _Session(
                connection, await connection.prepare(_OLDEST_ROWS), await connection.prepare(_DELETE_ROWS)
            )
            await connection.add_listener(CHANNEL, lambda *_: self._woken.set())
            if not await self._wait_for_lock(connection):
                return
            self._metrics.relay_active.set(1)
            log.info("This instance now publishes the outbox", action="relay_active")
            try:
                await self._send_until_stopped(session, producer)
            finally:
                self._metrics.relay_active.set(0)

    async def _wait_for_lock(self, connection: asyncpg.Connection) -> bool:
        """Wait for the lock. Returns False if the relay is stopped before it gets the lock."""
        while not self._stopping.is_set():
            if await try_lock(connection, LOCK):
                return True
            await self._sleep(_POLL_SECONDS)
        return False

    async def _send_until_stopped(self, session: _Session, producer: AIOKafkaProducer) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            if await self._send_batch(session, producer) < _BATCH:
                # If a notification is lost, the timeout limits the delay to a second.
                await wait_for_event(self._woken, _POLL_SECONDS)

    async def _send_batch(self, session: _Session, producer: AIOKafkaProducer) -> int:
        """Send the oldest rows and delete them when all are acknowledged. Returns their number.

        If one row fails, all rows are sent again. This is safe, because consumers drop versions and run ids that they
        already have.
        """
        rows = await session.oldest_rows.fetch(_BATCH)
        if not rows:
            return 0
        self._in_flight = {row["id"]: row["key"] for row in rows if row["topic"] == CONFIG_CHANGES.name}
        async with asyncio.timeout(_ACK_TIMEOUT_SECONDS):
            await _run_with_session_pings(session.connection, self._send(rows, producer))
        failpoint("admin_api.after_send")
        await session.delete_rows.fetch([row["id"] for row in rows])
        self._in_flight = {}
        now = datetime.now(UTC)
        for row in rows:
            self._metrics.relay_sent.labels(row["topic"]).inc()
            self._metrics.relay_delay_seconds.observe(max(0.0, (now - row["created_at"]).total_seconds()))
        return len(rows)

    async def _republish_taken_over_rows(self, connection: asyncpg.Connection) -> None:
        """Publish the current state of configs whose changes were in flight when this instance lost the lock.

        The next instance may have sent newer versions, and then ours may have reached Kafka after them. Rows that are
        still in the outbox need nothing: they will be published later in any case.
        """
        if not self._in_flight:
            return
        remaining = await connection.fetch("SELECT id FROM outbox WHERE id = ANY($1::bigint[])", list(self._in_flight))
        sent_by_others = self._in_flight.keys() - {row["id"] for row in remaining}
        if config_ids := {int(self._in_flight[row_id]) for row_id in sent_by_others}:
            log.warning(
                "Another instance published changes that this one was publishing; the affected configs are sent again",
                action="relay_replaced",
                rows=len(sent_by_others),
            )
            await reannounce(self._engine, config_ids, datetime.now(UTC))
        self._in_flight = {}

    async def _send(self, rows: Sequence[asyncpg.Record], producer: AIOKafkaProducer) -> None:
        """Pass all rows to the producer, one by one to keep their order per partition. Then await all of them
        together.
        """
        failpoint("admin_api.before_send")
        acknowledgements: list[asyncio.Future[Any]] = []
        with forwarding([(row["topic"], json.loads(row["headers"])) for row in rows]) as headers_of_rows:
            for row, headers in zip(rows, headers_of_rows, strict=True):
                acknowledgements.append(
                    await producer.send(
                        topic_name(self._settings, _topic(row["topic"])),
                        value=row["value"],
                        key=row["key"].encode(),
                        headers=[(name, value.encode()) for name, value in headers.items()],
                    )
                )
            for acknowledgement in asyncio.as_completed(acknowledgements):
                await acknowledgement

    async def _sleep(self, seconds: float) -> None:
        await wait_for_event(self._stopping, seconds)


async def _run_with_session_pings(connection: asyncpg.Connection, work: Coroutine[Any, Any, None]) -> None:
    """Await the work. During this time, send queries, so that Postgres does not end the session as idle.

    Raises at once if the session is lost, and the lock with it.
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=_SESSION_PING_SECONDS))[0]:
            await connection.execute("SELECT 1")
        task.result()
    finally:
        task.cancel()


def _topic(name: str) -> Topic:
    """Raises `TopicsNotReady` for an unknown topic, which only a newer release can have written.

    The row and all rows after it wait until that release runs again.
    """
    if name not in _TOPICS:
        raise TopicsNotReady(f"the outbox contains a message for the topic {name!r}, which this release does not know")
    return _TOPICS[name]
