"""Metrics of the collector. `runtime.metrics` has the metrics that all consumers share."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_RUN_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 20, 30, 60, 90, 120, 180)
_LATE_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_WAIT_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60)


class CollectorMetrics:
    """Create one instance per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.runs = Counter(
            "candlekeep_runs",
            "Runs that ended, by status and trigger.",
            ("exchange", "status", "trigger"),
            registry=registry,
        )
        self.run_errors = Counter(
            "candlekeep_run_errors",
            "Runs that failed or were skipped, by the error class in the run log.",
            ("exchange", "error_class"),
            registry=registry,
        )
        self.run_duration = Histogram(
            "candlekeep_run_duration_seconds",
            "Seconds from the start of a run to its end, including retries and waits for the rate limit. Runs of "
            "ranges do not count.",
            ("exchange",),
            buckets=_RUN_SECONDS,
            registry=registry,
        )
        self.tick_lateness = Histogram(
            "candlekeep_tick_lateness_seconds",
            "Seconds from the scheduled time of a tick to the start of its run.",
            ("trigger",),
            buckets=_LATE_SECONDS,
            registry=registry,
        )
        self.range_wait = Histogram(
            "candlekeep_range_wait_seconds",
            "Seconds from the request of a range to the start of its run.",
            ("exchange",),
            buckets=_LATE_SECONDS,
            registry=registry,
        )
        self.runs_in_flight = Gauge("candlekeep_runs_in_flight", "Runs in progress.", registry=registry)
        self.duplicate_ticks = Counter(
            "candlekeep_duplicate_ticks",
            "Ticks and range requests whose run was already in progress or finished in this process.",
            registry=registry,
        )
        self.candles = Counter(
            "candlekeep_candles_collected",
            "Closed, valid candles that Kafka acknowledged.",
            ("exchange", "timeframe"),
            registry=registry,
        )
        self.pages = Counter(
            "candlekeep_pages_read", "Pages of candles that were read and valid.", ("exchange",), registry=registry
        )
        self.invalid_activity = Counter(
            "candlekeep_invalid_activity",
            "Trade counts and quote volumes of exchanges that are no such numbers. The candle is stored without them.",
            ("exchange", "field"),
            registry=registry,
        )
        self.rejected_rows = Counter(
            "candlekeep_rejected_rows",
            "Rows that cannot be candles and that the exchange sent twice, counted in each run that reads them.",
            ("exchange", "timeframe"),
            registry=registry,
        )
        self.requests = Counter(
            "candlekeep_exchange_requests",
            "Requests to an exchange by outcome: ok, or the error class.",
            ("exchange", "outcome"),
            registry=registry,
        )
        self.retries = Counter(
            "candlekeep_exchange_retries",
            "Requests that were repeated, by the error class of the failed request.",
            ("exchange", "error_class"),
            registry=registry,
        )
        self.exchange_state = Gauge(
            "candlekeep_exchange_state",
            "1 for the circuit state of the exchange in this collector, 0 for all others: ok, throttled, banned, "
            "maintenance, unreachable.",
            ("exchange", "state"),
            registry=registry,
        )
        self.exchange_state_changes = Counter(
            "candlekeep_exchange_state_changes",
            "Changes of an exchange's circuit to this state.",
            ("exchange", "state"),
            registry=registry,
        )
        self.runs_deferred = Counter(
            "candlekeep_runs_deferred",
            "Runs that left timeframes uncollected only because the exchange's circuit was open. A later run collects "
            "them.",
            ("exchange", "error_class"),
            registry=registry,
        )
        self.inactive_markets = Counter(
            "candlekeep_inactive_market_timeframes",
            "Timeframes that were collected although the exchange says that the market is not active, or no longer "
            "lists it. Their notes in the run log name the market.",
            ("exchange",),
            registry=registry,
        )
        self.rate_limit_wait = Histogram(
            "candlekeep_rate_limit_wait_seconds",
            "Seconds that a request waited because of the exchange's rate limit.",
            ("exchange",),
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.markets = Gauge(
            "candlekeep_markets_loaded",
            "Known markets of an exchange, by kind: spot or swap.",
            ("exchange", "kind"),
            registry=registry,
        )
        self.clock_skew = Gauge(
            "candlekeep_exchange_clock_skew_seconds",
            "Seconds by which the exchange's clock is ahead of the collector's, from the Date headers of responses; at "
            "most one second too low.",
            ("exchange",),
            registry=registry,
        )
