"""Recorded candles: CSV files as one series, with their gaps."""

from bisect import bisect_left
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path

from exchange_simulator.aggregate import Candle, group, merge
from exchange_simulator.settings import Replay
from exchange_simulator.timeframes import FRAMES, Frame

HEADER = "timestamp_ms,open,high,low,close,volume"
_COLUMNS = HEADER.count(",") + 1
_Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]


class BadRecordingError(ValueError):
    """A CSV file cannot be replayed. The message names the file, the line and the reason."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")


@dataclass(frozen=True, slots=True)
class _Place:
    """The file and line of a row, for error messages."""

    path: Path
    line: int

    def bad(self, reason: str) -> BadRecordingError:
        return BadRecordingError(self.path, self.line, reason)


class ReplaySeries:
    """The candles of a recording, and coarser candles aggregated from them. Gaps stay gaps."""

    def __init__(self, frame: Frame, rows: list[Candle], price_decimals: int, volume_decimals: int) -> None:
        self.frame, self.rows = frame, rows
        self.price_decimals, self.volume_decimals = price_decimals, volume_decimals
        self.span = rows[0].open_ms, frame.plus(rows[-1].open_ms, 1)
        self._grouped = lru_cache(maxsize=8)(self._group)

    def candles(self, frame: Frame, start_ms: int, stop_ms: int, now_ms: int) -> list[Candle]:
        """Ascending candles that open in [start, stop) and not after now. An open candle has the data up to now."""
        if not frame.is_made_of(self.frame):
            return []
        open_now = frame.floor(now_ms)
        closed, opens = self._grouped(frame)
        first, last = bisect_left(opens, start_ms), bisect_left(opens, min(stop_ms, open_now))
        candles = closed[first:last]
        if start_ms <= open_now < stop_ms:
            candles += group(frame, self._rows_so_far(open_now, now_ms))
        return candles

    def between(self, start_ms: int, end_ms: int, now_ms: int) -> Candle | None:
        """The aggregate of the rows that open in [start, end) and not after now."""
        rows = self._rows(start_ms, end_ms) if end_ms <= now_ms else self._rows_so_far(start_ms, now_ms)
        return merge(start_ms, rows) if rows else None

    def _group(self, frame: Frame) -> tuple[list[Candle], list[int]]:
        candles = self.rows if frame == self.frame else group(frame, self.rows)
        return candles, [candle.open_ms for candle in candles]

    def _rows(self, start_ms: int, end_ms: int) -> list[Candle]:
        _, opens = self._grouped(self.frame)
        return self.rows[bisect_left(opens, start_ms) : bisect_left(opens, end_ms)]

    def _rows_so_far(self, open_ms: int, now_ms: int) -> list[Candle]:
        """Rows from `open_ms` to now. An open row has only its open price and a share of its volume."""
        rows = self._rows(open_ms, now_ms + 1)
        if rows and (end_ms := self.frame.plus(rows[-1].open_ms, 1)) > now_ms:
            row = rows[-1]
            traded = row.volume * (now_ms - row.open_ms) // (end_ms - row.open_ms)
            rows[-1] = Candle(row.open_ms, row.open, row.open, row.open, row.open, traded)
        return rows


def load(replay: Replay, shift_to_ms: int | None) -> ReplaySeries:
    """Read a recording. With `shift_to_ms`, its first row is moved to that time. Raises BadRecordingError."""
    frame = FRAMES[replay.timeframe]
    rows: list[_Row] = []
    for path in replay.paths:
        _append_file(path, frame, rows)
    price_decimals = max(_decimals(price) for row in rows for price in row[1:5])
    volume_decimals = max(_decimals(row[5]) for row in rows)
    shift = 0 if shift_to_ms is None else frame.floor(shift_to_ms) - rows[0][0]
    price, volume = Decimal(10) ** price_decimals, Decimal(10) ** volume_decimals
    candles = [
        Candle(t + shift, int(o * price), int(h * price), int(low * price), int(c * price), int(v * volume))
        for t, o, h, low, c, v in rows
    ]
    return ReplaySeries(frame, candles, price_decimals, volume_decimals)


def _append_file(path: Path, frame: Frame, rows: list[_Row]) -> None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecordingError(path, 0, f"cannot be read: {error}") from error
    if not lines or lines[0].strip() != HEADER:
        raise BadRecordingError(path, 1, f"the first line must be {HEADER}")
    if len(lines) == 1:
        raise BadRecordingError(path, 1, "there are no rows")
    for number, line in enumerate(lines[1:], start=2):
        place = _Place(path, number)
        row = _parse(line, place)
        if frame.floor(row[0]) != row[0]:
            raise place.bad(f"{row[0]} is not the open of a {frame.name} candle")
        if rows and row[0] <= rows[-1][0]:
            raise place.bad(f"{row[0]} does not follow {rows[-1][0]}: rows must ascend, also across files")
        rows.append(row)


def _parse(line: str, place: _Place) -> _Row:
    fields = line.split(",")
    if len(fields) != _COLUMNS:
        raise place.bad(f"{len(fields)} fields instead of {_COLUMNS}")
    try:
        open_ms = int(fields[0])
        opening, high, low, close, volume = (Decimal(field) for field in fields[1:])
    except (ValueError, InvalidOperation):
        raise place.bad("every field must be a number, and the first one an integer") from None
    if not all(number.is_finite() for number in (opening, high, low, close, volume)) or volume < 0 or open_ms < 0:
        raise place.bad("numbers must be finite, and time and volume not negative")
    if not 0 < low <= min(opening, close) <= max(opening, close) <= high:
        raise place.bad("prices must satisfy 0 < low <= open, close <= high")
    return open_ms, opening, high, low, close, volume


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
