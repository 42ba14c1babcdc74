"""The background task that notifies. One instance at a time is active.

Messages are sent at least once. If the process is killed between the answer of a receiver and the commit of the notice,
the next active instance sends this message again.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.metrics import Metrics
from admin_api.notifications.decisions import Notice, Policy, Step, decide
from admin_api.notifications.messages import Message, Texts
from admin_api.notifications.problems import Group, Problem
from admin_api.notifications.queries import read_problems
from admin_api.notifications.state import Changes, delete_unwanted, load, save
from admin_api.receivers.addresses import addresses_in
from admin_api.receivers.sending import NotSent, Receiver
from admin_api.receivers.settings import ProblemKind
from admin_api.settings import AdminApiSettings
from admin_api.writes.active_instance import driver_of, lockable_session, try_lock
from admin_api.writes.transactions import DATABASE_PROBLEMS
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.waiting import Backoff, wait_for_event

LOCK: Final = 7_226_501_142
"""The key of the advisory lock. The instance that holds it sends notifications."""

_IDLE_SESSION_SECONDS: Final = 600
"""How long the session of the active instance may be idle. This is longer than a round in which all receivers use their
full time. A stalled instance is replaced after ten minutes.
"""
_ROUND_LIMIT_SECONDS: Final = 540.0
_OUTAGE_ERRORS: Final = (*DATABASE_PROBLEMS, OSError)
"""Postgres is not available. `TimeoutError` is an `OSError`."""


class Pace(NamedTuple):
    """Times in seconds. The retry times apply to a receiver that did not accept a message."""

    between_rounds: float = 15.0
    first_retry: float = 30.0
    last_retry: float = 900.0


class _Line:
    """Sends the messages to one receiver, one after the other.

    After a failure, the next message waits until the back-off has ended.
    """

    def __init__(self, receiver: Receiver, metrics: Metrics, pace: Pace) -> None:
        self.receiver = receiver
        self._sent, self._failed = (metrics.notifications.labels(receiver.name, each) for each in ("sent", "failed"))
        self._backoff = Backoff(pace.first_retry, pace.last_retry)
        self._closed_until = float("-inf")

    @property
    def is_open(self) -> bool:
        return asyncio.get_running_loop().time() >= self._closed_until

    async def send(self, message: Message) -> bool:
        """Returns whether the receiver has accepted the message."""
        try:
            await self.receiver.send(message.title, message.body, message.type)
        except NotSent as error:
            delay = self._backoff.next_delay()
            self._closed_until = asyncio.get_running_loop().time() + delay
            self._failed.inc()
            log.warning(
                "A receiver did not accept a notification; it is sent again later",
                action="notification_failed",
                receiver=self.receiver.name,
                retry_after_seconds=delay,
                error=str(error),
                hint="`python -m admin_api notify-test` sends a test message",
            )
            return False
        self._backoff.reset()
        self._sent.inc()
        log.info("Sent a notification", action="notification_sent", receiver=self.receiver.name, title=message.title)
        return True


class Notifier:
    """`run` until `stop`. During an outage of Postgres it retries."""

    def __init__(
        self,
        settings: AdminApiSettings,
        metrics: Metrics,
        engine: AsyncEngine,
        *,
        pace: Pace | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings, self._metrics, self._engine = settings, metrics, engine
        self._pace, self._clock = pace or Pace(), clock
        addresses = addresses_in(settings.notify_urls.get_secret_value())
        self._lines = [
            _Line(Receiver(each, settings.notify_timeout_seconds), metrics, self._pace) for each in addresses
        ]
        self._kinds = [kind for kind in ProblemKind if settings.wants(kind)]
        self._policy = Policy(
            settings.window, settings.repeat, settings.quiet_hours, settings.notify_critical_in_quiet_hours
        )
        self._texts = Texts(settings.time_zone, settings.notify_dashboard_url)
        self._stopping = asyncio.Event()
        self._saving = asyncio.Lock()

    def background(self) -> Background:
        return Background("notifications", self.run, self.stop)

    async def run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                await self._session()
                failing = False
            except _OUTAGE_ERRORS as error:
                if not failing:
                    log.warning(
                        "Cannot look for problems to notify; this continues when Postgres answers",
                        action="notifier_waiting",
                        error=str(error) or repr(error),
                    )
                failing = True
                await wait_for_event(self._stopping, self._pace.between_rounds)
            except Exception:  # noqa: BLE001 -- an error in notifications must not stop the API
                log.exception("Failed to look for problems to notify; this is tried again", action="notifier_failed")
                await wait_for_event(self._stopping, self._pace.between_rounds)

    async def stop(self) -> None:
        self._stopping.set()

    async def _session(self) -> None:
        async with lockable_session(
            self._settings, "admin-api-notifier", idle_seconds=_IDLE_SESSION_SECONDS
        ) as connection:
            driver = await driver_of(connection)
            while not await try_lock(driver, LOCK):
                if await wait_for_event(self._stopping, self._pace.between_rounds):
                    return
            self._metrics.notifier_active.set(1)
            log.info("This instance now sends notifications", action="notifier_active", receivers=len(self._lines))
            try:
                await delete_unwanted(connection, self._receiver_ids(), self._kinds)
                await connection.commit()
                while not self._stopping.is_set():
                    async with asyncio.timeout(_ROUND_LIMIT_SECONDS):
                        await self._round(connection)
                    await wait_for_event(self._stopping, self._pace.between_rounds)
            finally:
                self._metrics.notifier_active.set(0)

    async def _round(self, connection: AsyncConnection) -> None:
        now = self._clock()
        problems = [each for each in await read_problems(self._engine, now) if each.group.cause.kind in self._kinds]
        notices = await load(connection, self._receiver_ids(), self._kinds)
        await connection.commit()
        outcomes = await asyncio.gather(
            *(self._notify(connection, line, notices[line.receiver.id], problems, now) for line in self._lines),
            return_exceptions=True,  # an error of one receiver must not interrupt the messages to another one
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _notify(
        self,
        connection: AsyncConnection,
        line: _Line,
        notices: dict[Group, Notice],
        problems: Sequence[Problem],
        now: datetime,
    ) -> None:
        """Send the messages that one receiver is to get now, until one fails."""
        steps = decide(notices, problems, now, self._policy)
        changed = [(step.group, step.waiting) for step in steps if step.waiting != notices.get(step.group)]
        await self._save(connection, line, changed)
        for message, reported in self._texts.of(steps, now):
            if self._stopping.is_set() or not line.is_open or not await line.send(message):
                return
            await self._save(connection, line, _after(reported))

    async def _save(self, connection: AsyncConnection, line: _Line, changes: Changes) -> None:
        if not changes:
            return
        async with self._saving:  # a connection can execute only one statement at a time
            await save(connection, line.receiver.id, changes)
            await connection.commit()

    def _receiver_ids(self) -> list[str]:
        return [line.receiver.id for line in self._lines]


def _after(steps: Sequence[Step]) -> Changes:
    return [(step.group, step.sent) for step in steps]
