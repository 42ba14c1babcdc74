"""The levels of candles for charts: which lengths a series has, and where they begin.

Candle-writer joins the candles of long series into rows of these lengths (`candle_levels`), and `GET /candles/chart`
reads them. Rows begin at multiples of their length since the epoch. See "Chart levels" in docs/architecture.md.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MIN_CANDLES: Final = 60_000
"""A series with fewer candles has no levels: its candles are read fast enough."""

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE

LEVELS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "1s": (30, 15 * _MINUTE),
        "1m": (30 * _MINUTE, 12 * _HOUR),
        "3m": (_HOUR, 24 * _HOUR),
        "5m": (_HOUR, 24 * _HOUR),
        "15m": (2 * _HOUR,),
        "30m": (6 * _HOUR,),
        "1h": (24 * _HOUR,),
    }
)
"""The lengths of the levels by timeframe, in seconds, ascending. Each length is a multiple of the one before.

A chart has at most 2,000 points, whose lengths are those that people can read (`admin_api.candles.chart_points`). With
these levels it reads at most about 50,000 rows. Series of other timeframes have too few candles for levels.
"""


def levels_of(timeframe: str) -> tuple[int, ...]:
    """The lengths of the levels in seconds, ascending. Empty: charts read the candles only."""
    return LEVELS.get(timeframe, ())
