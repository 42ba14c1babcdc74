"""candlekeep completeness: how complete all series are, in total or in groups."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from command_line.context import api_of
from command_line.output import AsJson, Column, format_time, print_json, print_table

_MARKS: Final = "▁▂▃▄▅▆▇"
_ANSWERED: Final = "█"
_NO_PERIODS: Final = " "
_PAGE: Final = 1000


class By(StrEnum):
    """The series that are counted together."""

    TOTAL = "total"
    EXCHANGE = "exchange"
    CONFIG = "config"
    SERIES = "series"


_KEYS: Final[dict[By, tuple[Column, ...]]] = {
    By.TOTAL: (),
    By.EXCHANGE: (("EXCHANGE", lambda row: row["exchange"]),),
    By.CONFIG: (("CONFIG", lambda row: row["config_id"]),),
    By.SERIES: (
        ("EXCHANGE", lambda row: row["exchange"]),
        ("SYMBOL", lambda row: row["symbol"]),
        ("TIMEFRAME", lambda row: row["timeframe"]),
    ),
}
_NUMBERS: Final[tuple[Column, ...]] = (
    ("SERIES", lambda row: row["series"]),
    ("WHOLE", lambda row: _percent(row["whole_percent"])),
    ("ANSWERED", lambda row: _percent(row["answered_percent"])),
    ("PERIODS", lambda row: row["closed_periods"]),
    ("NOT ANSWERED", lambda row: row["closed_periods"] - row["answered_periods"]),
    ("FROM (UTC)", lambda row: format_time(row["start"])),
    ("UNTIL (UTC)", lambda row: format_time(row["end"])),
)


def completeness(
    context: typer.Context,
    by: Annotated[By, typer.Option(help="One row in total, or for each exchange, config or series.")] = By.TOTAL,
    exchange: Annotated[str | None, typer.Option(help="Only series of this exchange.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only series of this symbol.")] = None,
    timeframe: Annotated[str | None, typer.Option(help="Only series of this timeframe.")] = None,
    config: Annotated[int | None, typer.Option("--config", help="Only series of this config.", min=1)] = None,
    start: Annotated[str | None, typer.Option(help="Only candles that open on this day (UTC) or later.")] = None,
    end: Annotated[str | None, typer.Option(help="Only candles that open before this day (UTC).")] = None,
    days: Annotated[
        int | None, typer.Option(help="Only the last days, with a mark for each of them.", min=1, max=366)
    ] = None,
    most: Annotated[int, typer.Option("--most", "-n", help="The largest number of rows.", min=1)] = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """Show how complete the series are. 100 % is never rounded up.

    WHOLE: every candle that exists is stored. ANSWERED: also the periods of which the exchange has nothing more. A
    period is the time range of one candle.

    With --days, each mark is one UTC day: a full block if all its periods are answered, otherwise their share. The
    last mark is today.
    """
    if days is not None:
        if start is not None or end is not None:
            raise typer.BadParameter("use either --days, or --start and --end")
        start = first_of_the_last(days, datetime.now(UTC).date()).isoformat()
    query = {"exchange": exchange, "symbol": symbol, "timeframe": timeframe, "config_id": config}
    query |= {"group_by": by.value, "start": start, "end": end, "per_day": None if days is None else True}
    rows = list(api_of(context).rows("/completeness", most=most, page=_PAGE, **query))
    if as_json:
        print_json(rows)
        return
    columns = _KEYS[by] + _NUMBERS
    if start is not None and days is not None:
        first = date.fromisoformat(start)
        columns += (("DAYS", lambda row: marks(row["days"], first, days)),)
    filtered = any(value is not None for value in (exchange, symbol, timeframe, config))
    print_table(columns, rows, nothing="No series matches these filters." if filtered else "No series yet.")


def first_of_the_last(days: int, today: date) -> date:
    """The first of the last days, of which today is the last one."""
    return today - timedelta(days=days - 1)


def marks(numbers: list[dict[str, Any]], first: date, days: int) -> str:
    """A mark for each day from `first` on. `numbers` has the days with periods."""
    by_day = {each["day"]: each for each in numbers}
    return "".join(_mark(by_day.get((first + timedelta(days=number)).isoformat())) for number in range(days))


def _mark(day: dict[str, Any] | None) -> str:
    if day is None:
        return _NO_PERIODS
    if day["answered_periods"] == day["closed_periods"]:
        return _ANSWERED
    return _MARKS[day["answered_periods"] * len(_MARKS) // day["closed_periods"]]


def _percent(percent: float | None) -> str | None:
    return None if percent is None else f"{percent:.2f} %"
