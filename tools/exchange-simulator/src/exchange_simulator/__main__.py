"""`python -m exchange_simulator`: runs the simulator until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from exchange_simulator.app import running
from exchange_simulator.markets import EXCHANGES
from exchange_simulator.replay import BadRecordingError
from exchange_simulator.settings import Replay, SimulatorSettings
from exchange_simulator.timeframes import FRAMES, parse_instant

_MAX_SILENT_SHARE = 0.9


def main(arguments: Sequence[str] | None = None) -> int:
    settings = _parse(arguments)
    try:
        return asyncio.run(_serve(settings))
    except (BadRecordingError, OSError) as error:
        print(f"exchange-simulator: {error}", file=sys.stderr)
        return 2


async def _serve(settings: SimulatorSettings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as base_url:
        print(f"exchange-simulator: {', '.join(EXCHANGES)} at {base_url}", flush=True)
        await stop.wait()
    return 0


def _parse(arguments: Sequence[str] | None) -> SimulatorSettings:
    parser = argparse.ArgumentParser(
        prog="exchange-simulator", description="A local server with the REST dialects of real exchanges."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9900, help="0: any free port")
    parser.add_argument("--seed", type=int, default=7, help="another seed gives other candles")
    parser.add_argument("--silent-share", type=_share, default=0.02, help="share of minutes without a trade, 0 to 0.9")
    parser.add_argument("--requests-per-second", type=float, help="return 429 above this rate per exchange")
    parser.add_argument("--now", type=_instant, metavar="INSTANT", help="the simulated time at the start")
    parser.add_argument(
        "--replay", type=_replay, action="append", default=[], metavar="EXCHANGE:SYMBOL:TIMEFRAME=A.csv[,B.csv]"
    )
    parser.add_argument(
        "--shift-to", type=_instant, metavar="INSTANT", help="move the first row of each recording to this time"
    )
    chosen = parser.parse_args(arguments)
    return SimulatorSettings(
        host=chosen.host,
        port=chosen.port,
        seed=chosen.seed,
        silent_share=chosen.silent_share,
        requests_per_second=chosen.requests_per_second,
        start_at_ms=chosen.now,
        replays=tuple(chosen.replay),
        shift_to_ms=chosen.shift_to,
    )


def _replay(text: str) -> Replay:
    """`binance:BTC/USDT:USDT:1m=a.csv,b.csv`: exchange, symbol and timeframe. The symbol may contain a colon."""
    name, _, paths = text.partition("=")
    exchange, _, rest = name.partition(":")
    symbol, _, timeframe = rest.rpartition(":")
    if exchange not in EXCHANGES:
        raise argparse.ArgumentTypeError(f"{text!r}: the exchange must be one of {', '.join(EXCHANGES)}")
    if timeframe not in FRAMES:
        raise argparse.ArgumentTypeError(f"{text!r}: the timeframe must be one of {', '.join(FRAMES)}")
    if "/" not in symbol or not paths:
        raise argparse.ArgumentTypeError(f"{text!r} is not EXCHANGE:BASE/QUOTE:TIMEFRAME=FILE[,FILE]")
    return Replay(exchange=exchange, symbol=symbol, timeframe=timeframe, paths=tuple(Path(p) for p in paths.split(",")))


def _instant(text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither milliseconds nor an ISO 8601 instant") from None


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= _MAX_SILENT_SHARE:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {_MAX_SILENT_SHARE}")
    return share


if __name__ == "__main__":
    sys.exit(main())
