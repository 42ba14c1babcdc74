"""Charts of series with levels always equal the join of the candles, after any history. See `support.chart_model`."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.candles.chart import ChartQuery, chart_of
from candle_writer.levels import fill_levels, fill_step
from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.candles import CandlesCollected
from contracts.coverage import to_instant
from runtime.database import driver_transaction
from store.migrate import upgrade
from support.chart_model import (
    SERIES,
    Candles,
    SeriesOfModel,
    Stored,
    a_random_candle,
    a_random_range,
    joined,
)
from support.databases import connected
from support.depth import tries
from support.fetches import a_fetch
from support.locks import WAITING_LOCKS
from support.polling import eventually
from support.writers import an_engine

pytestmark = pytest.mark.postgres

BTC = SERIES[0]
INSERT = """
INSERT INTO candles (series_id, open_time, open, high, low, close, volume, fetched_at)
SELECT $1, *, '2020-01-01Z' FROM
  unnest($2::timestamptz[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[])
"""
EXTENT = """
UPDATE series SET candle_count = stored.candles, first_open = stored.first, last_open = stored.last
FROM (
  SELECT series_id, count(*) AS candles, min(open_time) AS first, max(open_time) AS last FROM candles GROUP BY 1
) AS stored
WHERE series_id = id
"""
WAITS_FOR_A_ROW = f"{WAITING_LOCKS} AND locktype = 'transactionid'"
LEVEL_ROWS = "SELECT count(*) FROM candle_levels"


class History:
    """Changes the candles of a database and of the model in the same way."""

    def __init__(self, engine: AsyncEngine, connection: asyncpg.Connection, rng: random.Random) -> None:
        self.engine, self.connection, self.rng = engine, connection, rng
        self.candles: dict[SeriesOfModel, Candles] = {series: {} for series in SERIES}
        self.events: list[tuple[SeriesOfModel, int, CandlesCollected]] = []
        self.ids: dict[SeriesOfModel, int] = {}

    async def begin(self) -> None:
        """Each series has a candle."""
        for series in SERIES:
            await self.deliver(self.collect(series, 1))
        rows = await self.connection.fetch("SELECT id, symbol FROM series")
        by_symbol = {row["symbol"]: row["id"] for row in rows}
        self.ids = {series: by_symbol[series.symbol] for series in SERIES}

    # ---- candle-writer ----

    def collect(self, series: SeriesOfModel, longest: int = 400, first: int | None = None) -> CandlesCollected:
        """A fetch of neighbouring candles, some of them without trades, anywhere: new, late or revised."""
        first = self.rng.randrange(series.periods) if first is None else first
        opens = [series.opens(n) for n in range(first, min(series.periods, first + self.rng.randint(1, longest)))]
        rows = [a_random_candle(self.rng, each) for each in opens if each == opens[0] or self.rng.random() < 0.9]
        second = len(self.events)
        event = a_fetch(*rows, second=second, symbol=series.symbol, timeframe=series.timeframe)
        self.events.append((series, second, event))
        return event

    async def deliver(self, *events: CandlesCollected) -> None:
        await write_candles(self.engine, SeriesIds(self.engine), events)
        for series, second, event in self.events:
            if event in events:
                for candle in event.rows:
                    stored = self.candles[series].get(candle.open_ms)
                    if stored is None or stored.second <= second:
                        self.candles[series][candle.open_ms] = Stored(candle, second)

    async def collect_some(self) -> None:
        await self.deliver(*(self.collect(self.rng.choice(SERIES)) for _ in range(self.rng.randint(1, 3))))

    async def replay(self) -> None:
        await self.deliver(self.rng.choice(self.events)[2])

    # ---- changes by hand ----

    def some(self, *of: SeriesOfModel) -> tuple[SeriesOfModel, list[int]]:
        """Some stored candles of a series. None if all of its candles were deleted."""
        series = self.rng.choice(of or SERIES)
        opens = sorted(self.candles[series])
        first = self.rng.randrange(max(1, len(opens)))
        return series, opens[first : first + self.rng.randint(1, 300)]

    async def revise_by_hand(self, *of: SeriesOfModel) -> None:
        series, opens = self.some(*of)
        await self.connection.execute(
            "UPDATE candles SET close = close + 1, high = high + 2 WHERE series_id = $1 AND open_time = ANY($2)",
            self.ids[series],
            [to_instant(each) for each in opens],
        )
        for each in opens:
            candle, second = self.candles[series][each]
            revised = candle._replace(close=candle.close + 1, high=candle.high + 2)
            self.candles[series][each] = Stored(revised, second)

    async def delete_by_hand(self) -> None:
        series, opens = self.some()
        await self.connection.execute(
            "DELETE FROM candles WHERE series_id = $1 AND open_time = ANY($2)",
            self.ids[series],
            [to_instant(each) for each in opens],
        )
        for each in opens:
            del self.candles[series][each]

    def free(self, series: SeriesOfModel) -> list[int]:
        return [each for each in map(series.opens, range(series.periods)) if each not in self.candles[series]]

    async def insert_by_hand(self, *of: SeriesOfModel, most: int = 50) -> None:
        series = self.rng.choice(of or SERIES)
        free = self.free(series)
        rows = [a_random_candle(self.rng, each) for each in self.rng.sample(free, min(len(free), most))]
        columns = [[row[n] for row in rows] for n in range(1, 6)]
        await self.connection.execute(INSERT, self.ids[series], [to_instant(row.open_ms) for row in rows], *columns)
        self.candles[series] |= {row.open_ms: Stored(row, -1) for row in rows}

    async def move_by_hand(self) -> None:
        """To another time, or to another series."""
        series, opens = self.some()
        target = self.rng.choice([series, *(each for each in SERIES if each.timeframe == series.timeframe)])
        free = self.free(target)
        if not opens or not free:
            return
        old, new = opens[0], self.rng.choice(free)
        await self.connection.execute(
            "UPDATE candles SET series_id = $3, open_time = $4 WHERE series_id = $1 AND open_time = $2",
            *(self.ids[series], to_instant(old), self.ids[target], to_instant(new)),
        )
        candle, second = self.candles[series].pop(old)
        self.candles[target][new] = Stored(candle._replace(open_ms=new), second)

    # ---- levels ----

    async def fill_some_steps(self) -> None:
        series, candles = self.rng.choice((BTC, BTC, *SERIES)), self.rng.choice((1, 1, 500, 3000))
        for _ in range(self.rng.randint(1, 4)):
            async with driver_transaction(self.engine) as connection:
                await fill_step(connection, self.ids[series], candles)

    async def stop_in_the_middle_of_a_step(self) -> None:
        async with self.engine.connect() as pooled:
            driver: Any = (await pooled.get_raw_connection()).driver_connection
            transaction = driver.transaction()
            await transaction.start()
            await fill_step(driver, self.ids[self.rng.choice(SERIES)], 3000)
            await transaction.rollback()

    async def fill_all(self) -> None:
        await fill_levels(self.engine, lambda _: None, self.rng.choice((0, 500)))

    async def forget_levels(self) -> None:
        """As after a load without triggers."""
        await self.connection.execute("DELETE FROM series_levels")

    async def several_at_once(self) -> None:
        """Two candle-writers fill levels while a batch is written and somebody changes candles of another series."""
        event = self.collect(BTC)
        others = [series for series in SERIES if series is not BTC]
        filling = [fill_levels(self.engine, lambda _: None, 0) for _ in range(2)]
        await asyncio.gather(self.deliver(event), self.insert_by_hand(*others), *filling)

    # ---- charts ----

    async def check(self, series: SeriesOfModel, **wanted: Any) -> None:
        if not self.candles[series]:
            return
        chart = await chart_of(self.engine, ChartQuery(**series.name, **wanted))
        if chart.start is not None:
            assert chart.points == joined(series, self.candles[series], chart), (series, wanted)

    async def check_some(self) -> None:
        for series in (BTC, *self.rng.sample(SERIES, 2)):
            wanted = a_random_range(self.rng, series)
            if wanted["start"] is None or wanted["end"] is None or wanted["start"] < wanted["end"]:
                await self.check(series, **wanted, points=self.rng.choice((2, 5, 20, 60, 100, 300, 2000)))


@pytest.fixture
async def history(engine: AsyncEngine, database_url: str, request: pytest.FixtureRequest) -> Any:
    async with connected(database_url) as connection:
        found = History(engine, connection, random.Random(getattr(request, "param", 0)))
        await found.begin()
        yield found


@pytest.mark.deep
@pytest.mark.parametrize("history", range(tries(2, deep=30)), indirect=True)
async def test_charts_equal_the_join_of_all_candles_after_each_step(history: History) -> None:
    steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
        (6, history.collect_some),
        (2, history.replay),
        (2, history.revise_by_hand),
        (2, history.delete_by_hand),
        (2, history.insert_by_hand),
        (1, history.move_by_hand),
        (6, history.fill_some_steps),
        (1, history.stop_in_the_middle_of_a_step),
        (1, history.fill_all),
        (1, history.forget_levels),
        (1, history.several_at_once),
    ]
    weights, actions = zip(*steps, strict=True)
    most_rows = 0
    for _ in range(60):
        await history.rng.choices(actions, weights)[0]()
        await history.check_some()
        most_rows = max(most_rows, await history.connection.fetchval(LEVEL_ROWS))
    assert most_rows > 100
    await history.connection.execute("TRUNCATE candles")
    assert await history.connection.fetchval(LEVEL_ROWS) == 0


async def store_all(history: History, series: SeriesOfModel) -> None:
    """All possible candles of a series."""
    await history.insert_by_hand(series, most=series.periods)
    await history.connection.execute(EXTENT)


async def fill(history: History) -> None:
    await fill_levels(history.engine, lambda _: None, 0)


async def test_charts_read_levels_and_not_all_candles(history: History) -> None:
    await store_all(history, BTC)
    await fill(history)
    await history.connection.execute("UPDATE candle_levels SET high = 1e9")
    chart = await chart_of(history.engine, ChartQuery(**BTC.name, points=10))
    assert [point["high"] == 1e9 for point in chart.points] == [True] * 7 + [False], "the newest half day has no level"
    await history.connection.execute(
        "UPDATE candles SET close = 1 WHERE series_id = $1 AND open_time = $2",
        *(history.ids[BTC], to_instant(BTC.opens(3 * 720))),
    )
    stale = await chart_of(history.engine, ChartQuery(**BTC.name, points=10))
    assert [point["high"] == 1e9 for point in stale.points] == [True] * 3 + [False] + [True] * 3 + [False]


async def test_levels_wait_for_a_change_by_hand_that_is_not_committed(history: History, database_url: str) -> None:
    await store_all(history, BTC)
    change = history.connection.transaction()
    await change.start()
    await history.revise_by_hand(BTC)
    filling = asyncio.create_task(fill(history))
    async with connected(database_url) as look:
        await eventually(lambda: look.fetchval(WAITS_FOR_A_ROW), within=60)
    await change.commit()
    await filling
    for series in SERIES:
        await history.check(series, points=50)


async def test_the_database_roles_have_the_rights(history: History, login_url: Callable[[str], str]) -> None:
    await store_all(history, BTC)
    async with an_engine(login_url("candle-writer")) as writing, an_engine(login_url("admin-api")) as reading:
        for _ in range(2):
            await fill_levels(writing, lambda _: None, 0)
            history.engine = writing
            await history.deliver(history.collect(BTC, first=0))
            assert await history.connection.fetchval("SELECT count(*) FROM stale_levels") > 0
            history.engine = reading
            await history.check(BTC, points=10)


async def test_candles_of_the_release_before_get_levels_after_the_upgrade(
    engine: AsyncEngine, database_url: str
) -> None:
    async with connected(database_url) as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await upgrade(database_url, "0019")
        history = History(engine, connection, random.Random(0))
        await history.begin()
        await store_all(history, BTC)
        await upgrade(database_url)
        assert await connection.fetchval(LEVEL_ROWS) == 0
        await fill(history)
        assert await connection.fetchval(LEVEL_ROWS) > 7 * (48 + 12 + 1) - 1
        await history.check(BTC, points=10)
