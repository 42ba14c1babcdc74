"""The state of each service for people, read from Kafka at most every few seconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import BaseModel, Field

from admin_api.services.groups import Group, KafkaUnavailable

SERVICES: Final = ("scheduler", "collector", "log-writer", "candle-writer", "backfiller")
"""The services. Each has one consumer group with the same name."""
INTERVAL_SECONDS: Final = 5.0

State = Literal["working", "rebalancing", "stopped", "unknown"]
ReadGroups = Callable[[Sequence[str]], Awaitable[Mapping[str, Group]]]


class ServiceState(BaseModel):
    """One service as Kafka sees it."""

    service: str = Field(examples=["collector"])
    state: State = Field(
        description="`working`: at least one instance has its partitions. `rebalancing`: instances are dividing the "
        "partitions, which takes seconds. `stopped`: no instance is connected. A process that was killed counts until "
        "its session in Kafka ends (KAFKA_SESSION_TIMEOUT_MS). `unknown`: Kafka did not say; see `detail`."
    )
    instances: int | None = Field(description="The number of connected consumers. Null if it is unknown.")
    lag: int | None = Field(
        description="Messages that the service has not handled yet, over all its topics. Null if it is unknown."
    )
    checked_at: datetime
    detail: str | None = Field(default=None, description="Why the state is unknown.")


class ServiceMonitor:
    """`states` reads from Kafka at most every `INTERVAL_SECONDS`, no matter how many requests arrive."""

    def __init__(self, read_groups: ReadGroups, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._read_groups, self._monotonic = read_groups, monotonic
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._states: list[ServiceState] = []

    async def states(self) -> list[ServiceState]:
        """One entry per service. If Kafka does not answer, their state is `unknown`."""
        async with self._lock:
            if self._monotonic() - self._read_at >= INTERVAL_SECONDS:
                self._states = await self._read()
                self._read_at = self._monotonic()
            return self._states

    async def _read(self) -> list[ServiceState]:
        now = datetime.now(UTC)
        try:
            groups = await self._read_groups(SERVICES)
        except KafkaUnavailable as error:
            detail = f"Kafka does not answer: {error}"
            return [
                ServiceState(service=name, state="unknown", instances=None, lag=None, checked_at=now, detail=detail)
                for name in SERVICES
            ]
        return [state_of(name, groups[name], now) for name in SERVICES]


def state_of(service: str, group: Group, now: datetime) -> ServiceState:
    """Pure."""
    if group.members is None:
        detail = "This Kafka cannot describe consumer groups."
        return ServiceState(
            service=service, state="unknown", instances=None, lag=group.lag, checked_at=now, detail=detail
        )
    state: State = "stopped" if group.members == 0 else "working" if group.is_stable else "rebalancing"
    return ServiceState(service=service, state=state, instances=group.members, lag=group.lag, checked_at=now)
