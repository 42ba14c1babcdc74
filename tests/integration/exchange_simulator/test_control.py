"""The control endpoints, the recordings and the program."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exchange_simulator import Replay, SimulatorSettings
from support.shared_data import shared_file

MINUTE, HOUR = 60_000, 3_600_000


async def send(served: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with served.http.request(method, served.base + path, json=body) as response:
        return response.status, await response.json()


async def test_health_names_the_exchanges(served: Any) -> None:
    assert "binance" in (await served.get("/health"))["exchanges"]


async def test_the_error_for_an_unknown_host_lists_the_known_hosts(served: Any) -> None:
    status, content = await send(served, "GET", "/api.mtgox.com/candles")
    assert status == 404
    assert "api.binance.com" in content["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("POST", "/control/moods", {"kind": "unknown"}, "kind must be one of"),
        ("POST", "/control/moods", None, "body must be JSON"),
        ("PUT", "/control/clock", {"noon": 1}, "the clock takes"),
        ("PUT", "/control/clock", {"now": "soon"}, "now must be"),
        ("PUT", "/control/clock", {"frozen": "yes"}, "frozen must be"),
        ("PUT", "/control/clock", {"offset_ms": 5, "frozen": True}, "must be the only field"),
        ("GET", "/control/requests?since_id=x", None, "since_id"),
        ("GET", "/control/truth?exchange=mtgox", None, "exchange must be"),
        ("GET", "/control/truth?exchange=okx&symbol=NO/PE", None, "no symbol"),
        ("GET", "/control/truth?exchange=okx&symbol=BTC/USDT&timeframe=7m", None, "timeframe must be"),
        ("GET", "/control/truth?exchange=okx&symbol=BTC/USDT&timeframe=1m&start=0", None, "more than"),
        ("GET", "/control/truth?exchange=okx&symbol=BTC/USDT&timeframe=1m&start=x", None, "start must be"),
        ("GET", "/control/series?exchange=okx&symbol=NO/PE", None, "no symbol"),
        ("DELETE", "/control/moods/last", None, "id of a mood"),
        ("PUT", "/control/histories", [], "JSON object"),
        ("PUT", "/control/histories", {"exchange": "mtgox"}, "exchange must be"),
        ("PUT", "/control/histories", {"exchange": "okx", "symbol": "NO/PE"}, "no symbol"),
        ("PUT", "/control/histories", {"exchange": "okx", "color": 1}, "history.color"),
        ("PUT", "/control/histories", {"exchange": "okx", "silences": [[5, 1]]}, "must end after"),
    ],
)
async def test_invalid_input_gets_a_400_with_the_reason(
    served: Any, method: str, path: str, body: Any, reason: str
) -> None:
    status, content = await send(served, method, path, body)
    assert status == 400
    assert reason in content["error"]


async def test_the_clock_can_be_set_stopped_shifted_and_reset(served: Any) -> None:
    _, clock = await send(served, "PUT", "/control/clock", {"now": "2024-02-01T00:00:30Z", "frozen": True})
    assert clock == {"now_ms": 1_706_745_630_000, "frozen": True, "offset_ms": 0}
    client = await served.ccxt("binance")
    rows = await client.fetch_ohlcv("BTC/USDT", "1m", limit=1)
    assert rows[0][0] == 1_706_745_600_000
    assert (await send(served, "PUT", "/control/clock", {"offset_ms": -1_000}))[1]["now_ms"] == served.now_ms - 1_000
    assert (await send(served, "PUT", "/control/clock", {}))[1]["now_ms"] == served.now_ms


async def test_requests_are_logged_with_mood_and_status(served: Any) -> None:
    client = await served.ccxt("okx")
    await served.mood(kind="rate_limit", symbol="BTC/USDT", count=1)
    with pytest.raises(Exception, match="50011"):
        await client.fetch_ohlcv("BTC/USDT", "1m", limit=3)
    await client.fetch_ohlcv("BTC/USDT", "1m", limit=3)
    markets, refused, answered = await served.get("/control/requests", exchange="okx")
    assert markets["path"] == "/api/v5/public/instruments"
    assert (refused["status"], refused["mood"], refused["symbol"]) == (429, "rate_limit", "BTC/USDT")
    assert (answered["status"], answered["mood"]) == (200, None)
    assert answered["query"] == {"instId": "BTC-USDT", "bar": "1m", "limit": "3"}
    assert answered["duration_ms"] > 0
    assert await served.get("/control/requests", since_id=str(refused["id"])) == [answered]
    await send(served, "DELETE", "/control/requests")
    assert await served.get("/control/requests") == []


async def test_a_reset_is_logged_without_a_status(served: Any) -> None:
    await served.mood(kind="reset")
    with pytest.raises(aiohttp.ClientError):
        await served.get("/api.kraken.com/0/public/Time")
    assert {entry["status"] for entry in await served.get("/control/requests")} == {None}


async def test_moods_are_listed_until_they_are_deleted(served: Any) -> None:
    await served.mood(kind="latency", latency_ms=1, exchange="okx")
    (mood,) = await served.get("/control/moods")
    assert (mood["kind"], mood["exchange"], mood["met"]) == ("latency", "okx", 0)
    assert await send(served, "DELETE", "/control/moods") == (200, {"cleared": 1})
    assert await served.get("/control/moods") == []


async def test_requests_above_the_configured_rate_get_429_with_retry_after(serve: Any) -> None:
    served = await serve(SimulatorSettings(requests_per_second=3))

    async def send_request() -> tuple[int, str | None]:
        async with served.http.get(f"{served.base}/www.okx.com/api/v5/public/time") as response:
            return response.status, response.headers.get("Retry-After")

    responses = await asyncio.gather(*(send_request() for _ in range(5)))
    assert sorted(responses, key=str) == [(200, None)] * 3 + [(429, "1")] * 2


def csv_rows(path: Path) -> list[list[float]]:
    return [[float(field) for field in line.split(",")] for line in path.read_text().splitlines()[1:]]


async def read_all(client: Any, symbol: str, first: int, last: int, limit: int) -> list[list[float]]:
    rows: list[list[float]] = []
    at = first
    while at <= last:
        page = await client.fetch_ohlcv(symbol, "1m", at, limit)
        rows += page
        at = page[-1][0] + MINUTE if page else at + limit * MINUTE
    return rows


RECORDINGS = [
    ("binance", "BTC/BUSD", ["binance/BTCBUSD-1m-20221213.csv"], 1_000),
    ("bybit", "BTC/USDT", ["bybit/BTCUSDT-1m-20221213.csv"], 1_000),
    ("bybit", "BTC/USDT:USDT", ["bybit-futures/BTCUSDT-1m-20221213.csv"], 1_000),
    ("coinbase", "BTC/USD", ["coinbase/BTCUSD-1m-20161007.csv", "coinbase/BTCUSD-1m-20161008.csv"], 300),
    ("coinbase", "BTC/EUR", ["coinbase/BTCEUR-1m-20180404.csv"], 300),
    ("okx", "BTC/USDT", ["coinbase/BTCUSD-1m-20161008.csv"], 300),
]


@pytest.mark.parametrize(("exchange", "symbol", "files", "limit"), RECORDINGS)
async def test_ccxt_reads_every_row_of_a_recording(
    serve: Any, exchange: str, symbol: str, files: list[str], limit: int
) -> None:
    paths = tuple(shared_file(f"data/lean/{name}") for name in files)
    recorded = [row for path in paths for row in csv_rows(path)]
    replay = Replay(exchange=exchange, symbol=symbol, timeframe="1m", paths=paths)
    first, last = int(recorded[0][0]), int(recorded[-1][0])
    served = await serve(SimulatorSettings(replays=(replay,)), now_ms=last + 3 * HOUR)
    client = await served.ccxt(exchange, spot_only=":" not in symbol)
    assert await read_all(client, symbol, first, last, limit) == recorded
    assert await served.truth(exchange, symbol, "1m", start=first) == recorded


async def test_kraken_shows_the_last_twelve_hours_of_a_shifted_recording(serve: Any) -> None:
    path = shared_file("data/lean/coinbase/BTCUSD-1m-20161008.csv")
    now = 1_760_000_030_000
    replay = Replay(exchange="kraken", symbol="BTC/USD", timeframe="1m", paths=(path,))
    served = await serve(SimulatorSettings(replays=(replay,), shift_to_ms=now - 15 * HOUR), now_ms=now)
    client = await served.ccxt("kraken")
    rows = (await client.fetch_ohlcv("BTC/USD", "1m", now - 10 * HOUR))[:-1]
    recorded = csv_rows(path)
    shift = (now - 15 * HOUR) // MINUTE * MINUTE - int(recorded[0][0])
    shifted = [[row[0] + shift, *row[1:]] for row in recorded]
    assert rows == [row for row in shifted if rows[0][0] <= row[0] <= rows[-1][0]]
    assert 400 < len(rows) < 600


async def test_the_program_runs_until_sigterm_and_exits_with_0() -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exchange_simulator", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    line = (await asyncio.wait_for(program.stdout.readline(), 20)).decode()
    base = line.split()[-1]
    async with aiohttp.ClientSession() as http, http.get(f"{base}/health") as response:
        assert response.status == 200
    program.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(program.wait(), 10) == 0
