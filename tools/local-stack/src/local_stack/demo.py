"""`make demo`: the stack at fixed ports with example configs, and one line of output per finished run."""

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from admin_api.auth.sign_in_links import link_path, new_code
from local_stack.dashboard import build_if_changed
from local_stack.errors import StackError
from local_stack.plan import DEFAULT_PORT, Ports
from local_stack.stack import Stack, StackOptions
from runtime.printable import printable

MIN_TOKEN_LENGTH = 24
# Under make, one Ctrl-C can arrive twice, from the terminal and from make.
SECOND_CTRL_C_AFTER_SECONDS = 0.5
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    folder: Path = Path(".demo")
    port: int = DEFAULT_PORT
    live: bool = False


class ProgressPrinter:
    """Prints progress with the time since the start. If the terminal is closed, the demo can still stop cleanly."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_at

    def progress(self, text: str) -> None:
        self.print(f"{self.seconds:6.1f} s  {text}")

    def print(self, text: str) -> None:
        """Prints text that may come from exchanges or logs, so without control characters except line breaks."""
        with contextlib.suppress(OSError):
            print(printable(text, kept="\n"), flush=True)


def demo_token() -> str:
    token = os.environ.get("CANDLEKEEP_ADMIN_TOKEN") or secrets.token_urlsafe(32)
    if len(token) < MIN_TOKEN_LENGTH:
        raise StackError(f"CANDLEKEEP_ADMIN_TOKEN has {len(token)} characters; it needs at least {MIN_TOKEN_LENGTH}")
    return token


async def run_demo(options: DemoOptions) -> None:
    """Runs the demo until a signal. Raises StackError with one line if it cannot start."""
    printer = ProgressPrinter()
    stack = Stack(
        StackOptions(
            folder=options.folder,
            ports=Ports.fixed(options.port),
            live=options.live,
            token=demo_token(),
            report=printer.progress,
        )
    )
    printer.progress(f"starting Candlekeep in {stack.folder.path} (Ctrl-C stops everything)")
    stop = _stop_event(stack, printer)
    try:
        if await _unless_stopped(_build_dashboard(printer), stop) and await _unless_stopped(stack.start(), stop):
            await _unless_stopped(_show(stack, printer, options), stop)
    finally:
        stopping_at, has_started = printer.seconds, bool(stack.processes)
        await stack.stop()
        if has_started:
            printer.progress(f"all processes are stopped ({printer.seconds - stopping_at:.1f} s); the data is kept")


def _stop_event(stack: Stack, printer: ProgressPrinter) -> asyncio.Event:
    """The event that the first signal sets. A second Ctrl-C kills all processes."""
    stop = asyncio.Event()

    first_signal_at = 0.0

    def on_signal(number: signal.Signals) -> None:
        nonlocal first_signal_at
        if not stop.is_set():
            first_signal_at = printer.seconds
            printer.print("")
            printer.progress("stopping all processes in order (press Ctrl-C again to kill them at once)")
            stop.set()
        elif number is signal.SIGINT and printer.seconds - first_signal_at > SECOND_CTRL_C_AFTER_SECONDS:
            stack.kill_all()
            os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return stop


async def _unless_stopped(work: Awaitable[None], stop: asyncio.Event) -> bool:
    """Whether the work ended before the signal. The signal cancels it."""
    running, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if running.done():
        await running
        return True
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, StackError):
        await running
    return False


async def _build_dashboard(printer: ProgressPrinter) -> None:
    """The demo works without it, for example on a machine that reaches no package registry."""
    try:
        await build_if_changed(printer.progress)
    except StackError as error:
        printer.progress(f"the demo has no dashboard, because {error}")


async def _show(stack: Stack, printer: ProgressPrinter, options: DemoOptions) -> None:
    from local_stack.api_client import client, create_examples, finished_runs, headlines  # noqa: PLC0415 -- importing httpx takes half a second

    async with client(stack.api_url, stack.token) as api:
        runs = finished_runs(api)
        config = await create_examples(api, printer.progress)
        printer.progress("ready")
        printer.print(welcome(stack, config, live=options.live))

        async def show_headlines() -> None:
            async for line in headlines(api):
                printer.print(line)

        async with asyncio.TaskGroup() as group:
            group.create_task(show_headlines())
            async for run in runs:
                printer.print(run.line())


def welcome(stack: Stack, config: Mapping[str, Any] | None, *, live: bool) -> str:
    """The addresses, and commands to copy. `config` is the one that the commands use; None if there is no config."""
    from local_stack.api_client import BASE  # noqa: PLC0415 -- see _show

    base = f"{stack.api_url}{BASE}"
    curl = f"curl -s -H 'Authorization: Bearer {stack.token}'"
    simulated = f"simulated exchanges at {stack.simulator_url}; others are refused (LIVE=1: the real exchanges)"
    source = "the real exchanges" if live else simulated
    link = link_path(new_code(stack.token, datetime.now(UTC)))
    return f"""
  Dashboard  {stack.api_url}{link}
             (this link signs you in once, within ten minutes; later, sign in with the token)
  API        {base}
  API docs   {stack.api_url}/docs
  Token      {stack.token}
             (also in {stack.folder.path / "token"})
  Candles    from {source}
  Kafka      {stack.kafka_description} at {stack.kafka}
  Database   in {stack.folder.path / "database_url"}
  Logs       {stack.folder.logs}

  List the configs:
    {curl} {base}/configs
{"" if config is None else _commands_for(config, stack, base, curl)}
  Runs as they finish (UTC):"""


def _commands_for(config: Mapping[str, Any], stack: Stack, base: str, curl: str) -> str:
    exchange, symbol, timeframe = config["exchange"], config["symbol"], config["timeframes"][0]
    series = f"exchange={exchange}&symbol={symbol}&timeframe={timeframe}"
    return f"""\
  Start a run now:
    {curl} -X POST {base}/configs/{config["id"]}/trigger
  Read the newest candles:
    {curl} '{base}/candles?{series}&limit=5'
  Do the same with the command, and see what is missing:
    export CANDLEKEEP_URL={stack.api_url} CANDLEKEEP_TOKEN=$(cat {stack.folder.path / "token"})
    .venv/bin/candlekeep configs trigger {config["id"]} --wait
    .venv/bin/candlekeep coverage {exchange} {symbol} {timeframe}
    .venv/bin/candlekeep completeness --by exchange
"""
