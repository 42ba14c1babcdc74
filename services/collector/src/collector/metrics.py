"""What a collector measures about itself, each with a sentence. What all consumers share is in `runtime.metrics`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_RUN_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 20, 30, 60, 90, 120, 180)
_LATE_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_WAIT_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60)


class CollectorMetrics:
    """Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.runs = Counter(
            "candlekeep_runs",
            "Runs that ended, by how they ended and why they existed.",
            ("exchange", "status", "trigger"),
            registry=registry,
        )
        self.run_errors = Counter(
            "candlekeep_run_errors",
            "Runs that failed or were skipped, by the class of the error in the run log.",
            ("exchange", "error_class"),
            registry=registry,
        )
        self.run_duration = Histogram(
            "candlekeep_run_duration_seconds",
            "From taking up a tick to the end of its run, throttle and retries included.",
            ("exchange",),
            buckets=_RUN_SECONDS,
            registry=registry,
        )
        self.tick_lateness = Histogram(
            "candlekeep_tick_lateness_seconds",
            "From the instant that a tick was scheduled for to the start of its run.",
            ("trigger",),
            buckets=_LATE_SECONDS,
            registry=registry,
        )
        self.runs_in_flight = Gauge("candlekeep_runs_in_flight", "Runs being carried out right now.", registry=registry)
        self.duplicate_ticks = Counter(
            "candlekeep_duplicate_ticks", "Ticks whose run was in hand or done here already.", registry=registry
        )
        self.candles = Counter(
            "candlekeep_candles_collected",
            "Closed, valid candles that Kafka acknowledged.",
            ("exchange", "timeframe"),
            registry=registry,
        )
        self.pages = Counter(
            "candlekeep_pages_read", "Good answers to requests for candles.", ("exchange",), registry=registry
        )
        self.requests = Counter(
            "candlekeep_exchange_requests",
            "Calls to an exchange by outcome: ok, or the class of the error.",
            ("exchange", "outcome"),
            registry=registry,
        )
        self.retries = Counter(
            "candlekeep_exchange_retries",
            "Requests that were repeated after an error of this class.",
            ("exchange", "error_class"),
            registry=registry,
        )
        self.exchange_state = Gauge(
            "candlekeep_exchange_state",
            "1 for the state that an exchange is in as seen from here, 0 for the others: ok, throttled, banned, "
            "maintenance, unreachable.",
            ("exchange", "state"),
            registry=registry,
        )
        self.exchange_state_changes = Counter(
            "candlekeep_exchange_state_changes",
            "Times that an exchange came into this state.",
            ("exchange", "state"),
            registry=registry,
        )
        self.runs_deferred = Counter(
            "candlekeep_runs_deferred",
            "Runs that left out all or some because their exchange was not well; a later run collects it.",
            ("exchange", "error_class"),
            registry=registry,
        )
        self.throttle_wait = Histogram(
            "candlekeep_rate_limit_wait_seconds",
            "How long a request waited for its turn under the exchange's rate limit.",
            ("exchange",),
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.markets = Gauge(
            "candlekeep_markets_loaded",
            "Markets known of an exchange, by kind: spot or swap.",
            ("exchange", "kind"),
            registry=registry,
        )
        self.clock_skew = Gauge(
            "candlekeep_exchange_clock_skew_seconds",
            "How far the exchange's clock is ahead of ours, from the dates of its answers; at most a second too low.",
            ("exchange",),
            registry=registry,
        )
