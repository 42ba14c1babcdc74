"""Candles built from trades: equal to a simple model, and never from a tape with a hole."""

import csv
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.candles.pages import Page, SeriesCalendar
from collector.exchange.traits_table import traits_of
from collector.tape.building import Built, TapeTrade, build, contiguous, read_trade, reason_unproved
from collector.tape.overlap import OVERLAP_TRADES, Comparison, compare, in_words, overlap_of
from collector.tape.reading import LEADS_MS, TapeReader
from contracts.candles import Activity, Candle
from contracts.spans import Interval, subtract
from support.shared_data import shared_file

MINUTE = 60_000
START = 1_700_000_040_000
"""A whole minute."""
CALENDAR = SeriesCalendar.of(traits_of("kraken"), "1m")


def a_trade(number: int, at: int, price: str = "10", amount: str = "1") -> TapeTrade:
    return TapeTrade(number, START + at, Decimal(price), Decimal(amount))


@st.composite
def tapes(draw: st.DrawFn) -> list[TapeTrade]:
    """A whole tape: times ascend with ids, and many trades have the same time."""
    steps = draw(st.lists(st.sampled_from([0, 0, 1, 999, 1_000, 20_000, MINUTE, 200_000]), min_size=2, max_size=40))
    prices = st.integers(1, 10**7).map(lambda ticks: Decimal(ticks) / 1000)
    amounts = st.integers(1, 10**12).map(lambda lots: Decimal(lots) / 10**8)
    return [
        TapeTrade(100 + number, START - 2 * MINUTE + at, draw(prices), draw(amounts))
        for number, at in enumerate(accumulate(steps))
    ]


def modelled(tape: Sequence[TapeTrade], opens: int) -> Candle | None:
    """The candle of a minute from all trades. None without one."""
    inside = [each for each in tape if opens <= each.at < opens + MINUTE]
    if not inside:
        return None
    prices = [float(each.price) for each in inside]
    volume = float(sum((each.amount for each in inside), Decimal(0)))
    return Candle(opens, prices[0], max(prices), min(prices), prices[-1], volume)


def proved_minutes(built: Built) -> dict[int, Candle | None]:
    silent = {at: None for start, end in built.silent for at in range(start, end, MINUTE)}
    return silent | {each.candle.open_ms: each.candle for each in built.candles}


SPAN = (START, START + 10 * MINUTE)


