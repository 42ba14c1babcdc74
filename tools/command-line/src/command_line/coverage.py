"""candlekeep coverage: the verified spans and the open holes of a series."""

from typing import Annotated, Any, Final

import typer

from command_line.context import api_of
from command_line.failures import NotWhole
from command_line.output import AsJson, Column, format_time, print_facts, print_json, print_message, print_table

_HOLES: Final[tuple[Column, ...]] = (
    ("FROM (UTC)", lambda hole: format_time(hole["start"])),
    ("UNTIL (UTC)", lambda hole: format_time(hole["end"])),
    ("PERIODS", lambda hole: hole["periods"]),
    ("CLASS", lambda hole: hole["absence_class"]),
    ("LAST CHECKED (UTC)", lambda hole: format_time(hole["last_checked"])),
    ("ATTEMPTS", lambda hole: _repair(hole, "attempts")),
    ("NEXT ATTEMPT (UTC)", lambda hole: format_time(_repair(hole, "next_attempt_at"))),
    ("EVIDENCE", lambda hole: _repair(hole, "reason") or hole["evidence"]),
)


def coverage(
    context: typer.Context,
    exchange: Annotated[str, typer.Argument(help="ccxt's exchange id, such as binance.")],
    symbol: Annotated[str, typer.Argument(help="ccxt's symbol, such as BTC/USDT.")],
    timeframe: Annotated[str, typer.Argument(help="The length of a candle, such as 1m or 1h.")],
    start: Annotated[
        str | None, typer.Option(help="Only candles that open at this time or later, UTC. Default: the whole series.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Only candles that open before this time, UTC. Default: up to now.")
    ] = None,
    most: Annotated[int, typer.Option("--most", "-n", help="The largest number of spans.", min=1, max=1000)] = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """Show which part of a series is verified, and each open hole. Exit code 6 if the range is not whole.

    A period is the time range of one candle. Without --end, the time after the last verified span does not count,
    because the next run reads it.
    """
    found = api_of(context).get(
        "/coverage", exchange=exchange, symbol=symbol, timeframe=timeframe, start=start, end=end, limit=most
    )
    if as_json:
        print_json(found)
    else:
        _print(found)
    _require_whole(found, count_the_end=end is not None)


def _print(found: dict[str, Any]) -> None:
    print_facts(
        [
            ("range", _span(found)),
            ("verified", f"{_span(found, 'verified_from', 'verified_until')}, in the whole series"),
            ("whole", _percent(found["whole"])),
            ("answered", _percent(found["answered"])),
            ("verified periods", f"{found['verified_periods']} of {found['closed_periods']}"),
            ("before the first verified", _outside(found["before_first_verified"])),
            ("not yet verified", _outside(found["not_yet_verified"])),
            ("rejected rows", found["rejected_candles"]["count"]),
        ]
    )
    if found["open_holes"] or not found["truncated"]:
        print_table(_HOLES, found["open_holes"], nothing="No open holes.")
    if found["truncated"]:
        print_message("There are more spans. Use a larger --most, or a later --start.")


def _require_whole(found: dict[str, Any], *, count_the_end: bool) -> None:
    """Raises `NotWhole`. `count_the_end`: whether the time that is not verified yet counts."""
    name = " ".join(found[each] for each in ("exchange", "symbol", "timeframe"))
    if found["whole"] is None:
        raise NotWhole(f"{name}: no period of the range has ended, or nothing is known about the series.")
    later = found["not_yet_verified"] or {"periods": 0}
    counted = found["closed_periods"] - (0 if count_the_end else later["periods"])
    if counted == 0:
        raise NotWhole(f"{name}: nothing in the range is verified yet.")
    if missing := counted - found["verified_periods"]:
        raise NotWhole(f"{name} is not whole: {missing} of {counted} periods are not verified.")


def _span(found: dict[str, Any], start: str = "start", end: str = "end") -> str:
    if found[start] is None or found[end] is None:
        return "nothing"
    return f"{format_time(found[start])} to {format_time(found[end])}"


def _outside(span: dict[str, Any] | None) -> str:
    if span is None:
        return "nothing"
    return f"{_span(span)}, {span['periods']} period{'' if span['periods'] == 1 else 's'}"


def _percent(share: float | None) -> str | None:
    """Rounded down, so that only a whole range is 100 %."""
    return None if share is None else f"{int(share * 1_000_000) / 10_000:.4f} %"


def _repair(hole: dict[str, Any], name: str) -> Any:
    """A fact about the repair of a hole. None: none is planned, or the API is older."""
    return (hole.get("repair") or {}).get(name)
