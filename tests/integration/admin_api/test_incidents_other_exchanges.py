"""GET /incidents: the other exchanges that traded the silent symbols meanwhile, from their stored candles."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from admin_api.incidents import other_exchanges
from admin_api.incidents.grouping import Grouped
from contracts.coverage import to_instant, to_milliseconds
from contracts.spans import Interval, subtract
from store.tables import candles, series
from support.stored_ledgers import CHECKED, MINUTE, AbsentSpan, at, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres

SYMBOLS = ("BTC/USDT", "ETH/USDT", "XRP/USDT")
DAY = 1440 * MINUTE
ASKED = {"exchange": "binance", "start": iso(at(-60)), "end": iso(at(120))}


async def store_silence(
    api: AdminApi, spans: Sequence[Interval], symbols: Iterable[str] = SYMBOLS, kind: str = "unknown", **names: str
) -> None:
    """Series of binance that are silent in these spans, and verified for an hour before and after."""
    life = spans[0][0] - 60 * MINUTE, spans[-1][1] + 60 * MINUTE
    for symbol in symbols:
        series_id = await store_series(api.engine, life[0], life[1] - MINUTE, symbol=symbol, **names)
        await store_ledger(api.engine, series_id, subtract([life], spans), [AbsentSpan(*each, kind) for each in spans])


async def store_candles(api: AdminApi, opens: Iterable[int], volume: float = 1, **names: str) -> None:
    """A series of okx, unless named otherwise, with candles that open at these times."""
    times = sorted(opens)
    series_id = await store_series(api.engine, times[0], times[-1], **{"exchange": "okx"} | names)
    await add_candles(api, series_id, times, volume)


async def add_candles(api: AdminApi, series_id: int, opens: Sequence[int], volume: float = 1) -> None:
    row = {"series_id": series_id, "open": 1, "high": 1, "low": 1, "close": 1, "volume": volume, "fetched_at": CHECKED}
    async with api.engine.begin() as connection:
        await connection.execute(sa.insert(candles), [row | {"open_time": to_instant(each)} for each in opens])
        changes = {"first_open": to_instant(opens[0]), "last_open": to_instant(opens[-1]), "candle_count": len(opens)}
        await connection.execute(sa.update(series).where(series.c.id == series_id).values(changes))


def minutes(first: int, end: int) -> list[int]:
    return [at(each) for each in range(first, end)]


def other(exchange: str, symbols: int, number: int, first: int, last: int) -> dict[str, Any]:
    """The entry of an exchange whose first and last candle open at these times, in milliseconds since the epoch."""
    return {
        "exchange": exchange,
        "symbols": symbols,
        "candles": number,
        "first_open_time": iso(first),
        "last_open_time": iso(last),
    }


async def incidents(client: httpx.AsyncClient, **changes: Any) -> list[dict[str, Any]]:
    response = await client.get("/incidents", params=ASKED | changes)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found


async def test_other_exchanges_that_traded_the_symbols_are_shown_and_prove_no_class(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    await store_silence(api, [(at(0), at(20))])
    await store_candles(api, minutes(0, 20))
    await store_candles(api, minutes(5, 8), symbol="ETH/USDT")
    await store_candles(api, minutes(19, 20), exchange="kraken", symbol="XRP/USDT")
    [found] = await incidents(client)
    assert found["other_exchanges"] == [other("kraken", 1, 1, at(19), at(19)), other("okx", 2, 23, at(0), at(19))]
    assert found["other_exchanges_truncated"] is False
    assert [(each["absence_class"], each["level"], each["proof"]) for each in found["pieces"]] == [("unknown", 1, [])]
    assert found["absence_class"] == "unknown"


async def test_candles_without_volume_show_no_trades(api: AdminApi, client: httpx.AsyncClient) -> None:
    """Exchanges fill time without trades with flat rows."""
    await store_silence(api, [(at(0), at(20))])
    await store_candles(api, minutes(-5, 25), volume=0)
    [found] = await incidents(client)
    assert (found["other_exchanges"], found["other_exchanges_truncated"]) == ([], False)


async def test_candles_of_the_exchange_itself_do_not_count(api: AdminApi, client: httpx.AsyncClient) -> None:
    """An exchange can have stored candles in time that is not verified."""
    await store_silence(api, [(at(0), at(20))])
    async with api.engine.connect() as connection:
        own = (await connection.execute(sa.select(series.c.id).where(series.c.symbol == "BTC/USDT"))).scalar_one()
    await add_candles(api, own, minutes(0, 20))
    await store_candles(api, minutes(0, 20), exchange="binance", timeframe="5m")
    [found] = await incidents(client)
    assert found["other_exchanges"] == []


@pytest.mark.parametrize("symbol", ["BTC/USDT:USDT", "BTC/USD", "SOL/USDT"])
async def test_another_symbol_does_not_count(api: AdminApi, client: httpx.AsyncClient, symbol: str) -> None:
    """A swap is another market than its spot market. SOL/USDT is verified on binance until the incident begins."""
    await store_silence(api, [(at(0), at(20))])
    quiet = await store_series(api.engine, at(-60), at(-1), symbol="SOL/USDT")
    await store_ledger(api.engine, quiet, [(at(-60), at(0))])
    await store_candles(api, minutes(0, 20), symbol=symbol)
    [found] = await incidents(client)
    assert found["other_exchanges"] == []


async def test_another_timeframe_does_not_count(api: AdminApi, client: httpx.AsyncClient) -> None:
    await store_silence(api, [(at(0), at(20))])
    await store_candles(api, [at(0), at(5)], timeframe="5m")
    [found] = await incidents(client)
    assert found["other_exchanges"] == []


async def test_only_whole_candles_within_the_silence_count(api: AdminApi, client: httpx.AsyncClient) -> None:
    """A trade of a candle that opens before or closes after may be outside."""
    await store_silence(api, [(at(0), at(60))], timeframe="5m")
    grid = [at(each) for each in range(-20, 90, 5)]
    await store_candles(api, grid, timeframe="5m")
    await store_candles(api, [each + 2 * MINUTE for each in grid], exchange="shifted", timeframe="5m")
    [whole] = await incidents(client, timeframe="5m")
    expected = [other("okx", 1, 12, at(0), at(55)), other("shifted", 1, 11, at(2), at(52))]
    assert whole["other_exchanges"] == expected
    [part] = await incidents(client, timeframe="5m", start=iso(at(3)), end=iso(at(29)))
    assert part["other_exchanges"] == [other("okx", 1, 4, at(5), at(20)), other("shifted", 1, 4, at(7), at(22))]


async def test_a_partial_overlap_shows_the_part(api: AdminApi, client: httpx.AsyncClient) -> None:
    """The other exchange began to trade late, or stopped early."""
    await store_silence(api, [(at(0), at(20))])
    await store_candles(api, minutes(15, 40))
    await store_candles(api, minutes(-20, 3), exchange="kraken")
    await store_candles(api, minutes(-20, 0), exchange="before")
    await store_candles(api, minutes(20, 40), exchange="since")
    [found] = await incidents(client)
    assert found["other_exchanges"] == [other("kraken", 1, 3, at(0), at(2)), other("okx", 1, 5, at(15), at(19))]


async def test_only_time_in_which_the_symbol_itself_is_silent_counts(api: AdminApi, client: httpx.AsyncClient) -> None:
    """A symbol that is not requested, or not listed yet, was not silent."""
    await store_silence(api, [(at(0), at(20))], ("A/USDT", "B/USDT", "C/USDT"))
    absent = [AbsentSpan(at(-60), at(5), "before_listing"), AbsentSpan(at(5), at(9), "unproven")]
    absent += [AbsentSpan(at(9), at(12), "no_trade"), AbsentSpan(at(12), at(20), "unread")]
    late = await store_series(api.engine, at(20), at(59))
    await store_ledger(api.engine, late, [(at(20), at(60))], absent)
    await store_candles(api, minutes(-5, 25))
    [found] = await incidents(client)
    assert found["other_exchanges"] == [other("okx", 1, 7, at(5), at(11))]


async def test_each_incident_of_a_page_has_its_own_exchanges_from_one_query(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    await store_silence(api, [(at(0), at(5)), (at(10), at(15)), (at(30), at(40))])
    await store_candles(api, minutes(3, 13))
    await store_candles(api, minutes(35, 50), exchange="kraken", symbol="ETH/USDT")
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(api.engine.sync_engine, "before_cursor_execute", count)
    one, two, three = await incidents(client)
    sa.event.remove(api.engine.sync_engine, "before_cursor_execute", count)
    assert one["other_exchanges"] == [other("okx", 1, 2, at(3), at(4))]
    assert two["other_exchanges"] == [other("okx", 1, 3, at(10), at(12))]
    assert three["other_exchanges"] == [other("kraken", 1, 5, at(35), at(39))]
    assert sum("FROM candles" in each for each in statements) == 1


async def test_61_days_while_other_exchanges_traded_stay_unknown(api: AdminApi, client: httpx.AsyncClient) -> None:
    """Bitfinex, April and May 2016: empty answers for all symbols, and trades on other exchanges. Whether Bitfinex was
    closed cannot be seen from these.
    """
    start = to_milliseconds(datetime(2016, 4, 1, tzinfo=UTC))
    end = start + 61 * DAY
    await store_silence(api, [(start, end)], exchange="bitfinex")
    for symbol in SYMBOLS:
        await store_minutes(api, start - DAY, end + DAY, symbol)
    asked = {"exchange": "bitfinex", "start": iso(start - DAY), "end": iso(end + DAY)}
    [found] = await incidents(client, **asked)
    assert {each["absence_class"] for each in (found, *found["pieces"])} == {"unknown"}
    [kraken] = found["other_exchanges"]
    assert (kraken["exchange"], kraken["symbols"], kraken["first_open_time"]) == ("kraken", 3, iso(start))
    assert found["other_exchanges_truncated"] is True
    assert other_exchanges.MAX_CANDLES - 3 <= kraken["candles"] <= other_exchanges.MAX_CANDLES + 3
    [day] = await incidents(client, **asked | {"end": iso(start + DAY)})
    assert day["other_exchanges"] == [other("kraken", 3, 3 * 1440, start, start + DAY - MINUTE)]
    assert day["other_exchanges_truncated"] is False


async def store_minutes(api: AdminApi, start: int, end: int, symbol: str, exchange: str = "kraken") -> None:
    """A series with a candle in each minute."""
    series_id = await store_series(api.engine, start, end - MINUTE, exchange=exchange, symbol=symbol)
    values = {"id": series_id, "first": to_instant(start), "last": to_instant(end - MINUTE), "now": CHECKED}
    async with api.engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO candles (series_id, open_time, open, high, low, close, volume, fetched_at) "
                "SELECT :id, opens, 1, 1, 1, 1, 1, :now FROM generate_series(:first, :last, interval '1 minute') opens"
            ),
            values,
        )


async def test_the_length_of_months_is_that_of_the_calendar(api: AdminApi, client: httpx.AsyncClient) -> None:
    """February and March 2026. The exchange `shifted` begins its months eight hours earlier."""
    january, february, april = (to_milliseconds(datetime(2026, month, 1, tzinfo=UTC)) for month in (1, 2, 4))
    march = february + 28 * DAY
    await store_silence(api, [(february, april)], timeframe="1M")
    await store_candles(api, [january, february, march, april], timeframe="1M")
    shifted = [each - 480 * MINUTE for each in (february, march, april)]
    await store_candles(api, shifted, exchange="shifted", timeframe="1M")
    [found] = await incidents(client, timeframe="1M", start="2026-01-01T00:00:00Z", end="2026-06-01T00:00:00Z")
    expected = [other("okx", 1, 2, february, march), other("shifted", 1, 1, shifted[1], shifted[1])]
    assert found["other_exchanges"] == expected
    [part] = await incidents(client, timeframe="1M", start="2026-01-01T00:00:00Z", end=iso(april - DAY))
    assert part["other_exchanges"] == [other("okx", 1, 1, february, february)]


async def test_candles_of_another_length_than_their_timeframe_do_not_count(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    """The candles of two weeks of Kraken are 15 days long."""
    start = to_milliseconds(datetime(2026, 6, 1, tzinfo=UTC))
    await store_silence(api, [(start, start + 28 * DAY)], timeframe="2w")
    for exchange in ("kraken", "okx"):
        await store_candles(api, [start, start + 14 * DAY], exchange=exchange, timeframe="2w")
    asked = {"timeframe": "2w", "start": iso(start), "end": iso(start + 28 * DAY)}
    [found] = await incidents(client, **asked)
    assert found["other_exchanges"] == [other("okx", 1, 2, start, start + 14 * DAY)]


async def test_each_comparison_reads_its_share_of_the_candles(
    api: AdminApi, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long incident does not use up the candles of the others, nor candles without volume those of other series."""
    await store_silence(api, [(at(0), at(40)), (at(50), at(52))])
    await store_candles(api, minutes(0, 55), volume=0)
    await store_candles(api, minutes(0, 55), exchange="kraken")
    monkeypatch.setattr(other_exchanges, "MAX_CANDLES", 2 * 2 * 5)
    long, short = await incidents(client)
    assert long["other_exchanges"] == [other("kraken", 1, 6, at(0), at(5))]
    assert short["other_exchanges"] == [other("kraken", 1, 2, at(50), at(51))]
    assert [each["other_exchanges_truncated"] for each in (long, short)] == [True, False]


