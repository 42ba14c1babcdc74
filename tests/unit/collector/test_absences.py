"""The time of which an exchange no longer offers candles."""

import pytest

from collector.candles.absences import before_history
from collector.candles.pages import SeriesCalendar
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import traits_of

MINUTE = 60_000
NOW = 1_800_000_000_000
NEWEST = NOW // MINUTE * MINUTE
EVERY_SECOND_MINUTE = [NEWEST - 2 * MINUTE * index for index in range(720)]
CALENDAR = SeriesCalendar.of(ExchangeTraits(), "1m")


@pytest.mark.parametrize("exchange", ["binance", "no-such-exchange"])
def test_nothing_is_lost_on_an_exchange_without_a_known_limit(exchange: str) -> None:
    assert before_history(traits_of(exchange), CALENDAR, EVERY_SECOND_MINUTE, NOW) == ()


def test_kraken_offers_720_candles_however_old_they_are() -> None:
    assert before_history(traits_of("kraken"), CALENDAR, EVERY_SECOND_MINUTE, NOW) == ((0, NEWEST - 2 * 719 * MINUTE),)
    assert before_history(traits_of("kraken"), CALENDAR, EVERY_SECOND_MINUTE[:-1], NOW) == ()


def test_gateeu_offers_10000_periods_with_or_without_candles() -> None:
    assert before_history(traits_of("gateeu"), CALENDAR, (), NOW) == ((0, NEWEST - 9_999 * MINUTE),)
