"""ccxt classes see the page moods, histories and refusals of the simulator, on every simulated exchange."""

from typing import Any

import ccxt.async_support as ccxt
import pytest

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
EXCHANGES = ["binance", "kraken", "coinbase", "bybit", "okx"]
SYMBOL = "BTC/USDT"


def opens(rows: list[list[float]]) -> list[int]:
    return [int(row[0]) for row in rows]


async def set_history(served: Any, **facts: Any) -> None:
    async with served.http.put(f"{served.base}/control/histories", json=facts) as response:
        assert response.status == 200, await response.text()


async def clear_moods(served: Any) -> None:
    async with served.http.delete(f"{served.base}/control/moods") as response:
        assert response.status == 200


async def series(served: Any, exchange: str, start: int, timeframe: str = "1m") -> Any:
    query = {"exchange": exchange, "symbol": SYMBOL, "timeframe": timeframe, "start": start}
    return await served.get("/control/series", **query)


def last_closed(served: Any) -> int:
    """The open time of the last closed minute."""
    return int(served.now_ms // MINUTE * MINUTE - MINUTE)


class TestPages:
    """The rows that a page shows."""

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_a_page_is_narrower_than_requested(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="page", exchange=exchange, page={"window_candles": 7})
        since = last_closed(served) - HOUR
        rows = await client.fetch_ohlcv(SYMBOL, "1m", since, 30)
        assert 1 <= len(rows) <= 7
        assert since <= rows[0][0]
        assert rows[-1][0] < since + 7 * MINUTE
        await clear_moods(served)
        assert len(await client.fetch_ohlcv(SYMBOL, "1m", since, 30)) > 7

    async def test_a_narrow_page_in_a_long_silence_is_empty_although_trades_follow(self, served: Any) -> None:
        client = await served.ccxt("binance")
        now, since = last_closed(served), last_closed(served) - 42 * HOUR
        silence = [since + HOUR, since + 41 * HOUR]
        await set_history(served, exchange="binance", symbol=SYMBOL, fills=False, silences=[silence])
        rows = await client.fetch_ohlcv(SYMBOL, "1m", since, 100)
        assert opens(rows) == [*range(since, silence[0], MINUTE), *range(silence[1], silence[1] + 40 * MINUTE, MINUTE)]
        await served.mood(kind="page", exchange="binance", page={"window_candles": 500})
        assert await client.fetch_ohlcv(SYMBOL, "1m", silence[0], 1_000) == []
        known = await series(served, "binance", since)
        assert known["offered"] == opens(known["candles"])
        assert known["offered"][-1] == now

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_an_ignored_since_gives_the_newest_rows(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="page", exchange=exchange, timeframe="1m", page={"since": "ignored", "max_rows": 20})
        rows = await client.fetch_ohlcv(SYMBOL, "1m", last_closed(served) - 5 * HOUR, 100)
        assert rows[0][0] >= last_closed(served) - 30 * MINUTE
        assert rows[-1][0] >= last_closed(served) - 2 * MINUTE

    @pytest.mark.parametrize("exchange", ["binance", "kraken", "bybit", "okx"])
    async def test_an_exclusive_since_loses_its_candle(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        since = last_closed(served) - HOUR
        assert (await client.fetch_ohlcv(SYMBOL, "1m", since, 5))[0][0] == since
        await served.mood(kind="page", exchange=exchange, page={"since": "exclusive"})
        assert (await client.fetch_ohlcv(SYMBOL, "1m", since, 5))[0][0] == since + MINUTE

    @pytest.mark.parametrize("exchange", ["binance", "bybit"])
    async def test_a_since_before_the_horizon_is_moved_to_it(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="page", exchange=exchange, page={"horizon": 50})
        rows = await client.fetch_ohlcv(SYMBOL, "1m", last_closed(served) - DAY, 10)
        assert rows[0][0] == last_closed(served) - 48 * MINUTE
        known = await series(served, exchange, last_closed(served) - HOUR)
        assert known["offered"] == opens(known["candles"])[-49:]

    async def test_a_file_ends_at_midnight(self, served: Any) -> None:
        client = await served.ccxt("binance")
        await served.mood(kind="page", exchange="binance", page={"files": True})
        midnight = served.now_ms // DAY * DAY
        rows = await client.fetch_ohlcv(SYMBOL, "1m", midnight - 5 * MINUTE, 1_000)
        assert opens(rows) == list(range(midnight - 5 * MINUTE, midnight, MINUTE))

    async def test_the_newest_rows_of_a_window_are_sent_first(self, served: Any) -> None:
        client = await served.ccxt("binance")
        await served.mood(kind="page", exchange="binance", page={"newest_rows": True, "order": "reversed"})
        rows = await client.fetch_ohlcv(SYMBOL, "1m", last_closed(served) - 5 * HOUR, 10)
        assert opens(rows)[0] == last_closed(served) - 8 * MINUTE

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_an_endpoint_lags_for_some_requests(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="page", exchange=exchange, every=2, page={"lag_minutes": 4})
        newest = [(await client.fetch_ohlcv(SYMBOL, "1m", last_closed(served) - HOUR, 100))[-1][0] for _ in range(4)]
        assert newest[0] == newest[2]
        assert newest[1] == newest[3] <= last_closed(served) - 4 * MINUTE < newest[0]

    async def test_a_quiet_minute_is_published_late(self, served: Any) -> None:
        client = await served.ccxt("okx")
        page = {"late_minutes": 5, "late_share": 0.5}
        await served.mood(kind="page", exchange="okx", page=page)
        since = last_closed(served) - 10 * MINUTE
        rows = opens(await client.fetch_ohlcv(SYMBOL, "1m", since, 20))
        known = await series(served, "okx", since)
        assert known["offered"] == [open_ms for open_ms in rows if open_ms <= last_closed(served)]
        assert known["offered"] != opens(known["candles"])

    @pytest.mark.parametrize("exchange", EXCHANGES)
    @pytest.mark.parametrize("variant", ["open_below_low", "zeros", "negative_volume", "disagreeing", "unaligned"])
    async def test_an_impossible_row_is_repeated_until_the_mood_ends(
        self, served: Any, exchange: str, variant: str
    ) -> None:
        client = await served.ccxt(exchange)
        since = last_closed(served) - HOUR
        usual = await client.fetch_ohlcv(SYMBOL, "1m", since, 30)
        bad = int(usual[3][0])
        await served.mood(kind="page", exchange=exchange, count=2, page={"impossible": variant, "impossible_at": [bad]})
        assert (await series(served, exchange, since))["impossible"] == [bad]
        replies = [await client.fetch_ohlcv(SYMBOL, "1m", since, 30) for _ in range(3)]
        assert replies[0] == replies[1] != usual
        assert replies[2] == usual
        assert (await series(served, exchange, since))["impossible_shown"] == [[bad, 2]]

    async def test_labels_can_be_the_end_of_the_bar(self, served: Any) -> None:
        client = await served.ccxt("bybit")
        since = last_closed(served) - HOUR
        usual = await client.fetch_ohlcv(SYMBOL, "5m", since, 5)
        await served.mood(kind="page", exchange="bybit", timeframe="5m", page={"label_end": True})
        labelled = await client.fetch_ohlcv(SYMBOL, "5m", since, 6)
        assert [row[1:] for row in labelled[1:]] == [row[1:] for row in usual]
        assert (await client.fetch_ohlcv(SYMBOL, "5m", limit=1))[0][0] > served.now_ms

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_days_can_open_at_another_time(self, served: Any, exchange: str) -> None:
        await set_history(served, exchange=exchange, utc_offset_hours=8)
        client = await served.ccxt(exchange)
        rows = await client.fetch_ohlcv(SYMBOL, "1d", served.now_ms - 10 * DAY, 5)
        assert {row[0] % DAY for row in rows} == {16 * HOUR}
        truth = await served.truth(exchange, SYMBOL, "1d", start=int(rows[0][0]), end=int(rows[-1][0]) + 1)
        assert rows == truth

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_rows_can_come_unsorted_and_twice(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        client.parse_ohlcvs = lambda rows, *_: [client.parse_ohlcv(row) for row in rows]
        since = last_closed(served) - HOUR
        await served.mood(kind="page", exchange=exchange, page={"order": "shuffled", "repeat_borders": True})
        rows = opens(await client.fetch_ohlcv(SYMBOL, "1m", since, 30))
        assert sorted(rows) not in (rows, rows[::-1])
        assert len(rows) == len(set(rows)) + 2

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_an_exchange_answers_nothing_for_a_while_although_it_traded(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        since = last_closed(served) - HOUR
        hidden = [[since - DAY, served.now_ms + DAY]]
        await served.mood(kind="page", exchange=exchange, count=1, page={"hidden": hidden})
        known = await series(served, exchange, since)
        assert (known["offered"], len(known["candles"]) > 50) == ([], True)
        assert await client.fetch_ohlcv(SYMBOL, "1m", since, 30) == []
        assert len(await client.fetch_ohlcv(SYMBOL, "1m", since, 30)) >= 25


class TestHistories:
    """The candles that exist, and the markets that are listed."""

    @pytest.mark.parametrize("exchange", EXCHANGES)
    @pytest.mark.parametrize("fills", [True, False])
    async def test_a_silence_is_filled_or_omitted(self, served: Any, exchange: str, fills: bool) -> None:
        client = await served.ccxt(exchange)
        since = last_closed(served) - HOUR
        silence = [since + 10 * MINUTE, since + 50 * MINUTE]
        await set_history(served, exchange=exchange, fills=fills, silent_share=0, silences=[silence])
        rows = [row for row in await client.fetch_ohlcv(SYMBOL, "1m", since, 60) if row[0] <= last_closed(served)]
        silent = [row for row in rows if silence[0] <= row[0] < silence[1]]
        assert len(silent) == (40 if fills else 0)
        assert all(row[1] == row[4] and row[5] == 0 for row in silent)
        assert rows == await served.truth(exchange, SYMBOL, "1m", start=since, end=int(rows[-1][0]) + 1)

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_a_new_market_begins_two_hours_ago(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        listed = last_closed(served) // HOUR * HOUR - 2 * HOUR
        await set_history(served, exchange=exchange, symbol=SYMBOL, listed=listed, silent_share=0)
        rows = await client.fetch_ohlcv(SYMBOL, "1m", listed - 90 * MINUTE, 200)
        assert opens(rows)[0] == listed
        assert len(await client.fetch_ohlcv("ETH/USDT", "1m", listed - 90 * MINUTE, 200)) > len(rows)

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_a_delisted_market_is_not_active_and_keeps_its_old_candles(self, served: Any, exchange: str) -> None:
        end = last_closed(served) - HOUR
        await set_history(served, exchange=exchange, symbol=SYMBOL, status="inactive", delisted=end)
        client = await served.ccxt(exchange)
        assert client.markets[SYMBOL]["active"] is False
        assert client.markets["ETH/USDT"]["active"] is True
        assert (await client.fetch_ohlcv(SYMBOL, "1m", end - 10 * MINUTE, 5))[-1][0] < end
        assert await client.fetch_ohlcv(SYMBOL, "1m", end, 5) == []

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_a_vanished_market_is_refused_and_not_listed(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await set_history(served, exchange=exchange, symbol=SYMBOL, status="vanished")
        with pytest.raises(ccxt.ExchangeError):
            await client.fetch_ohlcv(SYMBOL, "1m", limit=5)
        await client.load_markets(True)
        assert SYMBOL not in client.markets
        assert "ETH/USDT" in client.markets


class TestRefusals:
    """Refusals and their words."""

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_a_negative_since_is_refused(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        with pytest.raises(ccxt.ExchangeError):
            await client.fetch_ohlcv(SYMBOL, "1m", -83 * 365 * DAY, 5)

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_a_since_that_is_too_old_is_refused(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="page", exchange=exchange, page={"oldest_since": last_closed(served) - DAY})
        with pytest.raises(ccxt.ExchangeError):
            await client.fetch_ohlcv(SYMBOL, "1m", last_closed(served) - 2 * DAY, 5)
        assert await client.fetch_ohlcv(SYMBOL, "1m", last_closed(served) - HOUR, 5)

    @pytest.mark.parametrize("text", ["1771404540", "60000", "-5", "soon", "1e400", "9" * 400, ""])
    async def test_retry_after_can_be_nonsense(self, served: Any, text: str) -> None:
        client = await served.ccxt("okx")
        await served.mood(kind="rate_limit", exchange="okx", retry_after_text=text)
        with pytest.raises(ccxt.RateLimitExceeded):
            await client.fetch_ohlcv(SYMBOL, "1m", limit=5)
        assert client.last_response_headers["Retry-After"] == text

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_the_end_of_a_ban_can_stand_in_the_message_only(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="ban_in_body", exchange=exchange, ban_seconds=300)
        with pytest.raises(ccxt.BaseError, match=f"IP banned until {served.now_ms + 300_000}"):
            await client.fetch_ohlcv(SYMBOL, "1m", limit=5)
        assert "Retry-After" not in client.last_response_headers

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_candles_can_need_credentials(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="credentials", exchange=exchange, candles=True)
        with pytest.raises(ccxt.AuthenticationError):
            await client.fetch_ohlcv(SYMBOL, "1m", limit=5)
        await client.load_markets(True)

    @pytest.mark.parametrize("exchange", EXCHANGES)
    async def test_a_country_can_be_blocked(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="blocked", exchange=exchange)
        words = "restricted location" if exchange == "binance" else "block access from your country"
        with pytest.raises(ccxt.BaseError, match=words):
            await client.fetch_ohlcv(SYMBOL, "1m", limit=5)
        assert (await served.get("/control/requests", exchange=exchange))[-1]["status"] in (403, 451)

    @pytest.mark.parametrize("exchange", ["binance", "kraken", "bybit", "okx"])
    async def test_a_refusal_with_status_200_is_an_error_where_ccxt_knows_it(self, served: Any, exchange: str) -> None:
        client = await served.ccxt(exchange)
        await served.mood(kind="refusal", exchange=exchange)
        with pytest.raises(ccxt.BaseError, match=r"[Bb]usy"):
            await client.fetch_ohlcv(SYMBOL, "1m", limit=5)
        assert (await served.get("/control/requests", exchange=exchange))[-1]["status"] == 200

    async def test_ccxt_does_not_notice_a_refusal_with_status_200_of_coinbase(self, served: Any) -> None:
        client = await served.ccxt("coinbase")
        await served.mood(kind="refusal", exchange="coinbase")
        assert await client.fetch_ohlcv(SYMBOL, "1m", limit=5) == []


async def test_many_slow_pages_are_a_latency_and_a_narrow_page(served: Any) -> None:
    client = await served.ccxt("okx")
    await served.mood(kind="page", exchange="okx", page={"max_rows": 10})
    await served.mood(kind="latency", exchange="okx", latency_ms=50, candles=True)
    rows = await client.fetch_ohlcv(SYMBOL, "1m", limit=300)
    assert len(rows) == 10
    (entry,) = (await served.get("/control/requests", exchange="okx"))[-1:]
    assert (entry["mood"], entry["duration_ms"] >= 50) == ("latency", True)


async def test_page_moods_are_logged_listed_and_removed_one_by_one(served: Any) -> None:
    client = await served.ccxt("okx")
    await served.mood(kind="page", exchange="okx", page={"max_rows": 10})
    await served.mood(kind="page", exchange="okx", page={"max_rows": 5})
    assert len(await client.fetch_ohlcv(SYMBOL, "1m", limit=300)) == 5
    assert (await served.get("/control/requests", exchange="okx"))[-1]["mood"] == "page"
    first, second = await served.get("/control/moods")
    assert (first["page"], second["page"]) == ({"max_rows": 10}, {"max_rows": 5})
    async with served.http.delete(f"{served.base}/control/moods/{second['id']}") as response:
        assert await response.json() == {"cleared": 1}
    assert len(await client.fetch_ohlcv(SYMBOL, "1m", limit=300)) == 10


async def test_histories_are_listed_and_deleted(served: Any) -> None:
    await set_history(served, exchange="okx", symbol=SYMBOL, listed="2025-10-09T08:00:00Z", status="inactive")
    (history,) = await served.get("/control/histories")
    assert history == {"exchange": "okx", "symbol": SYMBOL, "listed": 1_759_996_800_000, "status": "inactive"}
    async with served.http.delete(f"{served.base}/control/histories") as response:
        assert response.status == 200
    assert await served.get("/control/histories") == []
