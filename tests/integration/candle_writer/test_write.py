import asyncio
import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.series import SeriesIds
from candle_writer.write import Outcome, write_candles
from runtime.database import is_transient
from support.fetches import NOON_MS, a_candle, a_fetch, a_fetch_beyond_the_contract
from support.writers import query

pytestmark = pytest.mark.postgres

MINUTE = timedelta(minutes=1)
STORED = """
SELECT exchange, symbol, timeframe, open_time, open, high, low, close, volume, fetched_at FROM ohlcv ORDER BY 1, 2, 3, 4
"""

MISCOUNTED = """
SELECT series.id FROM series LEFT JOIN candles ON candles.series_id = series.id
GROUP BY series.id
HAVING (candle_count, first_open, last_open)
  IS DISTINCT FROM (count(candles.series_id), min(open_time), max(open_time))
"""


async def test_a_candle_is_stored_as_it_was_fetched(engine: AsyncEngine, database_url: str) -> None:
    fetch = a_fetch(a_candle(0, close=100.123456789), a_candle(1))
    assert await write_candles(engine, SeriesIds(engine), [fetch]) == Outcome(new=2)
    first, second = await query(database_url, STORED)
    assert first == (
        *("binance", "BTC/USDT", "1m", datetime(2026, 11, 22, 12, 0, tzinfo=UTC)),
        *(100.0, 101.0, 99.0, 100.123456789, 12.5, fetch.fetched_at),
    )
    assert second[3] == datetime(2026, 11, 22, 12, 1, tzinfo=UTC)


async def test_a_millisecond_open_time_is_exact(engine: AsyncEngine, database_url: str) -> None:
    odd = NOON_MS + 1
    await write_candles(engine, SeriesIds(engine), [a_fetch(a_candle()._replace(open_ms=odd))])
    assert await query(database_url, "SELECT (extract(epoch FROM open_time) * 1000)::bigint FROM candles") == [(odd,)]


async def test_the_outcome_counts_each_candle(engine: AsyncEngine) -> None:
    series = SeriesIds(engine)
    assert await write_candles(engine, series, [a_fetch(a_candle(0), a_candle(1), second=10)]) == Outcome(new=2)
    again = a_fetch(a_candle(0, close=5.0), a_candle(1), a_candle(2), second=20)
    assert await write_candles(engine, series, [again]) == Outcome(new=1, revised=1, unchanged=1)
    late = a_fetch(a_candle(0), a_candle(3), second=15)
    assert await write_candles(engine, series, [late]) == Outcome(new=1, stale=1)
    assert await write_candles(engine, series, [again]) == Outcome(unchanged=3)


async def test_an_older_fetch_never_overwrites_a_newer_one_even_if_that_changed_nothing(
    engine: AsyncEngine, database_url: str
) -> None:
    series = SeriesIds(engine)
    for second, close in [(1, 7.0), (3, 7.0), (2, 666.0)]:
        await write_candles(engine, series, [a_fetch(a_candle(close=close), second=second)])
    assert await query(database_url, "SELECT close FROM candles") == [(7.0,)]


async def test_a_repeated_write_changes_nothing(engine: AsyncEngine, database_url: str) -> None:
    series, fetch = SeriesIds(engine), a_fetch(*(a_candle(minute) for minute in range(100)))
    await write_candles(engine, series, [fetch])
    versions = await query(database_url, "SELECT ctid::text, xmin::text FROM candles ORDER BY open_time")
    await write_candles(engine, series, [fetch])
    assert await query(database_url, "SELECT ctid::text, xmin::text FROM candles ORDER BY open_time") == versions


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_of_any_batches_gives_the_same_table(engine: AsyncEngine, database_url: str, seed: int) -> None:
    rng = random.Random(seed)
    fetches = [
        a_fetch(
            *(a_candle(minute, close=rng.choice([1.0, 2.0])) for minute in sorted(rng.sample(range(6), 3))),
            second=second,
            symbol=rng.choice(["BTC/USDT", "ETH/USDT"]),
        )
        for second in range(12)
    ]
    expected = {
        (fetch.symbol, candle.open_ms): (candle.close, fetch.fetched_at) for fetch in fetches for candle in fetch.rows
    }
    delivered = fetches * 2
    rng.shuffle(delivered)
    while delivered:
        size = rng.randint(1, 6)
        # A new SeriesIds for each batch, as after a restart.
        await write_candles(engine, SeriesIds(engine), delivered[:size])
        delivered = delivered[size:]
    stored = await query(
        database_url, "SELECT symbol, (extract(epoch FROM open_time) * 1000)::bigint, close, fetched_at FROM ohlcv"
    )
    assert {(symbol, at): values for symbol, at, *values in map(list, stored)} == {
        key: list(values) for key, values in expected.items()
    }
    assert await query(database_url, MISCOUNTED) == []


