"""An exchange's candle endpoint that behaves in every odd way that was reported. Pure: time is an argument."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from contracts.timeframes import close_of, floor_open, shift
from support.coverage_model.truth import BadKind, SeriesTruth, bad_rows, candle_at, unfinished_row


class Kind(StrEnum):
    """Which rows an answer has, with n as its width."""

    FIRST = "first"
    """The first n candles that exist from `since` on, as Binance sends."""
    WINDOW = "window"
    """The candles of the next n candle widths after `since`, as Coinbase sends."""
    TO_NOW = "to now"
    """All candles from `since` to now, as Hyperliquid sends."""
    NEWEST = "newest"
    """The newest n candles, for any `since`, as Bithumb sends."""
    NEWEST_FIRST = "newest first"
    """The newest n of the candles from `since` on, as HitBTC sends."""
    FILE = "file"
    """All candles of the file that contains `since`, as Bitbank sends: one file per day, per year for long candles."""
    END_ONLY = "end only"
    """The newest n candles before `since` + n widths, so also rows before `since`, as Upbit sends."""


class Order(StrEnum):
    ASCENDING = "ascending"
    DESCENDING = "descending"
    MIXED = "mixed"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The constant behaviour of an exchange."""

    kind: Kind = Kind.FIRST
    width: int = 10
    """The largest number of candles that one answer has or covers, also if more are requested."""
    honours_until: bool = False
    excludes_since: bool = False
    """A candle that opens exactly at `since` is not sent."""
    horizon: int | None = None
    """Only this number of newest candles can be read."""
    horizon_by_time: bool = False
    """The horizon counts periods instead of candles."""
    clips_since: bool = False
    """`since` is moved back to the start of a file before the rows are selected."""
    sends_open_candle: bool = True
    order: Order = Order.ASCENDING
    repeats_rows: bool = False
    """Each answer has its first and last row twice."""
    whole_days: bool = False
    """Files of minutes have a whole day. If false, they are shorter, so that a history of a few hours has several."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How the exchange differs from its behaviour during one run."""

    lag_minutes: int = 0
    """All answers are this old."""
    empty: tuple[bool, ...] = ()
    """Per request: the answer is an empty list with HTTP 200. Repeated."""
    failing: tuple[bool, ...] = ()
    """Per request: a timeout or an error. Repeated."""
    ignores_since: bool = False
    """For this run only, the newest candles are sent for any `since`."""


class RequestFailed(Exception):  # noqa: N818 -- the name states the problem
    """A timeout, a refused connection or an error of the exchange."""


GOOD_WEATHER = Weather()


