"""Builders of `CandlesCollected` events for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from contracts.candles import Candle, CandlesCollected

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOON_MS = 1_795_348_800_000
MINUTE_MS = 60_000


def a_candle(minute: int = 0, close: float = 100.0) -> Candle:
    """A candle that opens `minute` minutes after noon."""
    return Candle(NOON_MS + minute * MINUTE_MS, 100.0, 101.0, 99.0, close, 12.5)


def a_fetch(*rows: Candle, second: float = 0, **changes: Any) -> CandlesCollected:
    """Candles that were fetched `second` seconds after one o'clock."""
    fetched_at = NOON + timedelta(hours=1, seconds=second)
    values: dict[str, Any] = {
        "occurred_at": fetched_at,
        "run_id": uuid4(),
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "timeframe": "1m",
        "fetched_at": fetched_at,
        "rows": rows or (a_candle(),),
    }
    return CandlesCollected(**values | changes)


def a_fetch_beyond_the_contract(*rows: Candle, open_ms: int) -> CandlesCollected:
    """These candles and one more at a time that the contract refuses. No message contains such an event."""
    return a_fetch().model_copy(update={"rows": (*rows, a_candle()._replace(open_ms=open_ms))})
