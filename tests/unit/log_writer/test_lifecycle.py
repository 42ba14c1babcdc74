from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from contracts.bounds import FIRST_INSTANT
from contracts.markets import ListedMarket, ListKind, MarketsListed, MarketState
from log_writer.lifecycle import Change, LastList, LifecyclePolicy, Market, compare

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
POLICY = LifecyclePolicy()
MANY = [f"C{number}/USDT" for number in range(100)]


def market(symbol: str, market_id: str | None = None, *, active: bool | None = True) -> ListedMarket:
    return ListedMarket(symbol=symbol, id=market_id or symbol.replace("/", ""), active=active)


class Exchange:
    """The lists of one exchange, one hour apart, and the markets as they show them."""

    def __init__(self, markets: Iterable[ListedMarket] = (), policy: LifecyclePolicy = POLICY) -> None:
        self.known: dict[str, Market] = {}
        self.last: LastList | None = None
        self.hour, self.policy = -1, policy
        if markets := list(markets):
            self.list(markets)

    def list(self, markets: Iterable[ListedMarket], hours: float = 1) -> Mapping[str, Change]:
        """The changes of this list by symbol."""
        self.hour += hours
        listed = MarketsListed(
            occurred_at=START + timedelta(hours=self.hour),
            exchange="binance",
            kind=ListKind.SPOT,
            markets=tuple(markets),
            collector="here:1",
        )
        comparison = compare(self.known, self.last, listed, self.policy)
        assert comparison is not None
        again = compare(
            self.known | {each.symbol: each for each in comparison.changed}, comparison.last, listed, POLICY
        )
        assert again is None, "a repeated list changes nothing"
        self.known |= {each.symbol: each for each in comparison.changed}
        self.last = comparison.last
        return {symbol: change for change, symbol in comparison.changes}

    def lists(self, number: int, markets: Iterable[ListedMarket]) -> Mapping[str, Change]:
        """The changes of the last of several equal lists."""
        markets = list(markets)
        return [self.list(markets) for _ in range(number)][-1]


def all_but(*symbols: str) -> list[ListedMarket]:
    return [market(each) for each in MANY if each not in symbols]


def test_the_first_list_shows_no_change_and_a_later_one_shows_new_markets() -> None:
    exchange = Exchange()
    assert exchange.list([market("A/USDT")]) == {}
    assert exchange.list([market("A/USDT"), market("B/USDT")]) == {"B/USDT": Change.LISTED}
    assert exchange.known["B/USDT"].state is MarketState.LISTED
    assert exchange.known["B/USDT"].frozen_at is None


def test_a_market_is_delisted_when_several_lists_over_hours_lack_it() -> None:
    exchange = Exchange(all_but())
    assert exchange.list(all_but("C1/USDT")) == {"C1/USDT": Change.MISSING}
    missing = exchange.known["C1/USDT"]
    assert (missing.state, missing.missing_since, missing.frozen_at) == (
        MarketState.LISTED,
        START + timedelta(hours=1),
        None,
    )
    assert exchange.lists(5, all_but("C1/USDT")) == {}
    assert exchange.list(all_but("C1/USDT")) == {"C1/USDT": Change.DELISTED}
    delisted = exchange.known["C1/USDT"]
    assert (delisted.state, delisted.since, delisted.frozen_at) == (
        MarketState.DELISTED,
        START + timedelta(hours=1),
        START,
    )
    assert delisted.evidence == (
        "absent from 7 lists from 2026-03-01 11:00 UTC to 2026-03-01 17:00 UTC, the last with 99 markets; last listed "
        "at 2026-03-01 10:00 UTC"
    )
    assert exchange.lists(10, all_but("C1/USDT")) == {}, "it stays delisted"


def test_many_lists_within_minutes_delist_nothing() -> None:
    exchange = Exchange(all_but())
    for _ in range(30):
        exchange.list(all_but("C1/USDT"), hours=0.1)
    assert exchange.known["C1/USDT"].state is MarketState.LISTED


def test_two_lists_a_day_apart_delist_nothing() -> None:
    exchange = Exchange(all_but())
    exchange.list(all_but("C1/USDT"))
    exchange.list(all_but("C1/USDT"), hours=24)
    assert exchange.known["C1/USDT"].state is MarketState.LISTED
    assert exchange.list(all_but("C1/USDT")) == {"C1/USDT": Change.DELISTED}


def test_a_missing_market_that_is_listed_again_was_never_delisted() -> None:
    exchange = Exchange(all_but())
    before = exchange.known["C1/USDT"]
    exchange.lists(6, all_but("C1/USDT"))
    assert exchange.list(all_but()) == {"C1/USDT": Change.FOUND}
    assert exchange.known["C1/USDT"] == before


def test_lists_without_a_large_part_delist_nothing_for_three_days() -> None:
    exchange = Exchange(all_but())
    half = all_but(*MANY[:50])
    assert set(exchange.list(half).values()) == {Change.MISSING}
    exchange.lists(71, half)
    assert {each.state for each in exchange.known.values()} == {MarketState.LISTED}
    for _ in range(3):
        exchange.list(half)
    assert sum(each.state is MarketState.DELISTED for each in exchange.known.values()) == 50


def test_a_complete_list_ends_a_series_of_incomplete_ones() -> None:
    exchange = Exchange(all_but())
    exchange.lists(70, all_but(*MANY[:50]))
    exchange.list(all_but())
    exchange.lists(70, all_but(*MANY[:50]))
    assert {each.state for each in exchange.known.values()} == {MarketState.LISTED}