async def test_a_batch_is_written_completely_or_not_at_all(engine: AsyncEngine, database_url: str) -> None:
    series = SeriesIds(engine)
    assert await write_candles(engine, series, [a_fetch(*(a_candle(minute) for minute in range(8)))]) == Outcome(new=8)
    beyond_time = a_fetch_beyond_the_contract(*(a_candle(m) for m in range(10, 17)), open_ms=10**17)
    with pytest.raises(asyncpg.DataError):
        await write_candles(engine, series, [beyond_time])
    assert await query(database_url, "SELECT count(*) FROM candles") == [(8,)]


@pytest.mark.parametrize("open_ms", [10**17, 10**30], ids=["Postgres refuses it", "the driver refuses it"])
async def test_a_candle_that_cannot_be_stored_is_no_outage(engine: AsyncEngine, open_ms: int) -> None:
    series = SeriesIds(engine)
    with pytest.raises((asyncpg.DataError, OverflowError)) as caught:
        await write_candles(engine, series, [a_fetch_beyond_the_contract(open_ms=open_ms)])
    assert not is_transient(caught.value)
    assert await write_candles(engine, series, [a_fetch()]) == Outcome(new=1)


async def test_concurrent_writers_of_a_new_series_share_it_and_do_not_deadlock(
    engine: AsyncEngine, database_url: str
) -> None:
    fetches = [a_fetch(*map(a_candle, range(50)), symbol=f"S{n}/USDT", second=n) for n in range(20)]

    async def writer(seed: int) -> None:
        mine = fetches[:]
        random.Random(seed).shuffle(mine)
        await write_candles(engine, SeriesIds(engine), mine)

    await asyncio.gather(*(writer(seed) for seed in range(5)))
    assert await query(database_url, "SELECT count(*), count(DISTINCT series_id) FROM candles") == [(1000, 20)]
    assert await query(database_url, "SELECT count(*) FROM series") == [(20,)]


async def test_a_series_has_its_number_of_candles_and_its_first_and_last_open_time(
    engine: AsyncEngine, database_url: str
) -> None:
    series, extent = SeriesIds(engine), "SELECT candle_count, first_open, last_open FROM series"
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    for fetch, expected in (
        (a_fetch(a_candle(5), a_candle(6)), (2, noon + 5 * MINUTE, noon + 6 * MINUTE)),
        (a_fetch(a_candle(5, close=2.0), a_candle(7), second=1), (3, noon + 5 * MINUTE, noon + 7 * MINUTE)),
        (a_fetch(a_candle(2), a_candle(6), second=0), (4, noon + 2 * MINUTE, noon + 7 * MINUTE)),
    ):
        await write_candles(engine, series, [fetch])
        assert await query(database_url, extent) == [expected]


async def test_concurrent_writers_of_the_same_candles_count_them_once(engine: AsyncEngine, database_url: str) -> None:
    fetches = [
        a_fetch(*map(a_candle, range(first, first + 300)), symbol=f"S{first % 3}/USDT", second=20_000)
        for first in range(20)
    ]
    await asyncio.gather(*(write_candles(engine, SeriesIds(engine), fetches) for _ in range(4)))
    assert await query(database_url, MISCOUNTED) == []
    assert await query(database_url, "SELECT count(*) FROM candles") != [(0,)]


