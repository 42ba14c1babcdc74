"""Requests the status of an exchange while a series gets no new candles.

An exchange does not say later whether it was closed. So live runs request its status during the silence, at most once a
minute per exchange. A later run uses these statements as evidence.
"""

import asyncio
from contextlib import suppress
from typing import Final

from collector.exchange.client import ExchangeClient
from collector.exchange.failures import ExchangeFailure
from collector.run.timeframe_run import TimeframeRun
from contracts.timeframes import close_of

_SLACK_MS: Final = 2 * 60_000
_LONGEST_SECONDS: Final = 5.0


async def watch_status(client: ExchangeClient, timeframe_run: TimeframeRun, deadline: float) -> None:
    """Request the status if the run has found no recent candle. It takes at most five seconds, and never fails.

    `deadline`: a time of the event loop.
    """
    if not lacks_recent_candles(timeframe_run.timeframe, timeframe_run.newest_open, client.now_ms()):
        return
    try:
        async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + _LONGEST_SECONDS)):
            await refresh_status(client)
    except TimeoutError:
        return


async def refresh_status(client: ExchangeClient) -> bool:
    """Request the status, unless it was requested within the last minute. Returns whether it was answered. A failure
    says nothing about the exchange, so it is not raised.
    """
    if not client.statements.start_request(client.now_ms()):
        return False
    with suppress(ExchangeFailure):
        return await client.fetch_status() is not None
    return False


def lacks_recent_candles(timeframe: str, newest_open: int | None, now: int) -> bool:
    """Whether the candle after the newest one ended more than two minutes ago. Pure; times are in milliseconds."""
    return newest_open is None or close_of(timeframe, close_of(timeframe, newest_open)) + _SLACK_MS < now
