"""The generated histories: an exchange, a config and the events of its runs.

Every value shrinks towards a well-behaved exchange.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hypothesis import strategies as st

from contracts.coverage import MAX_PENDING_SPANS
from support.coverage_model.odd_exchange import GOOD_WEATHER, Behaviour, Kind, Order, Weather
from support.coverage_model.truth import BadKind, Trading

RECOVERY_WIDTH: Final = 20
"""The narrowest page, in candles, for which the model checks that runs store everything within a bound."""

START_MS = 1_767_139_200_000
"""2025-12-31 00:00 UTC: months, weeks and days end during the histories."""


class Fate(StrEnum):
    """The delivery of the messages of a run."""

    DELIVERED = "delivered"
    LOST = "lost"
    """The scheduler never receives the result. The candles are stored."""
    LATE = "late"
    """The scheduler receives the result after that of the next run."""
    TWICE = "twice"
    """All messages are delivered, and again after the next run."""
    KILLED = "killed"
    """The collector dies before it publishes anything."""


WELL_BEHAVED = Behaviour()
ALWAYS = Trading()


@dataclass(frozen=True, kw_only=True)
class Step:
    """One run, and the events before it."""

    wait_minutes: int = 10
    restart: bool = False
    """The scheduler restarts from its last stored state."""
    timeframes: tuple[str, ...] | None = None
    """The config changes to these timeframes."""
    interval_minutes: int | None = None
    manual: bool = False
    """The run is a manual one: its tick carries no progress."""
    stale: bool = False
    """The tick was made before the result of the previous run."""
    clock_error_minutes: int = 0
    """The scheduler's clock is wrong by this much during the step."""
    weather: Weather = GOOD_WEATHER
    cut_after: int | None = None
    """The deadline ends the run after this number of requests per timeframe."""
    fate: Fate = Fate.DELIVERED


USUAL_RUN = Step()


@dataclass(frozen=True, kw_only=True)
class History:
    """An exchange, a config, and all events."""

    behaviour: Behaviour = WELL_BEHAVED
    tradings: tuple[Trading, ...] = (ALWAYS,)
    """The trading of each series, in the order of the timeframes; repeated if there are more series."""
    timeframes: tuple[str, ...] = ("1m",)
    all_timeframes: tuple[str, ...] = ("1m", "5m")
    """All timeframes that the config may have at any time."""
    page_limit: int = 10
    """The page that ccxt claims. The true width is at most this."""
    max_pages: int = 12
    interval_minutes: int = 10
    catch_up_hours: int = 24
    request_ms: int = 0
    """Each request takes this time."""
    knows_until: bool = False
    """The traits say that the exchange honours `until`."""
    knows_horizon: bool = False
    """The traits say how many candles or periods the exchange keeps."""
    steps: tuple[Step, ...] = (USUAL_RUN,)
    recovers: bool = True
    """Whether runs without disturbances follow. They take most of the time of a history."""


@dataclass(frozen=True)
class Scale:
    """Timeframes and waits that fit together, so that a history is neither trivial nor too long."""

    timeframes: tuple[str, ...]
    interval_minutes: tuple[int, ...]
    long_wait_minutes: int
    steps: int


SCALES = (
    Scale(("1m", "5m"), (1, 5, 10, 60), 40 * 60, 10),
    Scale(("5m", "1h", "1m"), (10, 60, 180), 40 * 60, 8),
    Scale(("1h", "1d"), (60, 240, 1440), 10 * 1440, 10),
    Scale(("1d", "1w", "1M"), (720, 1440, 7 * 1440), 90 * 1440, 10),
)

_EVERY_THIRD: Final = 3
_RECOVERY_CANDLES: Final = 3_500
"""The runs after a history read at most about this number of candles."""
_BAD = st.sampled_from(list(BadKind))


@st.composite
def tradings(draw: st.DrawFn, width: int) -> Trading:
    busy = st.sampled_from((1, 2, 3, max(1, width - 1), width, 3 * width, 200))
    silent = st.sampled_from((0, 1, 2, 9, width - 1, width, 3 * width, 60, 2400))
    pattern = draw(st.lists(st.tuples(busy, silent), min_size=1, max_size=4)) if draw(st.booleans()) else [(1, 0)]
    late_every = draw(st.sampled_from((0, 0, 0, 1, 2, 7)))
    bad_every = draw(st.sampled_from((0, 0, 0, _EVERY_THIRD, 17, 200)))
    return Trading(
        pattern=tuple(pattern),
        listed=draw(st.sampled_from((0, 0, 30, 300, 1000))),
        delisted=draw(st.sampled_from((None, None, None, 400))),
        late_every=late_every,
        late_minutes=draw(st.sampled_from((1, 4, 9, 30))) if late_every else 0,
        bad_every=bad_every,
        bad=draw(_BAD) if bad_every else BadKind.INVERTED,
        mended_after=draw(st.sampled_from((None, 5, 100))) if bad_every else None,
    )