async def test_a_batch_that_fails_is_not_counted(engine: AsyncEngine, database_url: str) -> None:
    with pytest.raises(asyncpg.DataError):
        await write_candles(engine, SeriesIds(engine), [a_fetch_beyond_the_contract(a_candle(1), open_ms=10**17)])
    assert await query(database_url, "SELECT candle_count, first_open FROM series") == [(0, None)]


async def test_known_series_consume_no_ids(engine: AsyncEngine, database_url: str) -> None:
    for _ in range(5):
        await write_candles(engine, SeriesIds(engine), [a_fetch()])
    await write_candles(engine, SeriesIds(engine), [a_fetch(symbol="ETH/USDT")])
    assert await query(database_url, "SELECT id FROM series ORDER BY id") == [(1,), (2,)]


async def test_more_series_than_the_cache_holds_are_written(engine: AsyncEngine, database_url: str) -> None:
    series = SeriesIds(engine, limit=3)
    for names in ("ABC", "CDE", "EFA", "ABCDEFG"):
        await write_candles(engine, series, [a_fetch(symbol=f"{name}/USDT") for name in names])
    assert await query(database_url, "SELECT count(*) FROM series") == [(7,)]


async def test_deleted_series_are_created_again(engine: AsyncEngine, database_url: str) -> None:
    series = SeriesIds(engine)
    await write_candles(engine, series, [a_fetch()])
    await query(database_url, "TRUNCATE series CASCADE")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await write_candles(engine, series, [a_fetch()])
    assert await write_candles(engine, series, [a_fetch()]) == Outcome(new=1)


async def test_trades_and_quote_volume_are_stored_and_survive_a_fetch_without_them(
    engine: AsyncEngine, database_url: str
) -> None:
    series, activity = SeriesIds(engine), "SELECT trades, quote_volume FROM ohlcv ORDER BY open_time"
    plain = [a_candle(0), a_candle(1)]
    await write_candles(engine, series, [a_fetch(*plain, second=1)])
    known = a_fetch(*plain, second=2, trades=(7, None), quote_volumes=(70.0, None))
    assert await write_candles(engine, series, [known]) == Outcome(unchanged=2), "a completed candle is not revised"
    assert await query(database_url, activity) == [(7, 70.0), (None, None)]
    assert await write_candles(engine, series, [a_fetch(*plain, second=3)]) == Outcome(unchanged=2)
    assert await query(database_url, activity) == [(7, 70.0), (None, None)]
    more = a_fetch(*plain, second=4, trades=(8, 0))
    assert await write_candles(engine, series, [more]) == Outcome(revised=1, unchanged=1)
    assert await query(database_url, activity) == [(8, 70.0), (0, None)]
    assert await write_candles(engine, series, [a_fetch(a_candle(close=99.5), second=5)]) == Outcome(revised=1)
    assert await query(database_url, activity) == [(None, None), (0, None)]


async def test_the_exchanges_own_candle_replaces_one_from_trades_and_never_the_reverse(
    engine: AsyncEngine, database_url: str
) -> None:
    """In both orders, in one batch and in two, whenever they were fetched."""
    stored = "SELECT close, source FROM ohlcv"
    own, built = a_fetch(a_candle(close=100.5), second=1), a_fetch(a_candle(close=99.5), second=5, source="trades")
    for batches in ([[own], [built]], [[built], [own]], [[own, built]], [[built, own]]):
        await query(database_url, "TRUNCATE series CASCADE")
        series = SeriesIds(engine)
        outcomes = [await write_candles(engine, series, batch) for batch in batches]
        assert await query(database_url, stored) == [(100.5, "exchange")]
        assert outcomes[0].new == 1
        assert len(batches) == 1 or outcomes[1] == (Outcome(stale=1) if batches[0] == [own] else Outcome(revised=1))


async def test_a_newer_build_from_trades_replaces_an_older_one(engine: AsyncEngine, database_url: str) -> None:
    series = SeriesIds(engine)
    for second, close in ((5, 99.5), (6, 100.0), (4, 99.0)):
        await write_candles(engine, series, [a_fetch(a_candle(close=close), second=second, source="trades")])
    assert await query(database_url, "SELECT close, source FROM ohlcv") == [(100.0, "trades")]
