import csv
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_type_hints

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from admin_api.candles.queries import CandleRow
from store.tables import candles, series
from support.api import created

pytestmark = pytest.mark.postgres

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
BTC = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}


@pytest.fixture
async def ten_minutes(api: AdminApi) -> None:
    """Stores ten candles of BTC/USDT 1m on binance, from noon on."""
    await add_candles(api, BTC)


async def add_candles(api: AdminApi, of_series: dict[str, str]) -> None:
    async with api.engine.begin() as connection:
        inserted = await connection.execute(sa.insert(series).values(of_series).returning(series.c.id))
        series_id = inserted.scalar_one()
        rows = [
            {
                "series_id": series_id,
                "open_time": NOON + timedelta(minutes=n),
                "open": 100 + n,
                "high": 101.5 + n,
                "low": 0.1 + 0.2,
                "close": 1e-8,
                "volume": n * 1.25,
                "fetched_at": NOON + timedelta(hours=1),
            }
            for n in range(10)
        ]
        await connection.execute(sa.insert(candles), rows)


def minutes(rows: list[dict[str, Any]]) -> list[int]:
    return [datetime.fromisoformat(row["open_time"]).minute for row in rows]


@pytest.mark.usefixtures("ten_minutes")
async def test_candles_ascend_from_start_inclusive_to_end_exclusive(client: httpx.AsyncClient) -> None:
    for params, expected in (
        ({}, list(range(10))),
        ({"limit": 3}, [7, 8, 9]),
        ({"end": "2025-01-15T12:05:00Z", "limit": 2}, [3, 4]),
        ({"start": "2025-01-15T12:02:00Z", "limit": 3}, [2, 3, 4]),
        ({"start": "2025-01-15T12:02:00", "end": "2025-01-15T12:04:00"}, [2, 3]),
        ({"start": "2025-01-15T12:09:00.001Z"}, []),
    ):
        response = await client.get("/candles", params=BTC | params)
        assert minutes(response.json()) == expected, params
    first = (await client.get("/candles", params=BTC)).json()[0]
    assert first == {
        "open_time": "2025-01-15T12:00:00Z",
        "open": 100.0,
        "high": 101.5,
        "low": 0.30000000000000004,
        "close": 1e-8,
        "volume": 0.0,
        "fetched_at": "2025-01-15T13:00:00Z",
        "trades": None,
        "quote_volume": None,
        "source": "exchange",
    }


@pytest.mark.usefixtures("ten_minutes")
@pytest.mark.parametrize(
    ("params", "headers"),
    [({"format": "csv"}, {}), ({}, {"Accept": "text/csv"}), ({"format": "csv"}, {"Accept": "application/json"})],
)
async def test_csv_contains_the_same_values_as_json(
    client: httpx.AsyncClient, params: dict[str, str], headers: dict[str, str]
) -> None:
    as_json = (await client.get("/candles", params=BTC)).json()
    response = await client.get("/candles", params=BTC | params, headers=headers)
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = [
        {name: _value_of_cell(name, value) for name, value in row.items()}
        for row in csv.DictReader(response.text.splitlines())
    ]
    assert rows == as_json
    forced_json = await client.get("/candles", params=BTC | {"format": "json"}, headers={"Accept": "text/csv"})
    assert forced_json.json() == as_json


def _value_of_cell(name: str, value: str) -> str | float | None:
    if name.endswith(("time", "_at", "source")):
        return value
    return float(value) if value else None


async def test_csv_contains_no_formula_of_a_symbol_or_description(client: httpx.AsyncClient, api: AdminApi) -> None:
    """A spreadsheet calculates a cell that begins with one of these characters."""
    symbol = "=cmd()/USDT"
    await created(client, symbol=symbol, description="=HYPERLINK(1)")
    of_symbol = BTC | {"symbol": symbol}
    await add_candles(api, of_symbol)
    text = (await client.get("/candles", params=of_symbol | {"format": "csv"})).text
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
    assert len(cells) == 11 * len(CandleRow.__annotations__)
    assert [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t", "\r"}] == []
    types = {datetime, float, int | None, float | None, Literal["exchange", "trades"]}
    assert set(get_type_hints(CandleRow).values()) == types, "a column of text needs protection"


async def test_a_collected_series_without_candles_is_empty(client: httpx.AsyncClient) -> None:
    await created(client)
    response = await client.get("/candles", params=BTC)
    assert (response.status_code, response.json()) == (200, [])
    as_csv = await client.get("/candles", params=BTC | {"format": "csv"})
    assert as_csv.text == "open_time,open,high,low,close,volume,fetched_at,trades,quote_volume,source\n"


@pytest.mark.usefixtures("ten_minutes")
@pytest.mark.parametrize(
    "other", [{"timeframe": "5m"}, {"exchange": "kraken"}, {"symbol": "BTCUSDT"}, {"symbol": "btc/usdt"}]
)
async def test_a_series_that_no_config_collects_is_404_and_existing_series_are_named(
    client: httpx.AsyncClient, other: dict[str, str]
) -> None:
    response = await client.get("/candles", params=BTC | other)
    assert response.status_code == 404
    assert "binance BTC/USDT 1m" in response.json()["detail"]


@pytest.mark.parametrize("missing", ["exchange", "symbol", "timeframe"])
async def test_the_three_names_of_a_series_are_required(client: httpx.AsyncClient, missing: str) -> None:
    response = await client.get("/candles", params={name: value for name, value in BTC.items() if name != missing})
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert error == {"pointer": f"#/{missing}", "detail": "is required", "where": "query"}


async def test_start_must_be_before_end(client: httpx.AsyncClient) -> None:
    same = {"start": "2025-01-15T12:00:00Z", "end": "2025-01-15T12:00:00Z"}
    assert (await client.get("/candles", params=BTC | same)).status_code == 422
