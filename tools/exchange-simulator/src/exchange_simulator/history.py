"""The history of a market: when it was listed, when it was silent. It decides which candles exist.

A history is a fact, not a fault: it stays when the moods are deleted, and `/control/truth` takes it into account.
"""

from dataclasses import fields, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from exchange_simulator.aggregate import Candle, merge
from exchange_simulator.series import Series, Span, without
from exchange_simulator.timeframes import HOUR, LAST_MS, MINUTE, Frame, at_utc_offset, parse_instant

Instant = Annotated[int, BeforeValidator(lambda value: parse_instant(str(value)))]
"""Milliseconds since the epoch, or an ISO 8601 instant."""

_STRICT = ConfigDict(extra="forbid")


class Status(StrEnum):
    TRADING = "trading"
    INACTIVE = "inactive"
    """The exchange lists the market as not active and still answers requests for its candles."""
    VANISHED = "vanished"
    """The exchange no longer lists the market and refuses requests for its candles."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class History:
    """Facts about the markets of an exchange. Times are rounded to whole minutes."""

    listed: Instant = 0
    """The first candle contains this time."""
    delisted: Instant = LAST_MS
    """No candle opens from this time on."""
    silences: tuple[tuple[Instant, Instant], ...] = ()
    """Ranges [start, end) without a trade."""
    fills: bool | None = None
    """Whether candles without a trade are shown as flat rows; otherwise they are omitted. None: as the exchange."""
    silent_share: Annotated[float, Field(ge=0, le=0.9)] | None = None
    """The share of other minutes without a trade. None: as in the settings."""
    utc_offset_hours: Annotated[int, Field(ge=-23, le=23)] = 0
    """Candles longer than an hour open by this time zone: with 8, days open at 16:00 UTC."""
    status: Status = Status.TRADING
    renamed_to: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")] | None = None
    """The base asset that the list of markets shows for the market, whose id stays the same. Not on Kraken and swaps of
    OKX, whose ids contain the asset.
    """

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(start >= end for start, end in self.silences):
            raise ValueError("a silence must end after it starts")
        return self

    @cached_property
    def traded(self) -> list[Span]:
        """The ranges of time in which trades may have happened."""
        gaps = tuple((start // MINUTE * MINUTE, -(-end // MINUTE) * MINUTE) for start, end in self.silences)
        return without(self.life, gaps)

    @property
    def life(self) -> Span:
        return self.listed // MINUTE * MINUTE, self.delisted // MINUTE * MINUTE

    @property
    def changes_trades(self) -> bool:
        return bool(self.silences) or self.life != (0, LAST_MS)

    def frame(self, frame: Frame) -> Frame:
        """The grid on which the exchange opens candles of this timeframe."""
        longer = frame.months or frame.step_ms > HOUR
        return at_utc_offset(frame, self.utc_offset_hours) if longer and self.utc_offset_hours else frame


HISTORIES = TypeAdapter(History)
NO_HISTORY = History()


def joined(base: History, other: History) -> History:
    """`base` with the fields that `other` sets. The silences of both are kept."""
    changes = {
        field.name: value
        for field in fields(History)
        if (value := getattr(other, field.name)) != getattr(NO_HISTORY, field.name)
    }
    return replace(base, **changes | {"silences": base.silences + other.silences})


class LivedSeries:
    """A series without the trades that its history excludes. Coarse candles aggregate the minutes that remain."""

    def __init__(self, series: Series, history: History, *, fills: bool) -> None:
        self._series, self._history, self._fills = series, history, fills
        self.price_decimals, self.volume_decimals = series.price_decimals, series.volume_decimals
        self.span = max(series.span[0], history.life[0]), min(series.span[1], history.life[1])
        self._piece = lru_cache(maxsize=256)(series.between)

    def candles(self, frame: Frame, start_ms: int, stop_ms: int, now_ms: int) -> list[Candle]:
        stop = min(stop_ms, now_ms + 1)
        whole: list[Candle] = []
        edges: set[int] = set()
        for begin, end in self._parts(frame, start_ms, stop):
            first, last = frame.ceil(begin), frame.floor(end)
            whole += self._series.candles(frame, max(start_ms, first), min(stop, last), now_ms)
            edges |= {frame.floor(edge) for edge in (begin, end) if frame.floor(edge) != edge}
        broken = [
            self._edge(open_ms, frame.plus(open_ms, 1), now_ms) for open_ms in edges if start_ms <= open_ms < stop
        ]
        found = whole + [candle for candle in broken if candle is not None]
        if not self._fills:
            return sorted(candle for candle in found if candle.volume)
        return sorted(found + self._flat(frame, start_ms, stop, {candle.open_ms for candle in found}))

    def between(self, start_ms: int, end_ms: int, now_ms: int) -> Candle | None:
        return self._edge(start_ms, end_ms, now_ms)

    def _parts(self, frame: Frame, start_ms: int, stop_ms: int) -> list[Span]:
        """The traded ranges that touch a candle which opens in [start, stop)."""
        reach = frame.plus(frame.floor(max(stop_ms - 1, 0)), 1)
        return [(begin, end) for begin, end in self._history.traded if begin < reach and end > start_ms]

    def _edge(self, open_ms: int, end_ms: int, now_ms: int) -> Candle | None:
        """A candle that lies partly in a silence."""
        pieces: list[Candle] = []
        for begin, end in self._history.traded:
            if begin >= end_ms or begin > now_ms:
                break
            if end > open_ms and (piece := self._between(max(begin, open_ms), min(end, end_ms), now_ms)):
                if not self._fills and not piece.volume:
                    continue  # its minutes are omitted, so their price belongs to no candle
                if self._fills and begin > open_ms and (flat := self._before(begin)):
                    pieces.append(flat)
                pieces.append(piece)
        return merge(open_ms, pieces) if pieces else None

    def _between(self, start_ms: int, end_ms: int, now_ms: int) -> Candle | None:
        piece = self._piece if end_ms <= now_ms else self._series.between
        return piece(start_ms, end_ms, min(end_ms, now_ms))

    def _flat(self, frame: Frame, start_ms: int, stop_ms: int, present: set[int]) -> list[Candle]:
        """Flat candles for silences, from the listing to the delisting."""
        flat: list[Candle] = []
        life = self._history.life
        for begin, end in without(life, tuple(self._history.traded)):
            first, last = max(frame.ceil(begin), frame.ceil(start_ms)), min(end, stop_ms) - 1
            if first <= last and (before := self._before(end)):
                opens = frame.opens(first, frame.floor(last))
                flat += [before._replace(open_ms=open_ms) for open_ms in opens if open_ms not in present]
        return flat

    def _before(self, instant_ms: int) -> Candle | None:
        """The price of the last trade before a time, as a candle without volume."""
        earlier = [end for _, end in self._history.traded if end < instant_ms]
        if not earlier:
            return None
        last = self._piece(earlier[-1] - MINUTE, earlier[-1], earlier[-1])
        return Candle(0, last.close, last.close, last.close, last.close, 0) if last else None
