"""The cost of a backfill according to its dry run, also with candles from trades."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from admin_api.backfills.estimates import BYTES_PER_CANDLE
from contracts.coverage import to_instant, to_milliseconds
from store.tables import candles
from support.api import created
from support.ordering_backfills import DAY, NOW, a_backfill, details, estimated, ordered
from support.stored_ledgers import MINUTE, AbsentSpan, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres


async def test_a_dry_run_answers_the_cost_and_creates_nothing(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client)
    series_id = await store_series(api.engine, NOW - 20 * DAY, NOW - MINUTE)
    await store_ledger(
        api.engine,
        series_id,
        [(NOW - 20 * DAY, NOW - 8 * DAY), (NOW - DAY, NOW)],
        [AbsentSpan(NOW - 2 * DAY, NOW - DAY, "lost")],
    )
    found = await estimated(client, timeframes=["1m"])
    # Six days are missing, less the day that is lost: 8,640 minutes in pages of 998.
    assert (found["series"], found["candles"], found["requests"]) == (1, 8640, 9)
    assert (found["weight"], found["duration_seconds"]) == (pytest.approx(3.6), pytest.approx(0.18))
    assert (found["disk_bytes"], found["is_upper_bound"]) == (8640 * BYTES_PER_CANDLE, False)
    [never] = found["never_available"]
    assert (never["absence_class"], never["reason"], never["candles"]) == ("beyond_horizon", "evidence for lost", 1440)
    again = await estimated(client, timeframes=["1m"], mode="all")
    assert again["candles"] == 10 * 1440 - 1440
    assert (await client.get("/backfills")).json() == []
    assert [each["action"] for each in (await client.get("/audit-log")).json()] == ["config.create"]


async def test_a_dry_run_says_what_is_beyond_the_horizon(client: httpx.AsyncClient) -> None:
    await created(client, exchange="kraken", timeframes=["1m", "1d"])
    found = await estimated(client)
    by_timeframe = {each["timeframe"]: each for each in found["never_available"]}
    assert by_timeframe.keys() == {"1m"}
    assert by_timeframe["1m"]["absence_class"] == "beyond_horizon"
    assert by_timeframe["1m"]["candles"] > 12_000
    assert found["requests"] < 5


async def test_candles_from_trades_have_their_cost_in_the_dry_run_and_are_ordered_explicitly(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    """Lost time is wanted again. The mean number of trades is that of the stored candles."""
    await created(client, exchange="kraken", symbol="BTC/USD", timeframes=["1m"])
    series_id = await store_series(api.engine, exchange="kraken", symbol="BTC/USD")
    until = to_milliseconds(datetime.now(UTC)) // MINUTE * MINUTE
    await store_ledger(
        api.engine,
        series_id,
        [(until - 700 * MINUTE, until)],
        [AbsentSpan(until - 5 * DAY, until - 720 * MINUTE, "lost")],
    )
    wanted = {"start": iso(until - 2 * DAY), "end": iso(until), "source": "trades"}
    unknown = (await estimated(client, **wanted))["exchanges"][0]
    assert unknown["from_trades"]["series_of_unknown_cost"] == 1
    assert unknown["duration_seconds"] is None
    row = {"series_id": series_id, "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "trades": 50}
    async with api.engine.begin() as connection:
        times = {"open_time": to_instant(until - 5 * MINUTE), "fetched_at": to_instant(until)}
        await connection.execute(sa.insert(candles).values(row | times))
    found = await estimated(client, **wanted)
    [kraken] = found["exchanges"]
    # 2161 candles of 50 trades: 109 pages, in 6 runs of 400 candles with 6 more requests each.
    assert kraken["from_trades"]["requests"] == pytest.approx(109 + 36, abs=1)
    assert kraken["duration_seconds"] == pytest.approx(kraken["weight"])
    assert found["never_available"] == []
    assert (await estimated(client, **wanted | {"source": "candles"}))["never_available"] != []

    made = await ordered(client, **wanted)
    assert made["source"] == "trades"
    shown = await details(client, made["id"])
    assert shown["progress"]["missing_candles"] == 2880 - 700
    assert (await ordered(client))["source"] == "candles", "the default"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "binance, kraken"),
        ({"mode": "all"}, "leave out `mode: all`"),
        ({"start": None}, "needs a `start`"),
    ],
)
async def test_candles_from_trades_are_refused_where_nothing_could_prove_them(
    client: httpx.AsyncClient, changes: dict[str, Any], words: str
) -> None:
    await created(client, exchange="okx")
    answer = await client.post("/backfills", json=a_backfill(source="trades", **changes))
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


async def test_the_size_of_a_candle_is_that_of_the_table(api: AdminApi) -> None:
    series_id, count = await store_series(api.engine), 20_000
    rows = sa.select(
        sa.literal(series_id),
        sa.literal(to_instant(NOW)) + sa.cast(sa.column("n"), sa.Integer) * sa.literal(timedelta(minutes=1)),
        *(sa.func.random() for _ in range(5)),
        sa.func.now(),
    ).select_from(sa.func.generate_series(1, count).alias("n"))
    names = ["series_id", "open_time", "open", "high", "low", "close", "volume", "fetched_at"]
    async with api.engine.begin() as connection:
        await connection.execute(sa.insert(candles).from_select(names, rows))
        size = await connection.scalar(
            sa.text("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('candles')")
        )
        size = size or await connection.scalar(sa.text("SELECT pg_total_relation_size('candles')"))
    assert float(size) / count == pytest.approx(BYTES_PER_CANDLE, rel=0.25)


async def test_the_largest_list_of_series_fits_into_a_request(client: httpx.AsyncClient) -> None:
    configs = [
        {"exchange": "binance", "symbol": f"ANASSETWITHALONGNAME{number}/USDT", "timeframes": ["1m"], "enabled": False}
        for number in range(1000)
    ]
    made = await client.post("/configs/bulk/create", json={"configs": configs})
    assert made.json()["summary"]["done"] == 1000, made.text
    series = [{"exchange": "binance", "symbol": each["symbol"], "timeframe": "1m"} for each in configs]
    assert (await estimated(client, select=None, series=series))["series"] == 1000
