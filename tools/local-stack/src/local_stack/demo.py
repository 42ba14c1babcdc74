"""`make demo`: the stack at fixed ports, example configs in it, and a line for every run that finishes."""

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from local_stack.errors import StackError
from local_stack.plan import DEFAULT_PORT, Ports
from local_stack.stack import Stack, StackOptions

SHORTEST_TOKEN = 24
# Under make one Ctrl-C can arrive twice, from the terminal and from make.
IMPATIENT_AFTER_SECONDS = 0.5
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    folder: Path = Path(".demo")
    port: int = DEFAULT_PORT
    live: bool = False


class Narrator:
    """Progress lines with the time since the start. A terminal that is gone does not stop the demo's clean end."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_at

    def progress(self, text: str) -> None:
        self.print(f"{self.seconds:6.1f} s  {text}")

    def print(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(text, flush=True)


def demo_token() -> str:
    token = os.environ.get("CANDLEKEEP_ADMIN_TOKEN") or secrets.token_urlsafe(32)
    if len(token) < SHORTEST_TOKEN:
        raise StackError(f"CANDLEKEEP_ADMIN_TOKEN has {len(token)} characters; it needs at least {SHORTEST_TOKEN}")
    return token


async def run_demo(options: DemoOptions) -> None:
    """Until a signal. Returns after a clean end; raises StackError with one line when it cannot start."""
    narrator = Narrator()
    stack = Stack(
        StackOptions(
            folder=options.folder,
            ports=Ports.fixed(options.port),
            live=options.live,
            token=demo_token(),
            say=narrator.progress,
        )
    )
    narrator.progress(f"starting Candlekeep in {stack.folder.path} (Ctrl-C stops everything)")
    stop = _stop_event(stack, narrator)
    try:
        if await _unless_stopped(stack.start(), stop):
            await _unless_stopped(_show(stack, narrator, options), stop)
    finally:
        stopping_at, anything = narrator.seconds, bool(stack.processes)
        await stack.stop()
        if anything:
            narrator.progress(f"everything is stopped ({narrator.seconds - stopping_at:.1f} s); the data is kept")


def _stop_event(stack: Stack, narrator: Narrator) -> asyncio.Event:
    """Set by the first signal; the second one kills."""
    stop = asyncio.Event()

    asked_at = 0.0

    def on_signal(number: signal.Signals) -> None:
        nonlocal asked_at
        if not stop.is_set():
            asked_at = narrator.seconds
            narrator.print("")
            narrator.progress("stopping in order (Ctrl-C once more: kill at once)")
            stop.set()
        elif number is signal.SIGINT and narrator.seconds - asked_at > IMPATIENT_AFTER_SECONDS:
            stack.kill_all()
            os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return stop


async def _unless_stopped(work: Awaitable[None], stop: asyncio.Event) -> bool:
    """Whether the work was done before the signal; a signal cancels it."""
    doing, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if doing.done():
        await doing
        return True
    doing.cancel()
    with contextlib.suppress(asyncio.CancelledError, StackError):
        await doing
    return False


async def _show(stack: Stack, narrator: Narrator, options: DemoOptions) -> None:
    from local_stack.api_client import client, create_examples, finished_runs  # noqa: PLC0415 -- httpx: half a second

    async with client(stack.api_url, stack.token) as api:
        runs = finished_runs(api)
        config_id = await create_examples(api)
        narrator.progress("ready")
        narrator.print(welcome(stack, config_id, live=options.live))
        async for run in runs:
            narrator.print(run.line())


def welcome(stack: Stack, config_id: int, *, live: bool) -> str:
    from local_stack.api_client import BASE, EXAMPLES  # noqa: PLC0415 -- see _show

    symbol, exchange, _ = EXAMPLES[0]
    base = f"{stack.api_url}{BASE}"
    curl = f"curl -s -H 'Authorization: Bearer {stack.token}'"
    source = "the real exchanges" if live else f"simulated exchanges at {stack.simulator_url}"
    return f"""
  API        {base}
  API docs   {stack.api_url}/docs
  Token      {stack.token}
             (also in {stack.folder.path / "token"})
  Candles    from {source}
  Kafka      {stack.kafka_description} at {stack.kafka}
  Database   in {stack.folder.path / "database_url"}
  Logs       {stack.folder.logs}

  What is collected:
    {curl} {base}/configs
  Collect one now:
    {curl} -X POST {base}/configs/{config_id}/trigger
  The newest candles:
    {curl} '{base}/candles?exchange={exchange}&symbol={symbol}&timeframe=1m&limit=5'
  The same by the command:
    export CANDLEKEEP_URL={stack.api_url} CANDLEKEEP_TOKEN=$(cat {stack.folder.path / "token"})
    .venv/bin/candlekeep configs trigger {config_id} --wait

  Runs as they finish (UTC):"""
