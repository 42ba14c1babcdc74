"""The settings of a simulator. They are frozen: tests create new settings instead of changing them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recording that replaces the synthetic candles of one market, as CSV files in the order of time."""

    exchange: str
    symbol: str
    timeframe: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    host: str = "127.0.0.1"
    port: int = 9900
    """0: any free port."""
    seed: int = 7
    silent_share: float = 0.02
    """Share of minutes without a trade, from 0 to 0.9. Coinbase omits them, Kraken shows flat candles."""
    replays: tuple[Replay, ...] = ()
    shift_to_ms: int | None = None
    """The time to which the first row of each recording is moved, rounded down to the recording's timeframe."""
    start_at_ms: int | None = None
    """The simulated time at the start; it continues from there. Default: real time."""
    requests_per_second: float | None = None
    """The rate limit per exchange, above which it returns 429. Default: no limit."""
    log_size: int = 10_000
    """The number of requests in the log."""
    wall: Callable[[], float] = time.time
