"""The levels of candles for charts: the lengths of the levels of a series, and the start of their rows.

Candle-writer joins the candles of long series into rows of these lengths (`candle_levels`), and `GET /candles/chart`
reads them. Rows begin at multiples of their length since the epoch. See "Levels for charts" in docs/architecture.md.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MIN_CANDLES: Final = 20_000
"""A series with fewer candles has no levels, because charts can read its candles fast enough."""

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

LEVELS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "1s": (30, 5 * _MINUTE, _HOUR),
        "1m": (15 * _MINUTE, _HOUR, 12 * _HOUR),
        "3m": (_HOUR, 12 * _HOUR),
        "5m": (_HOUR, 12 * _HOUR),
        "15m": (2 * _HOUR, _DAY),
        "30m": (4 * _HOUR, _DAY),
        "1h": (_DAY,),
        "2h": (_DAY,),
    }
)
"""The lengths of the levels by timeframe, in seconds, ascending. Each length is a multiple of the one before.

Series of other timeframes have too few candles for levels. A chart has at most 2,000 points of the lengths that people
can read (`admin_api.candles.chart_points`). With these levels, a chart reads at most 30,000 rows.
"""

EXACT_VOLUME: Final = "CAST(CAST(least(volume, 1e290) AS text) AS numeric)"
"""SQL for the volume of a candle, as `numeric` with the digits that people see.

Sums of it are exact. So a sum is the same in any order, and the same if a part of a point is read from a level. The
limit keeps the sum of impossible volumes within the range of a float.
"""


def levels_of(timeframe: str) -> tuple[int, ...]:
    """The lengths of the levels in seconds, ascending. Empty: charts read the candles only."""
    return LEVELS.get(timeframe, ())
