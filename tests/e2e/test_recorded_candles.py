"""The whole system stores recorded minute candles exactly; the simulator replays them in five dialects."""

import asyncio
import csv
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from local_stack.keeper import KeptKafka
from local_stack.stack import Stack, running_stack
from support.polling import eventually
from support.shared_data import shared_file
from support.whole_system import system_options

pytestmark = [pytest.mark.system, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(600)]

MINUTE_MS = 60_000
START = datetime(2026, 11, 1, tzinfo=UTC)
"""The new time of the first row of every recording. It may be weeks ago: the exchange's clock decides which candles
are closed.
"""
STEP = timedelta(hours=2)
STEPS = 7
"""The replayed time range is 14 hours, collected in eight runs. Two steps fit into the smallest page, 300 minutes."""
SPAN_MS = STEPS * int(STEP.total_seconds() * 1000)

Row = tuple[int, float, float, float, float, float]


@dataclass(frozen=True)
class Recording:
    exchange: str
    symbol: str
    files: tuple[str, ...]


RECORDINGS = (
    Recording("binance", "BTC/BUSD", ("binance/BTCBUSD-1m-20221213.csv",)),
    Recording("bybit", "BTC/USDT", ("bybit/BTCUSDT-1m-20221213.csv",)),
    Recording("coinbase", "BTC/USD", ("coinbase/BTCUSD-1m-20161007.csv", "coinbase/BTCUSD-1m-20161008.csv")),
    Recording("coinbase", "BTC/EUR", ("coinbase/BTCEUR-1m-20180404.csv", "coinbase/BTCEUR-1m-20180405.csv")),
    # The same data in the dialects of other exchanges; the Coinbase day has 36 gaps.
    Recording("kraken", "BTC/USD", ("coinbase/BTCUSD-1m-20161008.csv",)),
    Recording("okx", "BTC/USDT", ("bybit/BTCUSDT-1m-20221213.csv",)),
    Recording("okx", "BTC/USD", ("coinbase/BTCUSD-1m-20161008.csv",)),
)


def _recorded(recording: Recording, folder: Path) -> list[Row]:
    """The rows of the replayed time range, shifted in time like in the simulator."""
    rows: list[Row] = []
    for name in recording.files:
        with (folder / name).open() as file:
            for line in csv.DictReader(file):
                values = [float(line[key]) for key in ("open", "high", "low", "close", "volume")]
                rows.append((int(line["timestamp_ms"]), *values))  # type: ignore[arg-type]
    shift_ms = int(START.timestamp() * 1000) - rows[0][0]
    return [(row[0] + shift_ms, *row[1:]) for row in rows if row[0] - rows[0][0] < SPAN_MS]  # type: ignore[misc]


