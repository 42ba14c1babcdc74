"""candlekeep exchanges: the exchanges that can be collected, and how."""

from typing import Annotated, Any, Final

import typer

from command_line.context import api_of
from command_line.output import AsJson, Column, print_facts, print_json, print_message, print_table

_COLUMNS: Final[tuple[Column, ...]] = (
    ("ID", lambda exchange: exchange["id"]),
    ("NAME", lambda exchange: exchange["name"]),
    ("ALLOWED", lambda exchange: exchange["allowed"]),
    ("PAGE", lambda exchange: exchange["page_limit"]),
    ("KEEPS", lambda exchange: exchange["history_candles"]),
    ("SINCE", lambda exchange: exchange["honours_since"]),
    ("FILLS", lambda exchange: exchange["fills_silence"]),
    ("NEEDS KEYS", lambda exchange: exchange["needs_credentials"]),
    ("KNOWN", lambda exchange: exchange["traits_known"]),
    ("TIMEFRAMES", lambda exchange: exchange["timeframes"]),
)
_REQUESTS: Final[tuple[Column, ...]] = (
    ("MARKET", lambda requests: requests["market"]),
    ("REQUEST", lambda requests: requests["request"]),
    ("PAGE", lambda requests: requests["page_limit"]),
    ("KEEPS", lambda requests: requests["newest_readable"]),
    ("TIMEFRAMES", lambda requests: requests["timeframes"]),
)
_REFUSED: Final[tuple[Column, ...]] = (
    ("MARKET", lambda refused: refused["market"]),
    ("CANNOT BE COLLECTED", lambda refused: refused["reason"]),
    ("TIMEFRAMES", lambda refused: refused["timeframes"]),
)


def exchanges(
    context: typer.Context,
    exchange: Annotated[str | None, typer.Argument(help="ccxt's exchange id, such as binance.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the exchanges, or show one with its requests. KEEPS: only this many newest candles can be read."""
    api = api_of(context)
    if exchange is not None:
        return _show(api.get(f"/exchanges/{exchange}"), as_json=as_json)
    rows = api.get("/exchanges")
    if as_json:
        return print_json(rows)
    return print_table(_COLUMNS, rows, nothing="No exchanges.")


def _show(exchange: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json(exchange)
    for warning in exchange["warnings"]:
        print_message(f"Warning: {warning}")
    print_facts([(heading.lower(), of(exchange)) for heading, of in _COLUMNS])
    if exchange["requests"]:
        print_table(_REQUESTS, exchange["requests"], nothing="")
    if exchange["cannot_collect"]:
        print_table(_REFUSED, exchange["cannot_collect"], nothing="")
    return None
