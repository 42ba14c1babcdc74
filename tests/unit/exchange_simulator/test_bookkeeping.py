from exchange_simulator.clock import Clock
from exchange_simulator.rate_limit import RateLimit
from exchange_simulator.request_log import Entry, RequestLog


def an_entry(number: int, exchange: str = "binance") -> Entry:
    return Entry(number, 0, exchange, "GET", "/", {}, None, 200, None, 1.0)


def test_the_clock_is_real_time_until_it_is_set() -> None:
    wall = [1_000.0]
    clock = Clock(lambda: wall[0])
    assert clock.now_ms() == 1_000_000
    clock.run_from(5_000)
    wall[0] += 2
    assert clock.now_ms() == 7_000
    clock.freeze(9_000)
    wall[0] += 2
    assert clock.now_ms() == 9_000
    clock.shift(-4_000)
    assert clock.now_ms() == 1_000_000


def test_the_log_drops_the_oldest_entries_and_filters() -> None:
    log = RequestLog(2)
    for exchange in ("okx", "binance", "okx"):
        log.add(an_entry(log.next_id(), exchange))
    assert [entry["id"] for entry in log.entries(None, 0)] == [2, 3]
    assert [entry["id"] for entry in log.entries("okx", 0)] == [3]
    assert log.entries(None, 3) == []
    log.clear()
    assert log.entries(None, 0) == []
    assert log.next_id() == 4


def test_requests_above_the_limit_per_second_are_refused() -> None:
    limit = RateLimit(2)
    assert [limit.is_exceeded(now) for now in (0, 0.1, 0.2, 0.9, 1.05, 1.06)] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]
    assert not any(RateLimit(None).is_exceeded(0) for _ in range(100))


def test_the_weight_starts_at_zero_in_each_minute() -> None:
    limit = RateLimit(None)
    assert [limit.spend(2, now) for now in (0, 59, 60)] == [2, 4, 2]
