"""Runs the benchmarks one after another, and prints one table.

    python -m benchmarks.run [--quick] [backfill] [chart] [collector] [completeness] [dashboard] [lists] [stats] ...

Writes only to temporary folders. The exit code is 1 if a benchmark could not run. A missed target is only shown in the
table.
"""

import argparse
import importlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Sequence

from benchmarks.report import Row, table

BENCHMARKS = {
    "backfill": "candles per second of a backfill, compared with a bare ccxt loop of the same pages",
    "chart": "ten zooms of the chart of two million candles, with and without levels",
    "collector": "runs per second, compared with a bare loop of the same ccxt calls",
    "completeness": "completeness of 10,000 series over 90 days, compared with plain SQL over the ledger",
    "dashboard": "pauses of the dashboard in Chromium, with 5,000 configs, a million runs and two million candles",
    "lateness": "lateness of scheduled runs beside backfills, compared with paused backfills",
    "latency": "waiting time for a triggered run, and for the first run of a new config",
    "levels": "cost of the triggers for levels of charts, compared with writes without them",
    "planning": "holes of 10,000 series found and planned, compared with plain SQL over the ledger",
    "lists": "pages and reports of ten million runs, compared with OFFSET and count(*)",
    "scheduler": "lateness and cost of many configs, compared with APScheduler 3",
    "stats": "statistics over ten million runs, compared with plain SQL",
    "writers": "rows per second of log-writer and candle-writer, compared with raw asyncpg",
}
"""The benchmarks by name. The module of each one is `benchmarks.<name>_bench`."""

BUSY = 0.3
"""If the load per core is higher, other processes influence the figures too much."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measures Candlekeep and compares it with baselines."
    )
    parser.add_argument("--quick", action="store_true", help="small and short, to check that the benchmarks work")
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(BENCHMARKS)}; all by default")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(BENCHMARKS):
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    return _run_all(chosen.names or list(BENCHMARKS), quick=chosen.quick)


def _run_all(names: list[str], *, quick: bool) -> int:
    print("\n".join(_conditions(quick=quick)), flush=True)
    rows: list[Row] = []
    failed: list[str] = []
    for name in names:
        print(f"\n{name}: {BENCHMARKS[name]} ...", flush=True)
        started = time.monotonic()
        try:
            rows += importlib.import_module(f"benchmarks.{name}_bench").main(quick=quick)
        except Exception:  # noqa: BLE001 -- the others can still run; the failure is printed and changes the exit code
            traceback.print_exc()
            failed.append(name)
        print(f"{name}: {'FAILED' if name in failed else 'done'} after {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n{table(rows)}\n\n{_summary(rows, failed)}")
    return 1 if failed else 0


def _conditions(*, quick: bool) -> Iterator[str]:
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    yield f"Python {platform.python_version()}, {cores} cores, load {load:.1f}{', quick' if quick else ''}"
    if load > BUSY * cores:
        yield "this machine is busy: the figures are unreliable; the ratios are more reliable"
    if quick:
        yield "quick: the benchmarks are too small and short for meaningful figures"


def _summary(rows: list[Row], failed: list[str]) -> str:
    with_target = [row for row in rows if row.met is not None]
    missed = [row.name for row in with_target if not row.met]
    summary = f"{len(with_target) - len(missed)} of {len(with_target)} targets met"
    if missed:
        summary += f"; missed: {', '.join(missed)}"
    return summary + (f"; could not run: {', '.join(failed)}" if failed else "")


if __name__ == "__main__":
    sys.exit(main())
