"""candlekeep candles: what was collected."""

from typing import Annotated, Final

import typer

from command_line.context import api_of
from command_line.output import AsJson, Column, moment, print_json, print_table

_COLUMNS: Final[tuple[Column, ...]] = (
    ("OPEN TIME (UTC)", lambda row: moment(row["open_time"])),
    *((name.upper(), lambda row, name=name: row[name]) for name in ("open", "high", "low", "close", "volume")),
)


def candles(
    context: typer.Context,
    exchange: Annotated[str, typer.Argument(help="ccxt's id, such as binance.")],
    symbol: Annotated[str, typer.Argument(help="As ccxt writes it.")],
    timeframe: Annotated[str, typer.Argument(help="Such as 1m or 1h.")],
    start: Annotated[str | None, typer.Option(help="From this open time on, UTC.")] = None,
    end: Annotated[str | None, typer.Option(help="Before this open time, UTC.")] = None,
    most: Annotated[int, typer.Option("--most", "-n", help="So many at most.", min=1)] = 100,
    csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table.")] = False,
    *,
    as_json: AsJson = False,
) -> None:
    """Candles of one series: the newest, or from --start on."""
    query = {
        "exchange": exchange,
        "symbol": symbol,
        "timeframe": timeframe,
        "start": start,
        "end": end,
        "limit": most,
        "format": "csv" if csv else "json",
    }
    answer = api_of(context).request(
        "GET", "/candles", params={name: value for name, value in query.items() if value is not None}
    )
    if csv:
        return typer.echo(answer.text, nl=False)
    if as_json:
        return print_json(answer.json())
    print_table(_COLUMNS, answer.json(), nothing="There are no such candles.")
    return None
