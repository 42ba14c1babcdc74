"""The state of the simulator: exchanges, clock, moods and request log."""

from collections.abc import Mapping

from exchange_simulator.clock import Clock
from exchange_simulator.dialects.binance import Binance
from exchange_simulator.dialects.bybit import Bybit
from exchange_simulator.dialects.coinbase import Coinbase
from exchange_simulator.dialects.dialect import Dialect
from exchange_simulator.dialects.kraken import Kraken
from exchange_simulator.dialects.okx import Okx
from exchange_simulator.markets import EXCHANGES
from exchange_simulator.moods import MoodBook
from exchange_simulator.rate_limit import RateLimit
from exchange_simulator.request_log import RequestLog
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.synthetic import Caches
from exchange_simulator.venue import Venue


class Simulator:
    """Raises replay.BadRecordingError if a recording in the settings cannot be read."""

    def __init__(self, settings: SimulatorSettings) -> None:
        caches = Caches()
        self.venues = {exchange: Venue(exchange, settings, caches) for exchange in EXCHANGES}
        self.by_host = {host: dialect for dialect in _dialects(self.venues) for host in dialect.hosts}
        self.clock = Clock(settings.wall)
        if settings.start_at_ms is not None:
            self.clock.run_from(settings.start_at_ms)
        self.moods = MoodBook(settings.seed)
        self.log = RequestLog(settings.log_size)
        self.rate_limits = {exchange: RateLimit(settings.requests_per_second) for exchange in EXCHANGES}


def _dialects(venues: Mapping[str, Venue]) -> tuple[Dialect, ...]:
    return (
        Binance(venues["binance"]),
        Kraken(venues["kraken"]),
        Coinbase(venues["coinbase"]),
        Bybit(venues["bybit"]),
        Okx(venues["okx"]),
    )
