"""What a simulator is made of. Frozen: tests build another one instead of patching."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recording that stands in for the synthetic candles of one market: CSV files that follow each other in time."""

    exchange: str
    symbol: str
    timeframe: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    host: str = "127.0.0.1"
    port: int = 9900
    """0 takes any free port."""
    seed: int = 7
    silent_share: float = 0.02
    """Share of minutes without a trade on Coinbase (left out) and Kraken (shown flat); 0 to 0.9."""
    replays: tuple[Replay, ...] = ()
    shift_to_ms: int | None = None
    """The instant that each recording's first row is moved to, rounded down to the recording's own timeframe."""
    start_at_ms: int | None = None
    """The simulated now at the start; time goes on from there. Real time when not given."""
    requests_per_second: float | None = None
    """Above so many requests in a second an exchange answers 429. Off when not given."""
    log_size: int = 10_000
    """Requests that the log remembers."""
    wall: Callable[[], float] = time.time