def _aggregated(rows: list[Row], minutes: int) -> Iterator[Row]:
    """Candles of a longer timeframe, computed from the existing minute candles."""
    for open_ms, group in groupby(rows, key=lambda row: row[0] // (minutes * MINUTE_MS) * minutes * MINUTE_MS):
        parts = list(group)
        yield (
            open_ms,
            parts[0][1],
            max(part[2] for part in parts),
            min(part[3] for part in parts),
            parts[-1][4],
            sum(part[5] for part in parts),
        )


@pytest.fixture
async def replaying(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    folder = shared_file("data/lean")
    arguments = ["--shift-to", START.isoformat(), "--now", (START + STEP).isoformat()]
    for recording in RECORDINGS:
        files = ",".join(str(folder / name) for name in recording.files)
        arguments += ["--replay", f"{recording.exchange}:{recording.symbol}:1m={files}"]
    options = system_options(kafka, database_url, tmp_path, simulator_arguments=tuple(arguments))
    async with running_stack(options) as stack:
        yield stack


async def test_the_candles_table_equals_the_recordings_row_for_row(replaying: Stack) -> None:
    folder = shared_file("data/lean")
    database = await asyncpg.connect(replaying.database_url)
    headers = {"Authorization": f"Bearer {replaying.token}"}
    base = f"{replaying.api_url}/api/v1/admin/data-collection"
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=20) as api:
        configs = [await _create(api, recording) for recording in RECORDINGS]
        runs = len(configs)
        await _all_succeeded(database, runs)
        # A collector knows the exchange's time from its latest response, so after a jump it is one run late. The last
        # step is repeated for this reason.
        for step in [*range(2, STEPS + 1), STEPS]:
            # Half a minute later, so that the last candle of the range is closed and the next one is not.
            now = START + step * STEP + timedelta(seconds=30)
            await _set_clock(replaying, now)
            await asyncio.gather(*(_trigger(api, config) for config in configs))
            runs += len(configs)
            await _all_succeeded(database, runs)
    for recording in RECORDINGS:
        expected = _recorded(recording, folder)
        assert expected[-1][0] - expected[0][0] >= 12 * 3_600_000
        await _equals(database, recording, "1m", expected)
        await _equals(database, recording, "5m", list(_aggregated(expected, 5)))
    series = await database.fetch("SELECT exchange, symbol, timeframe FROM series")
    assert len(series) == 2 * len(RECORDINGS)
    await database.close()


async def _create(api: httpx.AsyncClient, recording: Recording) -> int:
    # Weekly: the first run starts at once, and all further runs of this test are triggered.
    body = {
        "exchange": recording.exchange,
        "symbol": recording.symbol,
        "timeframes": ["1m", "5m"],
        "interval_minutes": 10_080,
    }
    response = await api.post("/configs", json=body)
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


async def _trigger(api: httpx.AsyncClient, config: int) -> None:
    response = await api.post(f"/configs/{config}/trigger")
    assert response.status_code == 202, response.text


async def _set_clock(stack: Stack, now: datetime) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        response = await client.put(f"{stack.simulator_url}/control/clock", json={"now": now.isoformat()})
    assert response.status_code == 200, response.text


async def _all_succeeded(database: Any, runs: int) -> None:
    async def finished() -> bool:
        # On a slow machine, the backfiller requests ranges too. They have runs of their own.
        rows = await database.fetch(
            "SELECT exchange, symbol, status, error_message FROM job_execution_logs "
            "WHERE finished_at IS NOT NULL AND trigger IN ('initial', 'manual')"
        )
        unsuccessful = [dict(row) for row in rows if row["status"] != "success"]
        if unsuccessful:
            pytest.fail(f"runs did not succeed: {unsuccessful[:3]}")
        assert len(rows) == runs, f"{len(rows)} of {runs} runs have ended"
        return True

    await eventually(finished, within=240)


async def _equals(database: Any, recording: Recording, timeframe: str, expected: list[Row]) -> None:
    async def stored() -> list[Row]:
        rows = await database.fetch(
            "SELECT open_time, open, high, low, close, volume FROM ohlcv "
            "WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 ORDER BY open_time",
            recording.exchange, recording.symbol, timeframe,
        )  # fmt: skip
        return [(round(row["open_time"].timestamp() * 1000), *tuple(row)[1:]) for row in rows]

    async def same() -> bool:
        return _differences(await stored(), expected) == []

    try:
        await eventually(same, within=20)
    except AssertionError:
        found = await stored()
        pytest.fail(
            f"{recording} {timeframe}: {len(found)} rows, {len(expected)} expected; {_differences(found, expected)[:3]}"
        )


def _differences(found: list[Row], expected: list[Row]) -> list[object]:
    """Compares prices exactly, and volumes with a tolerance, because a sum of floats depends on their order."""
    if [row[0] for row in found] != [row[0] for row in expected]:
        missing = sorted({row[0] for row in expected} - {row[0] for row in found})
        extra = sorted({row[0] for row in found} - {row[0] for row in expected})
        return ["missing", len(missing), missing[:3], "extra", len(extra), extra[:3]]
    return [
        (one, other)
        for one, other in zip(found, expected, strict=True)
        if one[1:5] != other[1:5] or abs(one[5] - other[5]) > 1e-6
    ]