def test_the_only_market_of_an_exchange_is_not_delisted_at_once() -> None:
    exchange = Exchange([market("A/USDT")])
    exchange.lists(20, [market("B/USDT")])
    assert exchange.known["A/USDT"].state is MarketState.LISTED


def test_a_suspended_market_is_frozen_at_the_last_list_that_had_it_as_active() -> None:
    exchange = Exchange([market("A/USDT"), market("B/USDT")])
    assert exchange.list([market("A/USDT", active=False), market("B/USDT")]) == {"A/USDT": Change.SUSPENDED}
    suspended = exchange.known["A/USDT"]
    assert (suspended.state, suspended.since, suspended.frozen_at) == (
        MarketState.SUSPENDED,
        START + timedelta(hours=1),
        START,
    )
    assert exchange.list([market("A/USDT", active=None), market("B/USDT")]) == {"A/USDT": Change.RESUMED}
    assert exchange.known["A/USDT"].frozen_at is None


def test_a_market_that_was_never_seen_as_active_is_frozen_before_all_its_candles() -> None:
    exchange = Exchange([market("A/USDT", active=False)])
    assert exchange.known["A/USDT"].frozen_at == FIRST_INSTANT


def test_a_suspended_market_that_is_delisted_stays_frozen_at_its_suspension() -> None:
    exchange = Exchange(all_but())
    suspended = [*all_but("C1/USDT"), market("C1/USDT", active=False)]
    exchange.lists(10, suspended)
    assert exchange.lists(7, all_but("C1/USDT")) == {"C1/USDT": Change.DELISTED}
    assert exchange.known["C1/USDT"].frozen_at == START


def test_a_market_whose_id_has_another_symbol_is_renamed() -> None:
    exchange = Exchange(all_but())
    changes = exchange.list([*all_but("C1/USDT"), market("NEW/USDT", "C1USDT")])
    assert changes == {"C1/USDT": Change.RENAMED, "NEW/USDT": Change.LISTED}
    renamed = exchange.known["C1/USDT"]
    assert (renamed.state, renamed.renamed_to, renamed.frozen_at) == (MarketState.RENAMED, "NEW/USDT", START)
    assert exchange.list(all_but()) == {"C1/USDT": Change.RELISTED, "NEW/USDT": Change.MISSING}
    assert exchange.known["C1/USDT"].renamed_to is None


def test_two_symbols_with_one_id_are_no_renaming() -> None:
    both = [*all_but(), market("OLD/USDT", "1"), market("NEW/USDT", "1")]
    exchange = Exchange(both)
    without = [each for each in both if each.symbol != "OLD/USDT"]
    assert exchange.list(without) == {"OLD/USDT": Change.MISSING}


def test_a_symbol_with_another_id_may_be_another_asset() -> None:
    exchange = Exchange([market("LUNA/USDT", "LUNA")])
    assert exchange.list([market("LUNA/USDT", "LUNA2")]) == {"LUNA/USDT": Change.NEW_ID}
    assert "id LUNA2 instead of LUNA" in exchange.known["LUNA/USDT"].evidence


def test_a_delisted_market_that_is_listed_again_grows_again() -> None:
    exchange = Exchange(all_but())
    exchange.lists(7, all_but("C1/USDT"))
    assert exchange.list(all_but()) == {"C1/USDT": Change.RELISTED}
    relisted = exchange.known["C1/USDT"]
    assert (relisted.state, relisted.frozen_at, relisted.missing_since) == (MarketState.LISTED, None, None)
    assert "it was delisted since 2026-03-01 11:00 UTC" in relisted.evidence


def test_a_list_that_is_not_newer_changes_nothing() -> None:
    exchange = Exchange(all_but())
    older = MarketsListed(
        occurred_at=START - timedelta(seconds=1),
        exchange="binance",
        kind=ListKind.SPOT,
        markets=(market("X/USDT"),),
        collector="other:1",
    )
    assert compare(exchange.known, exchange.last, older, POLICY) is None


SYMBOLS = [f"{name}/USDT" for name in "ABCDEFGH"]
LISTS = st.lists(
    st.tuples(st.sets(st.sampled_from(SYMBOLS), min_size=1), st.sampled_from([0.1, 1.0, 5.0, 30.0])), max_size=30
)


@given(LISTS)
def test_a_market_is_delisted_only_if_three_lists_over_six_hours_lack_it(lists: list[tuple[set[str], float]]) -> None:
    exchange = Exchange([market(each) for each in SYMBOLS])
    absent_from: dict[str, list[float]] = {symbol: [] for symbol in SYMBOLS}
    for symbols, hours in lists:
        exchange.list([market(each) for each in sorted(symbols)], hours)
        for symbol, known in exchange.known.items():
            absent_from[symbol] = [] if symbol in symbols else [*absent_from[symbol], exchange.hour]
            times = absent_from[symbol]
            assert (known.missing_since is None) == (not times)
            assert (known.frozen_at is None) == (known.state is MarketState.LISTED)
            if known.state is MarketState.DELISTED:
                assert len(times) >= 3
                assert times[-1] - times[0] >= 6
            if known.frozen_at is not None:
                assert known.frozen_at < START + timedelta(hours=times[0]), "it was listed until then"


@given(LISTS)
def test_any_market_that_stays_away_is_delisted_at_last(lists: list[tuple[set[str], float]]) -> None:
    exchange = Exchange([market(each) for each in SYMBOLS])
    for symbols, hours in lists:
        exchange.list([market(each) for each in sorted(symbols)], hours)
    exchange.lists(100, [market("A/USDT")])
    assert {symbol: each.state for symbol, each in exchange.known.items()} == {
        symbol: MarketState.LISTED if symbol == "A/USDT" else MarketState.DELISTED for symbol in exchange.known
    }