async def test_the_series_with_the_most_candles_of_each_exchange_are_compared(
    api: AdminApi, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_silence(api, [(at(0), at(20))])
    for exchange in ("kraken", "okx"):
        for number, symbol in enumerate(SYMBOLS):
            await store_candles(api, minutes(-1 - number, 20), exchange=exchange, symbol=symbol)
    monkeypatch.setattr(other_exchanges, "MAX_COMPARISONS", 3)
    [found] = await incidents(client)
    assert [(each["exchange"], each["symbols"]) for each in found["other_exchanges"]] == [("kraken", 2), ("okx", 1)]
    assert found["other_exchanges_truncated"] is True
    monkeypatch.setattr(other_exchanges, "MAX_COMPARISONS", 6)
    [found] = await incidents(client)
    assert [each["symbols"] for each in found["other_exchanges"]] == [3, 3]
    assert found["other_exchanges_truncated"] is False


async def test_incidents_are_answered_without_other_exchanges_if_these_take_too_long(
    api: AdminApi, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_silence(api, [(at(0), at(20))])
    await store_candles(api, minutes(0, 20))
    monkeypatch.setattr(other_exchanges, "TRADED", "SELECT pg_sleep(20)")
    monkeypatch.setattr(other_exchanges, "LIMIT_SECONDS", 0.1)
    [found] = await incidents(client)
    assert (found["symbols"], found["other_exchanges"]) == (3, [])
    assert found["other_exchanges_truncated"] is True


async def test_the_query_reads_no_candles_and_absences_beyond_the_incidents(api: AdminApi) -> None:
    """A hundred days of candles, and an absence in each hour; the incident has ten minutes."""
    first, last = at(-50 * 1440), at(50 * 1440)
    holes = [(each, each + MINUTE) for each in range(first, last, 60 * MINUTE) if each not in range(at(0), at(10))]
    await store_silence(api, sorted([*holes, (at(0), at(10))]))
    for symbol in SYMBOLS:
        await store_minutes(api, first, last, symbol)
    silent = Grouped(to_instant(at(0)), to_instant(at(10)), len(SYMBOLS), SYMBOLS, ())
    async with api.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("ANALYZE series, candles, absences")
        values = other_exchanges.parameters_of("binance", "1m", [silent])
        plan = sa.text(f"EXPLAIN (ANALYZE, FORMAT JSON) {other_exchanges.TRADED}")
        [top] = (await connection.execute(plan, values)).scalar_one()
    assert rows_read(top["Plan"], "candles") == 3 * 10
    assert rows_read(top["Plan"], "absences") <= 3 * 3


def rows_read(node: dict[str, Any], table: str) -> int:
    """The rows of the table that a plan reads, including those that a filter removes."""
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    of_node = rows * node["Actual Loops"] if node.get("Relation Name") == table else 0
    return int(of_node) + sum(rows_read(each, table) for each in node.get("Plans", ()))
