"""Sends the outbox to Kafka: at least once, per key in the order of the changes, by one instance at a time.

Why order holds. Rows are read by ascending id and deleted by id after Kafka's acknowledgement, never "up to" an id, so
a row that commits late (a sequence hands out ids before commits) is only sent later, not lost. Two rows of the same
config cannot commit against their ids: every change of a config holds its row lock while it takes an id and until it
commits. Rows of different keys have no order to keep.

Why one at a time. Two senders could interleave two versions of a config, and compaction would keep the older one. A
session-level advisory lock lives on the same connection that reads and deletes rows: who lost the lock cannot go on
reading. Postgres ends a session that says nothing for some seconds, so a sender that stands still, or whose machine
vanished, is replaced soon. What it has handed to its producer is dropped with the producer when anything fails; what
another has sent in the meantime it announces once more, as it is then, so nothing older is the last word on a config.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from admin_api.configs.service import reannounce
from admin_api.metrics import Metrics
from admin_api.relay.producer import producing
from admin_api.settings import AdminApiSettings
from admin_api.writes.outbox import CHANNEL
from admin_api.writes.transactions import DATABASE_PROBLEMS
from contracts.topics import CONFIG_CHANGES, TICKS, Topic
from runtime.database import async_url
from runtime.failpoints import failpoint
from runtime.kafka.clients import topic_name
from runtime.kafka.topics import TopicsNotReady
from runtime.logs import log
from runtime.waiting import Backoff, wait_for_event

LOCK: Final = 7_226_501_134
"""Whoever holds this advisory lock is the sender."""

_TOPICS: Final = {topic.name: topic for topic in (CONFIG_CHANGES, TICKS)}
_BATCH = 500
_POLL_SECONDS = 1.0
_ACK_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 3.0
_REMIND_SECONDS = 30.0
_TROUBLE = (
    KafkaError,
    TopicsNotReady,
    *DATABASE_PROBLEMS,
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    DBAPIError,
)
"""Kafka or Postgres is away. TimeoutError is an OSError."""

_AWAKE_SECONDS = 2.0
_SERVER_SETTINGS = {
    "application_name": "admin-api-relay",
    # A sender whose machine vanished leaves its lock behind until Postgres notices: after 5 s instead of 2 h.
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
_END_WHEN_SILENT = (
    "SELECT set_config(name, '6000', false) FROM pg_settings"
    " WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout')"
)
"""In milliseconds. Keep-alives are answered by the kernel of a machine whose process stands still, so silence counts
too. Asked of pg_settings because Postgres 13 does not know the first one.
"""


class Relay:
    """`run` until `stop`. Survives every outage of Kafka and Postgres."""

    def __init__(self, settings: AdminApiSettings, metrics: Metrics, engine: AsyncEngine) -> None:
        self._settings = settings
        self._metrics = metrics
        self._engine = engine
        self._in_hand: dict[int, str] = {}
        """Rows that were handed to a producer and not deleted by us: by id the config's, or the lane's, key."""
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        backoff, reminded_at = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS), float("-inf")
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            try:
                await self._session()
            except _TROUBLE as error:
                self._metrics.relay_failures.inc()
                if loop.time() - began > _LONGEST_PAUSE_SECONDS:
                    backoff.reset()  # it worked for a while: this is a new outage
                if loop.time() - reminded_at >= _REMIND_SECONDS:
                    reminded_at = loop.time()
                    log.warning(
                        "Changes wait in the outbox until Kafka and Postgres answer",
                        action="relay_waiting",
                        error=str(error) or repr(error),
                    )
                await backoff.sleep_unless(self._stopping)

    async def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    async def _session(self) -> None:
        """Kafka first: an instance that cannot reach it must not hold the lock of one that can."""
        async with producing(self._settings, tuple(_TOPICS.values())) as producer, self._connection() as connection:
            await self._announce_what_others_sent(connection)
            if not await self._stand_by(connection):
                return
            self._metrics.relay_active.set(1)
            log.info("This instance sends the outbox", action="relay_active")
            try:
                await self._send_until_stopped(connection, producer)
            finally:
                self._metrics.relay_active.set(0)

    async def _stand_by(self, connection: asyncpg.Connection) -> bool:
        """Wait for the lock; False when told to stop instead."""
        while not self._stopping.is_set():
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                return True
            await self._sleep(_POLL_SECONDS)
        return False

    async def _send_until_stopped(self, connection: asyncpg.Connection, producer: AIOKafkaProducer) -> None:
        await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
        while not self._stopping.is_set():
            self._wake.clear()
            if await self._send_batch(connection, producer) < _BATCH:
                # A notification is lost with its connection, and a stuck one costs a second, not a change.
                await wait_for_event(self._wake, _POLL_SECONDS)

    async def _send_batch(self, connection: asyncpg.Connection, producer: AIOKafkaProducer) -> int:
        """Send the oldest rows and delete them once all are acknowledged. Returns how many.

        When one fails all are sent again: consumers drop versions that they have seen, and a run id that they know.
        """
        rows = await connection.fetch(
            "SELECT id, topic, key, value, headers::text AS headers, created_at FROM outbox ORDER BY id LIMIT $1",
            _BATCH,
        )
        if not rows:
            return 0
        self._in_hand = {row["id"]: row["key"] for row in rows if row["topic"] == CONFIG_CHANGES.name}
        async with asyncio.timeout(_ACK_SECONDS):
            await _awake(connection, self._send(rows, producer))
        failpoint("admin_api.after_send")
        await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", [row["id"] for row in rows])
        self._in_hand = {}
        now = datetime.now(UTC)
        for row in rows:
            self._metrics.relay_sent.labels(row["topic"]).inc()
            self._metrics.relay_delay_seconds.observe(max(0.0, (now - row["created_at"]).total_seconds()))
        return len(rows)

    async def _announce_what_others_sent(self, connection: asyncpg.Connection) -> None:
        """What we handed over before we lost the lock may have reached Kafka after newer versions that our successor
        sent. Rows that are still there come later anyway, whoever sends them.
        """
        if not self._in_hand:
            return
        left = await connection.fetch("SELECT id FROM outbox WHERE id = ANY($1::bigint[])", list(self._in_hand))
        sent = self._in_hand.keys() - {row["id"] for row in left}
        if config_ids := {int(self._in_hand[each]) for each in sent}:
            log.warning("Another instance took over what this one was sending", action="relay_replaced", rows=len(sent))
            await reannounce(self._engine, config_ids, datetime.now(UTC))
        self._in_hand = {}

    async def _send(self, rows: Sequence[asyncpg.Record], producer: AIOKafkaProducer) -> None:
        """Pipelined: handed over one after the other, which keeps their order per partition, then awaited together."""
        failpoint("admin_api.before_send")
        acknowledgements: list[asyncio.Future[Any]] = []
        for row in rows:
            acknowledgements.append(  # noqa: PERF401 -- an order of side effects, not a list
                await producer.send(
                    topic_name(self._settings, _topic(row["topic"])),
                    value=row["value"],
                    key=row["key"].encode(),
                    headers=[(name, value.encode()) for name, value in json.loads(row["headers"]).items()],
                )
            )
        for acknowledgement in asyncio.as_completed(acknowledgements):
            await acknowledgement

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of its own: the lock and the notifications belong to a session, not to a pool."""
        timeout = self._settings.database_command_timeout_seconds
        engine = create_async_engine(
            async_url(self._settings.database_url.get_secret_value()),
            poolclass=NullPool,
            connect_args={"timeout": 10.0, "command_timeout": timeout, "server_settings": _SERVER_SETTINGS},
        )
        try:
            async with engine.connect() as connection:
                driver: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
                await driver.execute(_END_WHEN_SILENT)
                yield driver
        finally:
            await engine.dispose()

    async def _sleep(self, seconds: float) -> None:
        await wait_for_event(self._stopping, seconds)


async def _awake(connection: asyncpg.Connection, work: Coroutine[Any, Any, None]) -> None:
    """Wait for the work and let Postgres hear from us meanwhile. Raises at once when the session, and the lock with
    it, is gone.
    """
    working = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([working], timeout=_AWAKE_SECONDS))[0]:
            await connection.execute("SELECT 1")
        working.result()
    finally:
        working.cancel()


def _topic(name: str) -> Topic:
    """An unknown one was written by a newer release: it and what is behind it wait for that release to come back."""
    if name not in _TOPICS:
        raise TopicsNotReady(f"the outbox holds an announcement for {name!r}, a topic that this release does not know")
    return _TOPICS[name]