@given(tapes(), st.randoms())
def test_a_whole_tape_gives_the_candles_of_the_model(tape: list[TapeTrade], random: Any) -> None:
    shuffled = [*tape, *random.sample(tape, len(tape) // 2)]
    random.shuffle(shuffled)

    built = build(SPAN, shuffled, CALENDAR)

    inside = [at for at in range(*SPAN, MINUTE) if tape[0].at < at and at + MINUTE <= tape[-1].at]
    assert proved_minutes(built) == {at: modelled(tape, at) for at in inside}
    assert built.unproved == subtract([SPAN], [(at, at + MINUTE) for at in inside])
    assert [each.trades for each in built.candles] == [
        sum(each.candle.open_ms <= one.at < each.candle.open_ms + MINUTE for one in tape) for each in built.candles
    ]


@given(tapes(), st.data())
def test_a_minute_with_a_missing_trade_is_never_proved(tape: list[TapeTrade], data: st.DataObject) -> None:
    missing = data.draw(st.sets(st.sampled_from(tape), min_size=1))

    built = build(SPAN, [each for each in tape if each not in missing], CALENDAR)

    proved = proved_minutes(built)
    assert proved == {at: modelled(tape, at) for at in proved}
    assert not [each for each in missing if CALENDAR.floor_open(each.at) in proved]


def test_two_different_trades_of_one_id_count_as_none() -> None:
    tape = [a_trade(1, -1), a_trade(2, 5), a_trade(3, MINUTE)]
    assert len(build((START, START + MINUTE), tape, CALENDAR).candles) == 1

    built = build((START, START + MINUTE), [*tape, a_trade(2, 5, price="11")], CALENDAR)

    assert built == Built(unproved=((START, START + MINUTE),))


def test_trades_out_of_order_shorten_the_proved_time() -> None:
    """A trade whose time is three seconds before that of the trade before it: others may be as late."""
    tape = [a_trade(1, -1), a_trade(2, 8_000), a_trade(3, 5_000), a_trade(4, 2 * MINUTE + 2_000)]

    built = build((START, START + 2 * MINUTE), tape, CALENDAR)

    assert built.unproved == ((START, START + 2 * MINUTE),)
    earlier_and_later = [a_trade(0, -4_000), *tape, a_trade(5, 3 * MINUTE)]
    assert len(build((START, START + 2 * MINUTE), earlier_and_later, CALENDAR).silent) == 1


def test_a_candle_whose_open_depends_on_the_order_is_not_proved() -> None:
    """By id it opens at 10, by time at 11."""
    tape = [
        a_trade(1, -MINUTE),
        a_trade(2, 8_000, "10"),
        a_trade(3, 5_000, "11"),
        a_trade(4, 9_000, "12"),
        a_trade(5, 3 * MINUTE),
    ]

    built = build((START, START + MINUTE), tape, CALENDAR)

    assert not built.candles
    assert built.unproved == ((START, START + MINUTE),)


@pytest.mark.parametrize(
    ("tape", "words"),
    [
        ([a_trade(2, 5), a_trade(3, MINUTE)], "no trade before them"),
        ([a_trade(1, -1), a_trade(3, 5), a_trade(4, MINUTE)], "missing between the ids 1 and 3"),
        ([a_trade(1, -1), a_trade(2, 9_000), a_trade(3, 1), a_trade(4, MINUTE)], "not in the order of their ids"),
    ],
)
def test_time_that_is_not_proved_has_a_reason(tape: list[TapeTrade], words: str) -> None:
    built = build((START, START + MINUTE), tape, CALENDAR)
    assert built.unproved
    assert words in reason_unproved(built, tape)


def test_sums_are_exact() -> None:
    """As floats, 0.1 + 0.2 is not 0.3."""
    tape = [a_trade(1, -1), a_trade(2, 1, amount="0.1"), a_trade(3, 2, amount="0.2"), a_trade(4, MINUTE)]

    [candle] = build((START, START + MINUTE), tape, CALENDAR).candles

    assert candle.candle.volume == 0.3


@pytest.mark.parametrize(
    "changed",
    [{"id": None}, {"id": "a-uuid"}, {"timestamp": None}, {"price": 0}, {"amount": None}, {"amount": float("nan")}],
)
def test_a_row_without_all_values_is_no_trade(changed: dict[str, Any]) -> None:
    row = {"id": "7", "timestamp": 5, "price": 0.1, "amount": 2, "info": ["0.1", "2"]}
    assert read_trade(row) == TapeTrade(7, 5, Decimal("0.1"), Decimal(2))
    assert read_trade(row | changed) is None


def test_an_aggregate_trade_counts_all_its_trades() -> None:
    row = {"id": "7", "timestamp": 5, "price": 0.1, "amount": 2, "info": {"a": 7, "f": 20, "l": 22}}
    assert read_trade(row) == TapeTrade(7, 5, Decimal("0.1"), Decimal(2), 3)


def answer_of(tape: Sequence[TapeTrade], since: int, limit: int) -> list[TapeTrade]:
    return sorted((each for each in tape if each.at >= since), key=lambda each: (each.at, each.id))[:limit]


@given(tapes(), st.integers(2, 7))
def test_pages_give_the_whole_tape_or_a_reason(tape: list[TapeTrade], limit: int) -> None:
    """Trades of one time may be on both sides of a page's border."""
    reader = TapeReader((START, START + 3 * MINUTE), START + 3_600_000, max_pages=100, page=limit)
    while (since := reader.next_since()) is not None:
        reader.receive(answer_of(tape, since, limit))

    if reader.stopped is None:
        assert len(contiguous(reader.trades)) == 1
        assert max(each.at for each in reader.trades) >= START + 3 * MINUTE
        if any(each.at < START for each in tape):
            expected = build((START, START + 3 * MINUTE), tape, CALENDAR)
            assert build((START, START + 3 * MINUTE), reader.trades, CALENDAR) == expected
    else:
        assert reader.pages < 100


def test_a_market_that_was_silent_before_the_span_is_read_from_further_before() -> None:
    tape = [a_trade(1, -LEADS_MS[2] + 1), a_trade(2, 5), a_trade(3, MINUTE)]
    reader = TapeReader((START, START + MINUTE), START + 3_600_000, max_pages=10)
    while (since := reader.next_since()) is not None:
        reader.receive(answer_of(tape, since, 1000))

    assert reader.pages == 3
    assert len(build((START, START + MINUTE), reader.trades, CALENDAR).candles) == 1


def test_more_trades_in_a_second_than_fit_in_a_page_stop_the_reading() -> None:
    tape = [a_trade(0, -1), *(a_trade(number, 5) for number in range(1, 10)), a_trade(10, MINUTE)]
    reader = TapeReader((START, START + MINUTE), START + 3_600_000, max_pages=100, page=4)
    while (since := reader.next_since()) is not None:
        reader.receive(answer_of(tape, since, 4))

    assert reader.stopped == "more trades in one second than a page has"
    assert not build((START, START + MINUTE), reader.trades, CALENDAR).candles


OWN = Candle(START, 10.0, 12.0, 9.0, 11.0, 4.0)
TAPE = [
    a_trade(1, -1),
    *(a_trade(number, number, price) for number, price in enumerate(("10", "12", "9", "11"), 2)),
    a_trade(6, 2 * MINUTE),
]


def own_page(*candles: Candle, trades: int | None = None) -> Page:
    activity = {} if trades is None else {each.open_ms: Activity(trades, None) for each in candles}
    return Page(tuple(each.open_ms for each in candles), candles, activity=activity)


def compared(page: Page) -> Comparison:
    overlap = (START, START + 2 * MINUTE)
    return compare(build(overlap, TAPE, CALENDAR), page, overlap, CALENDAR)


FLAT = Candle(START + MINUTE, 11.0, 11.0, 11.0, 11.0, 0.0)


@pytest.mark.parametrize("page", [own_page(OWN), own_page(OWN, FLAT), own_page(OWN, trades=4)])
def test_equal_candles_prove_the_trades(page: Page) -> None:
    comparison = compared(page)
    assert comparison.proves
    assert "1 candles from trades equal" in in_words(comparison, (START, START + 2 * MINUTE))


@pytest.mark.parametrize("field", Candle._fields[1:])
def test_every_field_is_compared(field: str) -> None:
    values = OWN._asdict() | {field: 10.5}
    comparison = compared(own_page(Candle(**values)))
    assert not comparison.proves
    assert comparison.difference is not None
    assert field in comparison.difference


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (own_page(OWN, trades=5), "4 trades, 5 in the candle"),
        (own_page(), "4 trades, but no candle"),
        (own_page(OWN, FLAT._replace(volume=1.0)), "no trade, but a candle"),
    ],
)
def test_a_difference_is_named(page: Page, words: str) -> None:
    difference = compared(page).difference
    assert difference is not None
    assert words in difference


