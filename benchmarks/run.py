"""Every benchmark, one after another, and one table.

    python -m benchmarks.run [--quick] [collector] [latency] [lists] [scheduler] [stats] [writers]

Writes nothing outside temp folders. Exit code 1 when a benchmark could not be carried out, whatever it was to measure;
a missed target only shows in the table.
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
    "collector": "runs per second beside a bare loop of the same ccxt calls",
    "latency": "how long an operator waits for a triggered run, and for a new config's first run",
    "lists": "pages and reports of ten million runs beside OFFSET and counting all",
    "scheduler": "lateness and cost of many configs beside APScheduler 3",
    "stats": "statistics over ten million runs beside plain SQL",
    "writers": "rows per second of log-writer and candle-writer beside raw asyncpg",
}
"""What is measured, by name; `benchmarks.<name>_bench` measures it."""

BUSY = 0.3
"""Load per core from which on figures say more about the neighbours than about us."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measures ourselves beside baselines."
    )
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: to see that they work")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all when none is given")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}, only {', '.join(BENCHMARKS)}")
    return _run_all(chosen.names or list(BENCHMARKS), quick=chosen.quick)


def _run_all(names: list[str], *, quick: bool) -> int:
    print("\n".join(_circumstances(quick=quick)), flush=True)
    rows: list[Row] = []
    failed: list[str] = []
    for name in names:
        print(f"\n{name}: {BENCHMARKS[name]} ...", flush=True)
        began = time.monotonic()
        try:
            rows += importlib.import_module(f"benchmarks.{name}_bench").main(quick=quick)
        except Exception:  # noqa: BLE001 -- the others can still be measured; it is shown and told in the exit code
            traceback.print_exc()
            failed.append(name)
        print(f"{name}: {'FAILED' if name in failed else 'done'} after {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n{table(rows)}\n\n{_verdict(rows, failed)}")
    return 1 if failed else 0


def _circumstances(*, quick: bool) -> Iterator[str]:
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    yield f"Python {platform.python_version()}, {cores} cores, load {load:.1f}{', quick' if quick else ''}"
    if load > BUSY * cores:
        yield "this machine is busy: trust the ratios more than the figures, and neither much"
    if quick:
        yield "quick: small and short, so the figures only show that the benchmarks work"


def _verdict(rows: list[Row], failed: list[str]) -> str:
    promised = [row for row in rows if row.met is not None]
    missed = [row.name for row in promised if not row.met]
    words = f"{len(promised) - len(missed)} of {len(promised)} targets met"
    if missed:
        words += f"; missed: {', '.join(missed)}"
    return words + (f"; could not be carried out: {', '.join(failed)}" if failed else "")


if __name__ == "__main__":
    sys.exit(main())
