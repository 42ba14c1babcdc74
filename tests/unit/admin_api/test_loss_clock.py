"""The loss clock: a candle is lost when it is no longer one of the newest that the exchange sends."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from admin_api.coverage.loss import Loss, describe, limited, loss_of
from admin_api.coverage.loss_metrics import soonest
from admin_api.coverage.next_losses import soonest_first
from contracts.coverage import to_instant, to_milliseconds
from contracts.pages import horizon_of
from contracts.timeframes import shift

MINUTE = 60_000
NINE = to_milliseconds(datetime(2026, 11, 27, 9, tzinfo=UTC))


@given(
    timeframe=st.sampled_from(["1m", "5m", "1h", "1d", "1w", "1M"]),
    readable=st.integers(1, 800),
    age=st.integers(0, 900),
)
def test_the_loss_and_the_horizon_agree_to_the_millisecond(timeframe: str, readable: int, age: int) -> None:
    opens = horizon_of(timeframe, 1, NINE)
    assert opens is not None
    candle = shift(timeframe, opens, -min(age, 400))
    lost_at = loss_of(timeframe, readable, (candle, shift(timeframe, candle, 1))).at
    before, after = horizon_of(timeframe, readable, lost_at - 1), horizon_of(timeframe, readable, lost_at)
    assert before is not None
    assert after is not None
    assert before <= candle < after or after == 0


def test_the_clock_is_a_sentence() -> None:
    loss = loss_of("1m", 720, (NINE, NINE + 12 * MINUTE))
    assert loss.at == NINE + 720 * MINUTE
    found = describe(loss, loss.at - 192 * MINUTE)
    assert found.text == "2026-11-27 09:00 to 2026-11-27 09:12 UTC begins to be lost forever in 3 h 12 min"
    assert (found.start, found.lost_at) == (to_instant(NINE), to_instant(loss.at))
    assert "in 2 d 3 h" in describe(Loss((NINE, NINE + MINUTE), NINE + 51 * 60 * MINUTE), NINE).text


def test_only_exchanges_with_a_known_limit_have_a_clock() -> None:
    assert limited("binance", "BTC/USDT", "1m") is None
    assert limited("no-such-exchange", "BTC/USDT", "1m") is None
    kraken = limited("kraken", "BTC/USD", "1m")
    assert kraken is not None
    assert kraken.newest_readable == 720


def test_the_margin_ends_two_intervals_before_the_loss_and_the_smallest_counts() -> None:
    kraken, hours = limited("kraken", "BTC/USD", "1m"), limited("kraken", "BTC/USD", "1h")
    assert kraken is not None
    assert hours is not None
    near = Loss((NINE, NINE + MINUTE), NINE + 60 * MINUTE)
    far = Loss((NINE, NINE + MINUTE), NINE + 90 * MINUTE)
    assert soonest([(kraken, 10, near), (hours, 60, far)], NINE) == {"kraken": (3600.0, -1800.0)}
    assert soonest([(kraken, 10, near)], NINE) == {"kraken": (3600.0, 2400.0)}
    assert soonest([], NINE) == {}


def test_losses_at_risk_come_first_then_the_earliest() -> None:
    kraken, hours = limited("kraken", "BTC/USD", "1m"), limited("kraken", "BTC/USD", "1h")
    assert kraken is not None
    assert hours is not None
    early = Loss((NINE, NINE + MINUTE), NINE + 60 * MINUTE)
    late = Loss((NINE, NINE + MINUTE), NINE + 90 * MINUTE)
    listed = soonest_first([(kraken, 10, late), (kraken, 10, early), (hours, 60, late)], NINE)
    assert [(each.timeframe, each.at_risk, each.lost_at) for each in listed] == [
        ("1h", True, to_instant(late.at)),
        ("1m", False, to_instant(early.at)),
        ("1m", False, to_instant(late.at)),
    ]
    assert "2026-11-27 09:00 to 2026-11-27 09:01 UTC" in listed[0].text
