"""GET /candles/chart: its points equal the stored candles, joined in Python."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from store.tables import candles, series
from support.api import created

pytestmark = pytest.mark.postgres

START = datetime(2025, 1, 15, 12, 7, tzinfo=UTC)
BTC = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}


async def store(api: AdminApi, of_series: dict[str, str], opens: Sequence[datetime]) -> list[dict[str, Any]]:
    """Candles with different values at these times; the series as candle-writer keeps it."""
    rows = [
        {
            "open_time": each,
            "open": 100.0 + n * 37 % 11,
            "high": 120.0 + n * 53 % 17,
            "low": 80.0 - n * 41 % 13,
            "close": 100.0 + n * 29 % 7,
            "volume": float(n % 5),
        }
        for n, each in enumerate(opens)
    ]
    values = of_series | {"candle_count": len(rows), "first_open": opens[0], "last_open": opens[-1]}
    async with api.engine.begin() as connection:
        series_id = (await connection.execute(sa.insert(series).values(values).returning(series.c.id))).scalar_one()
        known = {"series_id": series_id, "fetched_at": opens[-1]}
        await connection.execute(sa.insert(candles), [row | known for row in rows])
    return rows


def joined(rows: Sequence[dict[str, Any]], length: timedelta) -> list[dict[str, Any]]:
    points: dict[datetime, list[dict[str, Any]]] = {}
    for row in rows:
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        points.setdefault(epoch + (row["open_time"] - epoch) // length * length, []).append(row)
    return [
        {
            "open_time": start.isoformat().replace("+00:00", "Z"),
            "open": of_point[0]["open"],
            "high": max(row["high"] for row in of_point),
            "low": min(row["low"] for row in of_point),
            "close": of_point[-1]["close"],
            "volume": sum(row["volume"] for row in of_point),
            "candles": len(of_point),
        }
        for start, of_point in points.items()
    ]


async def test_points_join_the_candles_of_their_time(api: AdminApi, client: httpx.AsyncClient) -> None:
    silence = range(200, 290)
    rows = await store(api, BTC, [START + timedelta(minutes=n) for n in range(700) if n not in silence])
    for points, minutes in ((2000, 1), (700, 1), (693, 2), (250, 3), (60, 15), (2, 360)):
        chart = (await client.get("/candles/chart", params=BTC | {"points": points})).json()
        assert (chart["periods"], chart["length_seconds"]) == (minutes, minutes * 60)
        assert chart["points"] == joined(rows, timedelta(minutes=minutes)), points
    assert chart["first_open_time"] == "2025-01-15T12:07:00Z"
    part = {"start": "2025-01-15T13:01:00Z", "end": "2025-01-15T13:59:00Z", "points": 20}
    chart = (await client.get("/candles/chart", params=BTC | part)).json()
    assert (chart["start"], chart["end"]) == ("2025-01-15T13:00:00Z", "2025-01-15T14:00:00Z")
    hour = [row for row in rows if row["open_time"].hour == 13]
    assert chart["points"] == joined(hour, timedelta(minutes=3))


async def test_months_are_joined_by_the_calendar(api: AdminApi, client: httpx.AsyncClient) -> None:
    months = BTC | {"timeframe": "1M"}
    opens = [datetime(2020 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(30)]
    rows = await store(api, months, opens)
    chart = (await client.get("/candles/chart", params=months | {"points": 10})).json()
    assert (chart["periods"], chart["length_seconds"], len(chart["points"])) == (3, None, 10)
    assert [point["open_time"][:7] for point in chart["points"][:3]] == ["2020-01", "2020-04", "2020-07"]
    assert chart["points"][1]["high"] == max(row["high"] for row in rows[3:6])


async def test_a_range_without_candles_has_no_points(api: AdminApi, client: httpx.AsyncClient) -> None:
    await store(api, BTC, [START])
    for span in ({"end": "2025-01-15T12:07:00Z"}, {"start": "2025-01-15T12:08:00Z"}):
        chart = (await client.get("/candles/chart", params=BTC | span)).json()
        assert (chart["start"], chart["end"], chart["points"]) == (None, None, [])
    await created(client, symbol="ETH/USDT", timeframes=["1m"])
    chart = (await client.get("/candles/chart", params=BTC | {"symbol": "ETH/USDT"})).json()
    assert (chart["first_open_time"], chart["points"]) == (None, [])
    assert (await client.get("/candles/chart", params=BTC | {"symbol": "BTC/USD"})).status_code == 404
    backwards = {"start": "2025-01-16", "end": "2025-01-15"}
    assert (await client.get("/candles/chart", params=BTC | backwards)).status_code == 422
    assert (await client.get("/candles/chart", params=BTC | {"points": 2001})).status_code == 422