@dataclass
class OddExchange:
    """Answers requests from the truth."""

    behaviour: Behaviour
    series: Mapping[str, SeriesTruth]
    _sent_bad: set[tuple[str, int]] = field(default_factory=set)
    """The rows that are bad once and that were sent."""
    _requests: int = 0

    def answer(
        self, timeframe: str, since: int, limit: int, until: int | None, now: int, weather: Weather = GOOD_WEATHER
    ) -> list[list[Any]]:
        """The rows of the answer to a request that is sent at `now`. Raises `RequestFailed`."""
        number, self._requests = self._requests, self._requests + 1
        if weather.failing and weather.failing[number % len(weather.failing)]:
            raise RequestFailed
        if weather.empty and weather.empty[number % len(weather.empty)]:
            return []
        as_of = now - weather.lag_minutes * 60_000
        kind = Kind.NEWEST if weather.ignores_since else self.behaviour.kind
        return self._rows(timeframe, self._selected(kind, self.series[timeframe], since, limit, until, as_of), as_of)

    def offered(self, timeframe: str, start: int, limit: int, now: int, *, knows_until: bool) -> Sequence[int]:
        """The candles from `start` on that a client can still get at `now` by any request: closed, with valid values.

        `knows_until`: the client's requests have an end.
        """
        truth, behaviour = self.series[timeframe], self.behaviour
        visible = self._visible(truth, start, now + 1, now)
        if behaviour.kind is Kind.NEWEST or (behaviour.kind is Kind.NEWEST_FIRST and not knows_until):
            visible = visible[-min(limit, behaviour.width) :]
        elif behaviour.clips_since and behaviour.kind in {Kind.FIRST, Kind.WINDOW, Kind.END_ONLY}:
            visible = ()  # no request reaches the candles in the middle of a file
        return [at for at in visible if truth.close_of(at) <= now and not truth.is_bad(at, now)]

    def offered_from(self, timeframe: str, now: int) -> int:
        """No candle that opens before this time can be read at `now` any more."""
        horizon, opens = self.behaviour.horizon, self.series[timeframe].opens
        if horizon is None:
            return 0
        if self.behaviour.horizon_by_time:
            return shift(timeframe, floor_open(timeframe, now), 1 - horizon)
        first = bisect_right(opens, now) - horizon
        return opens[first] if first > 0 else 0

    # ---- selection ----

    def _selected(
        self, kind: Kind, truth: SeriesTruth, since: int, limit: int, until: int | None, as_of: int
    ) -> Sequence[int]:
        width, timeframe = min(limit, self.behaviour.width), truth.timeframe
        if self.behaviour.clips_since:
            since = self._file_of(timeframe, since)[0]
        if self.behaviour.excludes_since:
            since += 1
        end = as_of + 1
        if until is not None and self.behaviour.honours_until:
            end = min(end, until)
        ahead = min(end, shift(timeframe, since, width))
        file_start, file_end = self._file_of(timeframe, since)
        start, end = {
            Kind.WINDOW: (since, ahead),
            Kind.NEWEST: (0, end),
            Kind.FILE: (file_start, min(end, file_end)),
            Kind.END_ONLY: (0, ahead),
        }.get(kind, (since, end))
        rows = self._visible(truth, start, end, as_of)
        if kind is Kind.FIRST:
            return rows[:width]
        return rows if kind in {Kind.TO_NOW, Kind.FILE} else rows[-width:]

    def _visible(self, truth: SeriesTruth, start: int, end: int, as_of: int) -> Sequence[int]:
        """The candles that open in the range and are published at `as_of`."""
        opens = truth.opens
        first, last = bisect_left(opens, start), bisect_left(opens, min(end, as_of + 1))
        first = max(first, bisect_left(opens, self.offered_from(truth.timeframe, as_of)))
        found = opens[first:last] if first < last else ()
        if truth.late:
            found = [at for at in found if truth.published_at(at) <= as_of]
        if not self.behaviour.sends_open_candle and found and truth.close_of(found[-1]) > as_of:
            found = found[:-1]
        return found

    def _file_of(self, timeframe: str, since: int) -> tuple[int, int]:
        minutes = "1d" if self.behaviour.whole_days else "2h"
        unit = {"m": minutes, "h": "1d"}.get(timeframe[-1], "1y")
        start = floor_open(unit, since)
        return start, close_of(unit, start)

    # ---- rows ----

    def _rows(self, timeframe: str, opens: Sequence[int], as_of: int) -> list[list[Any]]:
        truth, rows = self.series[timeframe], []
        for at in opens:
            if truth.bad and self._is_sent_bad(truth, at, as_of):
                rows += bad_rows(at, truth.bad[at])
            elif truth.close_of(at) <= as_of:
                rows.append(list(candle_at(at)))
            else:
                rows.append(unfinished_row(at))
        if self.behaviour.repeats_rows and rows:
            rows = [rows[0], *rows, rows[-1]]
        match self.behaviour.order:
            case Order.ASCENDING:
                return rows
            case Order.DESCENDING:
                return rows[::-1]
            case Order.MIXED:
                return rows[1::2] + rows[::2]

    def _is_sent_bad(self, truth: SeriesTruth, at: int, as_of: int) -> bool:
        if not truth.is_bad(at, as_of) or truth.close_of(at) > as_of:
            return False
        if truth.bad[at] is BadKind.ONCE:
            if (truth.timeframe, at) in self._sent_bad:
                return False
            self._sent_bad.add((truth.timeframe, at))
        return True