@st.composite
def behaviours(draw: st.DrawFn, page_limit: int) -> Behaviour:
    width = draw(st.one_of(st.just(page_limit), st.integers(1, page_limit)))
    return Behaviour(
        kind=draw(st.sampled_from(list(Kind))),
        width=width,
        honours_until=draw(st.booleans()),
        excludes_since=draw(st.sampled_from((False, False, False, True))),
        horizon=draw(st.one_of(st.none(), st.none(), st.integers(1, 4 * page_limit))),
        horizon_by_time=draw(st.booleans()),
        clips_since=draw(st.sampled_from((False, False, False, False, True))),
        sends_open_candle=draw(st.booleans()),
        order=draw(st.sampled_from(list(Order))),
        repeats_rows=draw(st.booleans()),
    )


_FLAGS = st.lists(st.booleans(), min_size=1, max_size=5).map(tuple)


@st.composite
def weathers(draw: st.DrawFn) -> Weather:
    match draw(st.integers(0, 7)):
        case 4:
            return Weather(lag_minutes=draw(st.integers(1, 8)))
        case 5:
            return Weather(empty=draw(_FLAGS))
        case 6:
            return Weather(failing=draw(_FLAGS))
        case 7:
            return Weather(ignores_since=True, lag_minutes=draw(st.sampled_from((0, 0, 5))))
        case _:
            return GOOD_WEATHER


@st.composite
def steps(draw: st.DrawFn, scale: Scale, interval: int) -> Step:
    usual = st.just(interval)
    wait = draw(st.one_of(usual, usual, st.integers(0, 3 * interval), st.integers(0, scale.long_wait_minutes)))
    if draw(st.integers(0, 3)) == 0:
        return Step(wait_minutes=wait, weather=draw(weathers()))
    rare = st.integers(0, 5).map(lambda number: number == 5)
    return Step(
        wait_minutes=wait,
        restart=draw(rare),
        timeframes=draw(_subsets(scale.timeframes)) if draw(rare) else None,
        interval_minutes=draw(st.sampled_from(scale.interval_minutes)) if draw(rare) else None,
        manual=draw(rare),
        stale=draw(rare),
        clock_error_minutes=draw(st.sampled_from((-1440, -30, 30, 1440))) if draw(rare) else 0,
        weather=draw(weathers()),
        cut_after=draw(st.integers(0, 4)) if draw(rare) else None,
        fate=draw(st.sampled_from(list(Fate))) if draw(rare) else Fate.DELIVERED,
    )


def _subsets(timeframes: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.integers(1, 2 ** len(timeframes) - 1).map(
        lambda bits: tuple(each for index, each in enumerate(timeframes) if bits >> index & 1)
    )


def _has_a_bound(behaviour: Behaviour, of_series: list[Trading]) -> bool:
    """Whether the bound of runs holds. Otherwise the missing candles stay pending: every history checks this.

    With narrow pages and with files, the spans that a run has requested without a result are merged. They wait for up
    to a day each. If a third of the rows are off the grid, every answer is refused, because it seems to have another
    timeframe. If a third of the rows are bad until they are old, each run finds more spans than it can read again. If
    no page shows both ends of a silence, nothing proves it. If it recurs often, its spans displace others.
    """
    is_refused = any(each.bad is BadKind.OFF_GRID and each.bad_every == _EVERY_THIRD for each in of_series)
    is_mended_late = any(
        each.bad_every == _EVERY_THIRD and (each.mended_after or 0) > behaviour.width for each in of_series
    )
    is_unprovable = any(_has_unprovable_silences(each, behaviour.width) for each in of_series)
    is_narrow = behaviour.width < RECOVERY_WIDTH or behaviour.kind is Kind.FILE
    return not (is_narrow or is_refused or is_mended_late or is_unprovable)


def _has_unprovable_silences(trading: Trading, width: int) -> bool:
    """Whether the market is often silent for so long that no page of this width has the candles before and after."""
    unprovable = sum(silent + 2 > width for _, silent in trading.pattern if silent)
    period = sum(busy + silent for busy, silent in trading.pattern)
    return unprovable * _RECOVERY_CANDLES > MAX_PENDING_SPANS * period


@st.composite
def histories(draw: st.DrawFn) -> History:
    scale = draw(st.sampled_from(SCALES))
    page_limit = draw(st.one_of(st.integers(1, 12), st.sampled_from((20, 60, 100))))
    behaviour = draw(behaviours(page_limit))
    interval = draw(st.sampled_from(scale.interval_minutes))
    all_timeframes = scale.timeframes
    of_series = [draw(tradings(behaviour.width)) for _ in range(draw(st.integers(1, 2)))]
    return History(
        behaviour=behaviour,
        tradings=tuple(of_series),
        timeframes=draw(_subsets(all_timeframes)),
        all_timeframes=all_timeframes,
        page_limit=page_limit,
        max_pages=draw(st.sampled_from((12, 4, 1, 2, 40))),
        interval_minutes=interval,
        catch_up_hours=draw(st.sampled_from((24, 1, 24 * 14))),
        request_ms=draw(st.sampled_from((200, 0, 5_000, 20_000))),
        knows_until=behaviour.honours_until and draw(st.booleans()),
        knows_horizon=behaviour.horizon is not None and draw(st.booleans()),
        steps=tuple(draw(st.lists(steps(scale, interval), min_size=1, max_size=scale.steps))),
        recovers=draw(st.sampled_from((True, False, False))) and _has_a_bound(behaviour, of_series),
    )
