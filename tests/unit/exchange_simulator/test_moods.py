from typing import Any

import pytest

from exchange_simulator.bad_rows import Variant
from exchange_simulator.moods import BadMoodError, Kind, Mood, MoodBook, Target, parse_mood
from exchange_simulator.pages import AS_USUAL, Page, Since


def mood_for(
    book: MoodBook,
    *,
    exchange: str = "binance",
    symbol: str | None = "BTC/USDT",
    path: str = "/api/v3/klines",
    timeframe: str | None = "1m",
    now: float = 0.0,
) -> Kind | None:
    return book.moods_for(Target(exchange, symbol, timeframe, path), now).kind


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
        ({"kind": "ban", "timeframe": "7m"}, "timeframe must be one of"),
        ({"kind": "ban", "candles": 1}, "candles must be true or false"),
        ({"kind": "ban", "chance": 1.5}, "chance must be at most 1"),
        ({"kind": "ban", "retry_after_text": "a\nb"}, "HTTP header"),
        ({"kind": "ban", "page": {}}, "has the field page"),
        ({"kind": "page"}, "has the field page"),
        ({"kind": "page", "page": []}, "page: "),
        ({"kind": "page", "page": {"width": 5}}, "page.width: "),
        ({"kind": "page", "page": {"max_rows": -1}}, "page.max_rows: "),
        ({"kind": "page", "page": {"since": "never"}}, "page.since: "),
        ({"kind": "page", "page": {"oldest_since": "soon"}}, "page.oldest_since: "),
        ({"kind": "page", "page": {"hidden": [[5, 5]]}}, "must end after it starts"),
        ({"kind": "page", "page": {"impossible": "zeros"}}, "impossible needs"),
        ({"kind": "page", "page": {"rows_of": "7m"}}, "rows_of must be one of"),
    ],
)
def test_invalid_moods_are_refused_with_the_reason(payload: Any, reason: str) -> None:
    with pytest.raises(BadMoodError, match=reason):
        parse_mood(payload)


def test_a_null_in_a_mood_means_not_set() -> None:
    assert parse_mood({"kind": "ban", "count": None}) == Mood(kind=Kind.BAN)


def test_a_mood_can_be_limited_to_a_timeframe_or_to_requests_for_candles() -> None:
    book = a_book(Mood(kind=Kind.HTML, timeframe="1h"), Mood(kind=Kind.BAN, candles=False))
    assert mood_for(book, timeframe="1h") is Kind.HTML
    assert mood_for(book, timeframe="1m") is None
    assert mood_for(book, timeframe=None) is Kind.BAN
    assert mood_for(a_book(Mood(kind=Kind.CREDENTIALS, candles=True)), timeframe=None) is None


def test_a_mood_with_a_chance_applies_to_the_same_requests_for_the_same_seed() -> None:
    def applied(seed: int) -> list[bool]:
        book = MoodBook(seed)
        book.add(Mood(kind=Kind.BAN, chance=0.3), 0)
        return [mood_for(book) is Kind.BAN for _ in range(200)]

    assert applied(1) == applied(1) != applied(2)
    assert 30 < sum(applied(1)) < 90


def a_page_mood(**page: Any) -> Mood:
    return parse_mood({"kind": "page", "page": page})


def test_all_page_moods_of_a_request_are_combined_and_a_later_one_wins() -> None:
    book = a_book(
        a_page_mood(max_rows=5, lag_minutes=3), a_page_mood(max_rows=7, since="ignored"), Mood(kind=Kind.LATENCY)
    )
    moods = book.moods_for(Target("okx", "BTC/USDT", "1m"), 0)
    assert moods.page == Page(max_rows=7, lag_minutes=3, since=Since.IGNORED)
    assert (moods.mood, moods.kind) == (Mood(kind=Kind.LATENCY), Kind.LATENCY)
    assert book.page_for(Target("okx", "BTC/USDT", "1m"), 0) == moods.page


def test_a_page_mood_counts_only_requests_for_candles() -> None:
    book = a_book(parse_mood({"kind": "page", "page": {"max_rows": 5}, "count": 1}))
    assert mood_for(book, timeframe=None) is None
    assert [mood_for(book), mood_for(book)] == [Kind.PAGE, None]


def test_no_candles_and_malformed_are_changes_of_the_page() -> None:
    assert Mood(kind=Kind.NO_CANDLES).effect_on_rows() == Page(max_rows=0)
    malformed = Mood(kind=Kind.MALFORMED, variant=Variant.NAN)
    assert malformed.effect_on_rows() == Page(impossible=Variant.NAN, impossible_every=5)
    assert Mood(kind=Kind.TRUNCATED).effect_on_rows() is AS_USUAL
    book = a_book(Mood(kind=Kind.NO_CANDLES), a_page_mood(lag_minutes=3))
    assert book.moods_for(Target("okx", "BTC/USDT", "1m"), 0).page == Page(max_rows=0, lag_minutes=3)


def test_one_mood_can_be_removed() -> None:
    book = MoodBook()
    first, second = (book.add(Mood(kind=kind), 0) for kind in (Kind.BAN, Kind.HTML))
    assert (book.remove(first), book.remove(first)) == (1, 0)
    assert [mood["id"] for mood in book.describe(0)] == [second]
