"""Which spans become chunks. A test names times in minutes after noon."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from backfiller.chunks import ChunkState
from backfiller.planning import Demand, NewChunk, PlanPolicy, describe, plan, unwanted
from contracts import spans
from contracts.ranges import Purpose
from contracts.spans import Interval, Intervals
from support.backfilling.chunks import MINUTE, NOON, NOW, PLAN, a_chunk, a_demand, a_series, minutes

UNLIMITED = PlanPolicy(pages=5, fresh_chunks=10_000, open_chunks=10_000)
ALL = minutes(-100_000, 0)


def planned(
    demand: Demand, policy: PlanPolicy = UNLIMITED, *, page: int = 102, newest_readable: int | None = None
) -> list[NewChunk]:
    return plan(a_series(page, newest_readable), [demand], [], NOON, policy)


def spans_of(chunks: list[NewChunk]) -> list[Interval]:
    return [each.span for each in chunks]


def test_history_is_split_into_runs_of_a_few_pages_from_new_to_old() -> None:
    demand = a_demand(ALL, (minutes(-1200, 0),))
    assert spans_of(planned(demand)) == [minutes(-500, 0), minutes(-1000, -500), minutes(-1200, -1000)]
    assert {each.purpose for each in planned(demand)} == {Purpose.BACKFILL}


def test_a_hole_between_verified_spans_is_a_repair() -> None:
    demand = a_demand(ALL, (minutes(-10, -5),), verified_from=NOON - 100 * MINUTE)
    assert [each.purpose for each in planned(demand)] == [Purpose.REPAIR]


def test_holes_that_one_request_covers_are_read_together() -> None:
    demand = a_demand(ALL, (minutes(-90, -89), minutes(-50, -40), minutes(-2, -1)))
    assert spans_of(planned(demand)) == [minutes(-90, -1)]


def test_holes_of_distant_pages_are_read_apart() -> None:
    demand = a_demand(ALL, (minutes(-700, -690), minutes(-2, -1)))
    assert spans_of(planned(demand)) == [minutes(-2, -1), minutes(-700, -690)]


def test_a_huge_history_is_planned_step_by_step() -> None:
    demand = a_demand(minutes(-20_000_000, 0), (minutes(-20_000_000, 0),))
    assert len(planned(demand, PLAN)) == PLAN.fresh_chunks
    fresh = [a_chunk(minutes(-500, 0), id=number) for number in range(6)]
    assert len(plan(a_series(), [demand], fresh, NOON, PLAN)) == 2
    tried = [a_chunk(minutes(-500, 0), retries=1) for _ in range(6)]
    assert len(plan(a_series(), [demand], tried, NOON, PLAN)) == PLAN.fresh_chunks


def test_chunks_that_nothing_proves_do_not_stop_the_rest_of_the_history() -> None:
    demand = a_demand(ALL, (ALL,))
    unproven = [a_chunk(minutes(-500, 0), retries=1)] * PLAN.open_chunks
    assert len(plan(a_series(), [demand], unproven, NOON, PLAN)) == 1
    assert plan(a_series(), [demand], [*unproven, a_chunk(minutes(-900, -500))], NOON, PLAN) == []


def test_a_series_with_a_permanent_error_gets_no_further_chunks() -> None:
    failed = a_chunk(minutes(-10, 0), state=ChunkState.FAILED)
    assert plan(a_series(), [a_demand(ALL, (minutes(-500, -100),))], [failed], NOON, PLAN) == []


def test_time_that_is_lost_soon_comes_first_and_lost_time_last() -> None:
    demand = a_demand(ALL, (minutes(-2000, -10),))
    chunks = planned(demand, newest_readable=720)
    assert spans_of(chunks) == [minutes(-719, -510), minutes(-510, -10), minutes(-2000, -719)]
    assert [each.loss_at for each in chunks] == [NOON + MINUTE, NOON + 210 * MINUTE, None]


def test_trades_are_wanted_only_for_time_before_the_horizon() -> None:
    demand = a_demand(ALL, (minutes(-2000, -10),), from_trades=True, trades_per_candle=40.0)
    chunks = planned(demand, newest_readable=720)
    by_purpose = {purpose: [each.span for each in chunks if each.purpose is purpose] for purpose in Purpose}
    assert spans.union(by_purpose[Purpose.BACKFILL]) == (minutes(-719, -10),)
    # 20 pages of 1000 trades are 500 candles.
    assert by_purpose[Purpose.TRADES] == [minutes(-1219, -719), minutes(-1719, -1219), minutes(-2000, -1719)]
    assert len(chunks) == sum(map(len, by_purpose.values()))


def test_without_a_horizon_all_missing_time_is_built_from_trades() -> None:
    demand = a_demand(ALL, (minutes(-100, -10),), from_trades=True)
    chunks = planned(demand)
    assert spans_of(chunks) == [minutes(-70, -10), minutes(-100, -70)]
    assert {each.purpose for each in chunks} == {Purpose.TRADES}


def test_refused_candles_from_trades_stop_only_those_from_trades() -> None:
    failed = a_chunk(minutes(-900, -800), state=ChunkState.FAILED, purpose=Purpose.TRADES)
    wanted = a_demand(ALL, (minutes(-2000, -1000),), from_trades=True, backfill_id=1)
    assert plan(a_series(), [wanted], [failed], NOON, PLAN) == []
    assert plan(a_series(), [a_demand(ALL, (minutes(-50, 0),))], [failed], NOON, PLAN)


def test_pieces_without_room_for_a_candle_are_no_holes() -> None:
    """An exchange that opens its days at 16:00 UTC leaves a piece at the start of the target."""
    assert planned(a_demand(ALL, (minutes(-10, -9.5),))) == []


def test_the_search_for_a_listing_doubles_its_steps_after_each_empty_answer() -> None:
    demand = a_demand(minutes(-10_000_000, 100), (minutes(-9_000_000, -3000),))
    empty = [a_chunk(minutes(-1000 * n - 1000, -1000 * n), id=n, retries=1) for n in range(3)]
    failing = a_chunk(minutes(-3000, -2900), id=9, retries=1, error_class="timeout")
    widths = [end - start for start, end in spans_of(plan(a_series(), [demand], [*empty, failing], NOON, PLAN))]
    assert set(widths) == {500 * MINUTE * 2**3}


def test_a_search_over_all_years_needs_few_chunks() -> None:
    """From 2026 back to 2010, minute by minute, with an exchange that answers every request with nothing."""
    series, start = a_series(page=1002), minutes(-8_400_000, 0)[0]
    one_at_a_time = PlanPolicy(pages=5, fresh_chunks=1, open_chunks=200)
    chunks = [a_chunk((0, 1))][:0]
    oldest = NOON
    while oldest > start:
        missing = ((start, oldest),)
        [new] = plan(series, [a_demand((start, NOON), missing)], chunks, NOON, one_at_a_time)
        chunks.append(a_chunk(new.span, id=len(chunks) + 1, retries=1))
        oldest = new.span[0]
    assert len(chunks) < 14


def test_the_config_comes_before_backfills_and_no_span_is_planned_twice() -> None:
    config = a_demand(ALL, (minutes(-300, 0),))
    backfill = a_demand(ALL, (minutes(-600, 0),), backfill_id=3)
    chunks = plan(a_series(), [config, backfill], [], NOON, UNLIMITED)
    assert [(each.backfill_id, each.span) for each in chunks] == [
        (None, minutes(-300, 0)),
        (3, minutes(-600, -300)),
    ]


def test_a_paused_backfill_gets_no_chunks() -> None:
    assert planned(a_demand(ALL, (minutes(-300, 0),), backfill_id=3, active=False)) == []


def test_reading_everything_again_is_a_reread() -> None:
    assert [each.purpose for each in planned(a_demand(ALL, (minutes(-9, 0),), backfill_id=3, reread=True))] == [
        Purpose.REREAD
    ]


def test_waiting_chunks_without_a_demand_are_cancelled() -> None:
    of_config, of_backfill = a_chunk(minutes(-500, -400)), a_chunk(minutes(-500, -400), id=2, backfill_id=3)
    in_flight = a_chunk(minutes(-500, -400), id=3, state=ChunkState.REQUESTED)
    assert [each.id for each, _ in unwanted([], [of_config, of_backfill, in_flight])] == [1, 2]
    wanted = [a_demand(ALL, ()), a_demand(ALL, (), backfill_id=3)]
    assert unwanted(wanted, [of_config, of_backfill]) == []
    later_start = [a_demand(minutes(-400, 0), ())]
    assert [each.id for each, _ in unwanted(later_start, [of_config])] == [1]


def test_a_chunk_of_a_paused_backfill_does_not_keep_its_span_from_the_config() -> None:
    chunk = a_chunk(minutes(-500, -400), backfill_id=3)
    paused = a_demand(ALL, (), backfill_id=3, active=False)
    assert unwanted([paused], [chunk]) == []
    assert len(unwanted([a_demand(ALL, ()), paused], [chunk])) == 1


def test_a_claimed_chunk_is_not_cancelled() -> None:
    assert unwanted([], [a_chunk(minutes(-500, -400), claimed_until=NOW)]) == []


def test_months_are_split_at_months() -> None:
    series = describe(7, "binance", "BTC/USDT", "1M")._replace(page=5)
    jan, nov = 1735689600000, 1761955200000  # 2025-01-01 and 2025-11-01
    chunks = plan(
        series,
        [a_demand((jan, nov), ((jan, nov),), nov)],
        [],
        NOON,
        PlanPolicy(pages=1, fresh_chunks=100, open_chunks=100),
    )
    assert spans_of(chunks) == [
        (1754006400000, nov),  # from 2025-08-01
        (1746057600000, 1754006400000),  # from 2025-05-01
        (1738368000000, 1746057600000),  # from 2025-02-01
        (jan, 1738368000000),
    ]


def test_years_do_not_leave_the_calendar() -> None:
    series = describe(7, "binance", "BTC/USDT", "9y")._replace(page=1000, newest_readable=1000)
    assert len(plan(series, [a_demand((0, NOON), ((0, NOON),))], [], NOON, PLAN)) == 1


HOLES = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=25).map(
    lambda pairs: spans.union(minutes(-1 - start - length, -1 - start) for start, length in pairs)
)


@given(HOLES, st.integers(3, 60), st.integers(1, 4), st.none() | st.integers(1, 300))
@settings(max_examples=300, deadline=None)
def test_chunks_contain_each_hole_once_and_need_the_fewest_requests(
    missing: Intervals, page: int, pages: int, newest_readable: int | None
) -> None:
    policy = PlanPolicy(pages=pages, fresh_chunks=10_000, open_chunks=10_000)
    chunks = planned(a_demand(ALL, missing), policy, page=page, newest_readable=newest_readable)
    found = sorted(spans_of(chunks))
    assert all(first[1] <= second[0] for first, second in pairwise(found))
    assert spans.subtract(missing, found) == ()
    if newest_readable is None:
        width = max(1, page - 2) * MINUTE
        assert sum(-(-(end - start) // width) for start, end in found) == fewest_requests(missing, width)
        assert all(end - start <= pages * width for start, end in found)


def fewest_requests(missing: Intervals, width: int) -> int:
    """The number of pages from the newest hole back: a page begins where the newest uncovered minute ends."""
    uncovered = {instant for start, end in missing for instant in range(start, end, MINUTE)}
    pages = 0
    while uncovered:
        newest = max(uncovered)
        uncovered = {each for each in uncovered if each + MINUTE <= newest + MINUTE - width}
        pages += 1
    return pages


def test_all_holes_of_an_exchange_that_sends_all_that_it_keeps_are_one_request() -> None:
    series = describe(7, "kraken", "BTC/USD", "1m")
    holes = (minutes(-719, -718), minutes(-300, -200), minutes(-20, -18))
    [chunk] = plan(series, [a_demand(minutes(-719, 0), holes, verified_from=minutes(-800, 0)[0])], [], NOON, PLAN)
    assert chunk.span == minutes(-719, -18)


def test_holes_with_an_open_chunk_between_them_are_read_apart() -> None:
    holes = (minutes(-30, -20), minutes(-10, -5))
    between = a_chunk(minutes(-20, -10), retries=1)
    created = plan(a_series(), [a_demand(ALL, holes)], [between], NOON, UNLIMITED)
    assert spans_of(created) == [minutes(-10, -5), minutes(-30, -20)]


def test_chunks_of_a_paused_backfill_do_not_keep_the_config_waiting() -> None:
    paused = a_demand(minutes(-9000, -5000), (), backfill_id=3, active=False)
    waiting = [a_chunk(minutes(-6000 - 100 * n, -5900 - 100 * n), id=n, backfill_id=3) for n in range(8)]
    waiting.append(a_chunk(minutes(-8000, -7900), id=9, backfill_id=3, state=ChunkState.FAILED))
    config = a_demand(minutes(-1000, 0), (minutes(-10, -5),))
    assert spans_of(plan(a_series(), [config, paused], waiting, NOON, PLAN)) == [minutes(-10, -5)]
