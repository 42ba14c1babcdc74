from typing import Any

import pytest

from exchange_simulator.moods import BadMoodError, Kind, Mood, MoodBook, Variant, parse_mood, spoiler
from exchange_simulator.venue import Row


def meet(
    book: MoodBook,
    *,
    exchange: str = "binance",
    symbol: str | None = "BTC/USDT",
    path: str = "/api/v3/klines",
    now: float = 0.0,
) -> Kind | None:
    mood = book.meet(exchange, symbol, path, now)
    return mood.kind if mood else None


def a_book(*moods: Mood, now: float = 0.0) -> MoodBook:
    book = MoodBook()
    for mood in moods:
        book.add(mood, now)
    return book


def test_a_mood_meets_what_its_filters_name_and_nothing_else() -> None:
    book = a_book(Mood(kind=Kind.HTML, exchange="binance", symbol="BTC/USDT", path="klines"))
    assert meet(book) == Kind.HTML
    assert meet(book, exchange="okx") is None
    assert meet(book, symbol="ETH/USDT") is None
    assert meet(book, symbol=None) is None
    assert meet(book, path="/api/v3/exchangeInfo") is None


def test_a_mood_without_filters_meets_everything() -> None:
    assert meet(a_book(Mood(kind=Kind.BAN)), exchange="okx", symbol=None, path="/") == Kind.BAN


def test_a_counted_mood_is_over_after_its_count_and_gives_way_to_the_next() -> None:
    book = a_book(Mood(kind=Kind.BAN, count=2), Mood(kind=Kind.HTML, count=1))
    assert [meet(book) for _ in range(4)] == [Kind.BAN, Kind.BAN, Kind.HTML, None]


def test_a_timed_mood_is_over_when_its_time_is() -> None:
    book = a_book(Mood(kind=Kind.BAN, for_seconds=5), now=100)
    assert [meet(book, now=now) for now in (100, 104.9, 105)] == [Kind.BAN, Kind.BAN, None]


def test_every_third_request_is_met() -> None:
    book = a_book(Mood(kind=Kind.BAN, every=3))
    assert [meet(book) for _ in range(6)] == [None, None, Kind.BAN] * 2


def test_clearing_ends_all_moods_and_describing_tells_what_they_met() -> None:
    book = a_book(Mood(kind=Kind.BAN), Mood(kind=Kind.HTML, for_seconds=1))
    meet(book)
    assert [(one["kind"], one["met"]) for one in book.describe(now=2)] == [(Kind.BAN, 1)]
    assert book.clear() == 2
    assert (book.describe(now=0), meet(book)) == ([], None)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([], "JSON object"),
        ({}, "kind must be one of latency"),
        ({"kind": "sulk"}, "kind must be one of"),
        ({"kind": "ban", "color": 1}, "unknown field 'color'"),
        ({"kind": "ban", "exchange": "mtgox"}, "exchange must be one of"),
        ({"kind": "ban", "count": 0}, "count must be a whole number"),
        ({"kind": "ban", "count": 1.5}, "count must be a whole number"),
        ({"kind": "ban", "count": True}, "count must be a whole number"),
        ({"kind": "ban", "for_seconds": "5"}, "for_seconds must be a number"),
        ({"kind": "ban", "for_seconds": float("nan")}, "for_seconds must be a number"),
        ({"kind": "ban", "symbol": 5}, "symbol must be a text"),
        ({"kind": "ban", "retry_after_form": "weeks"}, "retry_after_form"),
        ({"kind": "error", "status": 1_000}, "at most 999"),
        ({"kind": "error", "status": 100}, "at least 200"),
        ({"kind": "ban", "retry_after": float("inf")}, "at most"),
        ({"kind": "ban", "content_type": "a\nb"}, "HTTP header"),
        ({"kind": "malformed", "variant": "odd"}, "variant must be one of"),
    ],
)
def test_bad_moods_are_refused_with_what_to_change(payload: Any, reason: str) -> None:
    with pytest.raises(BadMoodError, match=reason):
        parse_mood(payload)


def test_nulls_in_a_mood_mean_not_set() -> None:
    assert parse_mood({"kind": "ban", "count": None}) == Mood(kind=Kind.BAN)


ROWS = [Row(60_000 * n, "10", "12", "9", "11", "1") for n in range(6)]


def test_every_fifth_row_is_malformed_from_the_first_on() -> None:
    spoiled = spoiler(Mood(kind=Kind.MALFORMED, variant=Variant.NULLS))(ROWS)
    assert [row.open is None for row in spoiled] == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (Variant.NAN, [Row(0, "NaN", "NaN", "NaN", "NaN", "1")]),
        (Variant.HIGH_BELOW_LOW, [Row(0, "10", "9", "12", "11", "1")]),
        (Variant.UNALIGNED, [Row(17_000, "10", "12", "9", "11", "1")]),
        (Variant.DUPLICATE, [ROWS[0], ROWS[0]]),
    ],
)
def test_each_variant_is_wrong_in_its_own_way(variant: Variant, expected: list[Row]) -> None:
    assert spoiler(Mood(kind=Kind.MALFORMED, variant=variant))(ROWS[:1]) == expected


def test_a_flat_row_gets_a_high_below_its_low_too() -> None:
    flat = Row(0, "5", "5", "5", "5", "0")
    (row,) = spoiler(Mood(kind=Kind.MALFORMED, variant=Variant.HIGH_BELOW_LOW))([flat])
    assert float(row.high) < float(row.low)


def test_no_candles_is_an_empty_list_and_other_moods_leave_rows_alone() -> None:
    assert spoiler(Mood(kind=Kind.NO_CANDLES))(ROWS) == []
    assert spoiler(Mood(kind=Kind.TRUNCATED))(ROWS) == ROWS
    assert spoiler(None)(ROWS) == ROWS
