from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.coverage import AbsenceClass
from log_writer.app import build_worker
from log_writer.open_holes import CLASSES, count_open_holes
from log_writer.settings import LogWriterSettings
from runtime.settings import KafkaSettings
from support.fetches import NOON
from support.polling import eventually
from support.writers import measured, query, running, worker_settings

pytestmark = pytest.mark.postgres

HOUR = timedelta(hours=1)


async def add_series(database_url: str, exchange: str, *verified: tuple[float, float]) -> int:
    """A series with these verified hours after noon. Returns its id."""
    [(series,)] = await query(
        database_url,
        "INSERT INTO series (exchange, symbol, timeframe) VALUES ($1, $2, '1m') RETURNING id",
        *(exchange, str(uuid4())),
    )
    times = [[NOON + pair[side] * HOUR for pair in verified] for side in (0, 1)]
    await query(
        database_url,
        "INSERT INTO coverage SELECT $1, range_agg(tstzrange(one, two)), now() FROM unnest($2::timestamptz[], "
        "$3::timestamptz[]) AS spans (one, two) HAVING count(*) > 0",
        *(series, *times),
    )
    return int(series)


async def add_absence(database_url: str, series: int, start: int, end: int, kind: AbsenceClass) -> None:
    await query(
        database_url,
        "INSERT INTO absences VALUES ($1, $2, $3, $4, 'deadline', $2, $2, $5)",
        *(series, NOON + start * HOUR, NOON + end * HOUR, kind.value, uuid4()),
    )


async def test_open_holes_are_counted_by_exchange_and_by_the_class_of_their_newest_absence(
    engine: AsyncEngine, database_url: str
) -> None:
    first = await add_series(database_url, "kraken", (0, 1), (2, 3), (5, 6), (8, 9))
    for start, end, kind in (
        (-3, 0, "beyond_horizon"),
        (1, 2, "beyond_horizon"),
        (5, 6, "unread"),
        (6, 7, "unread"),
        (7, 8, "rejected"),
    ):
        await add_absence(database_url, first, start, end, AbsenceClass(kind))
    await query(
        database_url,
        "UPDATE absences SET absence_class = 'lost' WHERE absence_class = 'beyond_horizon' AND starts_at = $1",
        NOON + HOUR,
    )  # the name in earlier releases
    await add_series(database_url, "kraken", (0, 1), (3, 4))
    whole = await add_series(database_url, "okx", (0, 9))
    await add_absence(database_url, whole, 9, 12, AbsenceClass.UNREAD)
    await add_series(database_url, "bybit")
    none = dict.fromkeys(CLASSES, 0)
    expected = {"kraken": none | {"beyond_horizon": 1, "rejected": 1, "unknown": 2}, "okx": none}
    assert await count_open_holes(engine) == {
        (exchange, kind): holes for exchange, by_class in expected.items() for kind, holes in by_class.items()
    }


async def test_silence_in_the_newest_ten_minutes_does_not_count(engine: AsyncEngine, database_url: str) -> None:
    """A quiet market nearly always has some, so an alert on its changes would fire without a reason."""
    quiet = await add_series(database_url, "okx", (0, 1), (1.01, 1.02), (1.1, 1.15))
    await add_absence(database_url, quiet, -2, -1, AbsenceClass.UNREAD)
    await add_series(database_url, "okx", (0, 1), (1.01, 1.02), (1.1, 1.15))
    assert sum((await count_open_holes(engine)).values()) == 0
    await add_series(database_url, "okx", (0, 1), (1.1, 1.3), (1.31, 1.32))
    assert (await count_open_holes(engine))["okx", "unknown"] == 1


@pytest.mark.kafka
async def test_the_gauge_shows_the_open_holes(kafka_settings: KafkaSettings, database_url: str) -> None:
    await add_series(database_url, "kraken", (0, 1), (3, 4))
    settings = worker_settings(LogWriterSettings, kafka_settings, database_url)
    async with running(build_worker(settings)) as worker:
        labels = {"exchange": "kraken", "absence_class": "unknown"}
        await eventually(lambda: measured(worker, "candlekeep_open_holes", **labels) == 1)
        assert measured(worker, "candlekeep_open_holes", **labels | {"absence_class": "unread"}) == 0