def test_silence_alone_proves_nothing() -> None:
    overlap = (START + MINUTE, START + 2 * MINUTE)
    comparison = compare(build(overlap, TAPE, CALENDAR), own_page(FLAT), overlap, CALENDAR)
    assert comparison == Comparison(0, 1, None)
    assert not comparison.proves


def test_the_overlap_has_only_settled_candles_and_few_trades() -> None:
    candles = tuple(OWN._replace(open_ms=START + at * MINUTE) for at in range(100))
    page = own_page(*candles, trades=OVERLAP_TRADES // 10)
    settled = START + 5 * MINUTE
    assert overlap_of(page, CALENDAR, settled) == (START, settled)
    assert overlap_of(page, CALENDAR, START + 50 * MINUTE) == (START, START + 10 * MINUTE)
    assert overlap_of(own_page(*candles), CALENDAR, START + 50 * MINUTE) == (START, START + 30 * MINUTE)
    assert overlap_of(page, CALENDAR, START) is None


def recorded_trades() -> list[TapeTrade]:
    with shared_file("data/trades/binance-XRPETH-aggtrades-20191011-13.csv").open(encoding="utf-8") as file:
        return [
            TapeTrade(
                int(row["agg_id"]),
                int(row["timestamp_ms"]),
                Decimal(row["price"]),
                Decimal(row["quantity"]),
                int(row["last_trade_id"]) - int(row["first_trade_id"]) + 1,
            )
            for row in csv.DictReader(file)
        ]


def recorded_candles(timeframe: str) -> dict[int, Candle]:
    with shared_file(f"data/trades/binance-XRPETH-{timeframe}-from-trades.csv").open(encoding="utf-8") as file:
        rows = [Candle(int(row[0]), *map(float, row[1:])) for row in list(csv.reader(file))[1:]]
    return {each.open_ms: each for each in rows}


@pytest.mark.parametrize(("timeframe", "equal", "silent"), [("1m", 2467, 1091), ("5m", 704, 6)])
def test_recorded_trades_give_the_recorded_candles(timeframe: str, equal: int, silent: int) -> None:
    """All but the first and the last period, in which trades outside the recording may be missing."""
    trades, candles = recorded_trades(), recorded_candles(timeframe)
    calendar = SeriesCalendar.of(traits_of("binance"), timeframe)
    span: Interval = (min(candles), calendar.close_of(max(candles)))

    built = build(span, trades, calendar)

    assert [each.candle for each in built.candles] == [
        candles[opens] for opens in sorted(candles) if opens not in {span[0], max(candles)}
    ]
    assert len(built.candles) == equal
    assert sum((end - start) // calendar.nominal_ms for start, end in built.silent) == silent


def test_one_id_removed_from_the_recorded_tape_leaves_no_proof_around_it() -> None:
    trades = recorded_trades()
    removed = trades[5000]
    span = (CALENDAR.floor_open(trades[0].at), CALENDAR.close_of(CALENDAR.floor_open(trades[-1].at)))

    built = build(span, [each for each in trades if each is not removed], CALENDAR)

    whole = build(span, trades, CALENDAR)
    around = CALENDAR.floor_open(removed.at)
    assert around not in {each.candle.open_ms for each in built.candles}
    assert any(start <= around < end for start, end in built.unproved)
    assert set(built.candles) < set(whole.candles)
