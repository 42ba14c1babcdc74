"""The state of the market of a config, in words, from the lists of markets of its exchange."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.configs.schemas import Config, MarketStatus
from contracts.symbols import kind_of

_STATUS: Final = sa.text("""
SELECT wanted.number, list.read_at, list.incomplete_since, market.market_id, market.state, market.since,
       market.evidence, market.missing_since, market.missing_lists, market.last_listed, market.renamed_to
FROM unnest(CAST(:exchanges AS text[]), CAST(:symbols AS text[]), CAST(:kinds AS text[]))
  WITH ORDINALITY AS wanted (exchange, symbol, kind, number)
LEFT JOIN market_lists AS list USING (exchange, kind)
LEFT JOIN markets AS market USING (exchange, symbol)
""")


async def with_markets(connection: AsyncConnection, shown: Sequence[Config]) -> list[Config]:
    """The configs with the states of their markets, in order."""
    if not shown:
        return []
    values: dict[str, Any] = {
        "exchanges": [each.exchange for each in shown],
        "symbols": [each.symbol for each in shown],
        "kinds": [kind_of(each.symbol) for each in shown],
    }
    rows = {row["number"]: dict(row) for row in (await connection.execute(_STATUS, values)).mappings()}
    return [
        each.model_copy(update={"market": status_of(each.exchange, each.symbol, rows[number])})
        for number, each in enumerate(shown, 1)
    ]


def status_of(exchange: str, symbol: str, row: Mapping[str, Any]) -> MarketStatus | None:
    """The status from the row of a market and of the last list of its kind. Pure."""
    name = f"{symbol} on {exchange}"
    if row["state"] is None:
        if row["read_at"] is None:
            return None
        return MarketStatus(
            state="not_listed",
            since=row["read_at"],
            message=f"{exchange} has not listed {symbol} since Candlekeep reads its markets. Check the symbol; GET "
            "/exchanges/{id} describes how symbols are written. Runs fail until it is listed.",
            evidence=f"not in the list of {_time(row['read_at'])}",
        )
    state, since, evidence = row["state"], row["since"], row["evidence"]
    if row["missing_since"] is not None and state != "delisted":
        state, since = "missing", row["missing_since"]
        evidence = f"last in the list of {_time(row['last_listed'])}; {_absences(row)}"
    return MarketStatus(
        state=state,
        since=since,
        message=_MESSAGES[state].format(name=name, since=_time(since), to=row["renamed_to"]),
        evidence=evidence,
        renamed_to=row["renamed_to"],
    )


_NOTHING_DELETED: Final = "Its candles stay stored, and no time after it counts as missing."

_MESSAGES: Final = {
    "listed": "{name} is listed since {since} or earlier.",
    "missing": "{name} is absent from the list of {since}. This is not confirmed: the list may be incomplete. Nothing "
    "is to be done now.",
    "suspended": "{name} is listed as not active since {since}: it is suspended, or will be delisted. "
    + _NOTHING_DELETED
    + " Nothing is to be done if it is traded again.",
    "renamed": "{name} is listed as {to} since {since}. " + _NOTHING_DELETED + " To collect its candles on, create a "
    "config for {to}, and disable this one.",
    "delisted": "{name} was delisted: no list has it since {since}. " + _NOTHING_DELETED + " Disable the config, or "
    "keep it: the target goes on when the market is listed again.",
}


def _absences(row: Mapping[str, Any]) -> str:
    if row["incomplete_since"] is not None:
        return f"the lists since {_time(row['incomplete_since'])} lack a large part of the markets"
    lists = row["missing_lists"]
    return "absent from 1 list since then" if lists == 1 else f"absent from {lists} lists since then"


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
