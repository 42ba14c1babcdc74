"""Requests of the reader to exchanges with very narrow pages."""

import pytest

from collector.candles.page_requests import PageRequest
from collector.candles.pages import SeriesCalendar, read_page
from collector.candles.reading import SeriesReader
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import PendingSpan, SeriesProgress, to_instant
from contracts.spans import subtract

MINUTE = 60_000
NOW = 1_800_000_000_000 + MINUTE // 2
NEWEST = NOW // MINUTE * MINUTE
OPENS = range(NEWEST - 200 * MINUTE, NEWEST + 1, MINUTE)
PAGE_LIMIT = 10


@pytest.mark.parametrize("width", [1, 2, 3, PAGE_LIMIT])
@pytest.mark.parametrize(("length", "attempts"), [(1, 0), (1, 3), (7, 3)])
def test_a_hole_is_read_from_an_exchange_that_sends_the_newest_rows_before_the_end(
    width: int, length: int, attempts: int
) -> None:
    """Steps are halved with each attempt, so a long hole needs some runs."""
    traits = ExchangeTraits()
    hole = (NEWEST - 100 * MINUTE, NEWEST - (100 - length) * MINUTE)
    pending = PendingSpan(start=to_instant(hole[0]), end=to_instant(hole[1]), attempts=attempts)
    progress = SeriesProgress(timeframe="1m", anchor=to_instant(NEWEST - 12 * MINUTE), pending=(pending,))
    reader = SeriesReader(traits, progress, PAGE_LIMIT, NOW, honours_until=True)
    calendar = SeriesCalendar.of(traits, "1m")
    while (request := reader.next_request(NOW)) is not None:
        reader.receive(read_page(traits, calendar, newest_rows(request, width), since=request.since, now=NOW), NOW)
    assert subtract([hole], reader.verified) == ()


def newest_rows(request: PageRequest, width: int) -> list[list[float]]:
    end = request.until or NOW
    opens = [at for at in OPENS if request.since <= at < end]
    return [[at, 1.0, 2.0, 0.5, 1.5, 1.0] for at in opens[-width:]]
