"""candlekeep candles: the stored candles."""

from typing import Annotated, Final

import typer

from command_line.context import api_of
from command_line.output import AsJson, Column, format_time, print_json, print_table

_COLUMNS: Final[tuple[Column, ...]] = (
    ("OPEN TIME (UTC)", lambda row: format_time(row["open_time"])),
    *((name.upper(), lambda row, name=name: row[name]) for name in ("open", "high", "low", "close", "volume")),
    ("TRADES", lambda row: row.get("trades")),
    ("QUOTE VOLUME", lambda row: row.get("quote_volume")),
)


def candles(
    context: typer.Context,
    exchange: Annotated[str, typer.Argument(help="ccxt's exchange id, such as binance.")],
    symbol: Annotated[str, typer.Argument(help="ccxt's symbol, such as BTC/USDT.")],
    timeframe: Annotated[str, typer.Argument(help="The length of a candle, such as 1m or 1h.")],
    start: Annotated[str | None, typer.Option(help="Only candles that open at this time or later, UTC.")] = None,
    end: Annotated[str | None, typer.Option(help="Only candles that open before this time, UTC.")] = None,
    most: Annotated[int, typer.Option("--most", "-n", help="The largest number of candles.", min=1)] = 100,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    *,
    as_json: AsJson = False,
) -> None:
    """Print candles of one series: the latest ones, or from --start on."""
    query = {
        "exchange": exchange,
        "symbol": symbol,
        "timeframe": timeframe,
        "start": start,
        "end": end,
        "limit": most,
        "format": "csv" if csv else "json",
    }
    response = api_of(context).request(
        "GET", "/candles", params={name: value for name, value in query.items() if value is not None}
    )
    if csv:
        return typer.echo(response.text, nl=False)
    if as_json:
        return print_json(response.json())
    print_table(_COLUMNS, response.json(), nothing="No candles match.")
    return None
