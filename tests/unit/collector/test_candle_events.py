"""The division of a run's candles into events that Kafka accepts."""

import pytest

from collector.candles.page_requests import Proof
from collector.candles.pages import read_page
from collector.candles.reading import SeriesReader
from collector.exchange.client_options import CandleResponse
from collector.exchange.traits import ExchangeTraits
from collector.run.collector import candle_events
from collector.run.timeframe_run import Answer, TimeframeRun
from contracts.coverage import SeriesProgress, to_instant
from support.collecting import a_tick
from support.fake_collector_runs import MINUTE, NOW, NOW_MS, OPENING


@pytest.mark.parametrize("width", [1, 3])
async def test_a_page_larger_than_an_event_is_split(width: int) -> None:
    tick = a_tick()
    from contracts.candles import MAX_CANDLES_PER_EVENT, Candle

    rows = tuple(Candle(n * MINUTE, 1.0, 2.0, 0.5, 1.5, 9.0) for n in range(MAX_CANDLES_PER_EVENT * width + 1))
    answer = Answer(NOW, rows, Proof(((0, MINUTE),), ()))
    timeframe_run = TimeframeRun("BTC/USDT", "1m", SeriesProgress(timeframe="1m"), answers=[answer])
    events = list(candle_events(tick, timeframe_run))
    assert [len(event.rows) for event in events] == [MAX_CANDLES_PER_EVENT] * width + [1]
    assert [len(event.verified) for event in events] == [0] * width + [1], "after the rows that it vouches for"
    assert tuple(row for event in events for row in event.rows) == rows


KAFKA_LIMIT = 1_000_000


def a_long_run(rows: int) -> TimeframeRun:
    """A run that read one answer of this many rows, of which every second one cannot be a candle."""
    progress = SeriesProgress(timeframe="1m", anchor=to_instant(OPENING - rows * MINUTE))
    timeframe_run = TimeframeRun("BTC/USDT", "1m", progress)
    traits = ExchangeTraits()
    reader = timeframe_run.reader = SeriesReader(traits, progress, rows, NOW_MS)
    opens = range(OPENING - rows * MINUTE, OPENING, MINUTE)
    sent = [[at, 1.0, 0.1 if number % 2 else 2.0, 0.5, 1.5, 9.0, "x" * 600] for number, at in enumerate(opens)]
    for _ in range(2):  # a bad row counts when it is repeated
        request = reader.next_request(NOW_MS)
        assert request is not None
        page = read_page(traits, reader.calendar, sent, since=request.since, now=NOW_MS)
        timeframe_run.add(CandleResponse(sent, NOW_MS, NOW), page, reader.receive(page, NOW_MS))
    return timeframe_run


@pytest.mark.parametrize("rows", [1000, 6001])
def test_messages_fit_into_kafka_however_many_rows_are_rejected(rows: int) -> None:
    timeframe_run = a_long_run(rows)
    events = list(candle_events(a_tick(), timeframe_run))
    assert max(len(event.model_dump_json()) for event in events) < KAFKA_LIMIT
    assert sum(len(event.rejected) for event in events) == rows // 2 == timeframe_run.result().rejected_count
    assert len(timeframe_run.result().model_dump_json()) < KAFKA_LIMIT / 16, "a config may have 16 timeframes"


def test_no_event_vouches_for_candles_that_come_later() -> None:
    timeframe_run = a_long_run(6001)
    sent: set[int] = set()
    for event in candle_events(a_tick(), timeframe_run):
        sent |= {candle.open_ms for candle in event.rows}
        for start, end in (span.milliseconds() for span in event.verified):
            assert not {at for at in timeframe_run._collected if start <= at < end} - sent
