from typing import Any

import pytest

from exchange_simulator.moods import BadMoodError, Kind, Mood, MoodBook, Variant, parse_mood, row_change_of
from exchange_simulator.venue import Row


def mood_for(
    book: MoodBook,
    *,
    exchange: str = "binance",
    symbol: str | None = "BTC/USDT",
    path: str = "/api/v3/klines",
    now: float = 0.0,
) -> Kind | None:
    mood = book.mood_for(exchange, symbol, path, now)
    return mood.kind if mood else None


def a_book(*moods: Mood, now: float = 0.0) -> MoodBook:
    book = MoodBook()
    for mood in moods:
        book.add(mood, now)
    return book


def test_a_mood_applies_only_to_requests_that_match_its_filters() -> None:
    book = a_book(Mood(kind=Kind.HTML, exchange="binance", symbol="BTC/USDT", path="klines"))
    assert mood_for(book) == Kind.HTML
    assert mood_for(book, exchange="okx") is None
    assert mood_for(book, symbol="ETH/USDT") is None
    assert mood_for(book, symbol=None) is None
    assert mood_for(book, path="/api/v3/exchangeInfo") is None


def test_a_mood_without_filters_applies_to_all_requests() -> None:
    assert mood_for(a_book(Mood(kind=Kind.BAN)), exchange="okx", symbol=None, path="/") == Kind.BAN


def test_a_mood_with_a_count_ends_and_the_next_mood_applies() -> None:
    book = a_book(Mood(kind=Kind.BAN, count=2), Mood(kind=Kind.HTML, count=1))
    assert [mood_for(book) for _ in range(4)] == [Kind.BAN, Kind.BAN, Kind.HTML, None]


def test_a_mood_with_a_duration_ends_after_it() -> None:
    book = a_book(Mood(kind=Kind.BAN, for_seconds=5), now=100)
    assert [mood_for(book, now=now) for now in (100, 104.9, 105)] == [Kind.BAN, Kind.BAN, None]


def test_a_mood_can_apply_to_every_third_request() -> None:
    book = a_book(Mood(kind=Kind.BAN, every=3))
    assert [mood_for(book) for _ in range(6)] == [None, None, Kind.BAN] * 2


def test_clear_ends_all_moods_and_describe_counts_requests() -> None:
    book = a_book(Mood(kind=Kind.BAN), Mood(kind=Kind.HTML, for_seconds=1))
    mood_for(book)
    assert [(one["kind"], one["met"]) for one in book.describe(now=2)] == [(Kind.BAN, 1)]
    assert book.clear() == 2
    assert (book.describe(now=0), mood_for(book)) == ([], None)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([], "JSON object"),
        ({}, "kind must be one of latency"),
        ({"kind": "unknown"}, "kind must be one of"),
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
def test_invalid_moods_are_refused_with_the_reason(payload: Any, reason: str) -> None:
    with pytest.raises(BadMoodError, match=reason):
        parse_mood(payload)


def test_a_null_in_a_mood_means_not_set() -> None:
    assert parse_mood({"kind": "ban", "count": None}) == Mood(kind=Kind.BAN)


ROWS = [Row(60_000 * n, "10", "12", "9", "11", "1") for n in range(6)]


def test_the_first_row_and_every_fifth_after_it_are_malformed() -> None:
    changed = row_change_of(Mood(kind=Kind.MALFORMED, variant=Variant.NULLS))(ROWS)
    assert [row.open is None for row in changed] == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (Variant.NAN, [Row(0, "NaN", "NaN", "NaN", "NaN", "1")]),
        (Variant.HIGH_BELOW_LOW, [Row(0, "10", "9", "12", "11", "1")]),
        (Variant.UNALIGNED, [Row(17_000, "10", "12", "9", "11", "1")]),
        (Variant.DUPLICATE, [ROWS[0], ROWS[0]]),
    ],
)
def test_each_variant_has_its_kind_of_error(variant: Variant, expected: list[Row]) -> None:
    assert row_change_of(Mood(kind=Kind.MALFORMED, variant=variant))(ROWS[:1]) == expected


def test_the_high_of_a_flat_row_is_below_its_low() -> None:
    flat = Row(0, "5", "5", "5", "5", "0")
    (row,) = row_change_of(Mood(kind=Kind.MALFORMED, variant=Variant.HIGH_BELOW_LOW))([flat])
    assert float(row.high) < float(row.low)


def test_no_candles_removes_all_rows_and_other_moods_change_none() -> None:
    assert row_change_of(Mood(kind=Kind.NO_CANDLES))(ROWS) == []
    assert row_change_of(Mood(kind=Kind.TRUNCATED))(ROWS) == ROWS
    assert row_change_of(None)(ROWS) == ROWS
