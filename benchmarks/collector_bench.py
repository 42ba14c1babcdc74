"""Compares the collector's runs per second with a bare asyncio loop of the same ccxt calls.

    python -m benchmarks.collector_bench [--quick]

Our side is the whole service as a process: it receives ticks from Kafka, sends the requests, and Kafka acknowledges the
candles and events of each run. The baseline is a process that sends the same requests with the same ccxt and discards
the rows. Both send them to the same simulated Binance, which is a third process. A run has three timeframes with a few
candles each. Both sides have the same number of runs in progress and no rate limit.

First the exchange answers at once, so that only the cost of each side counts. Then it answers after a typical delay.
Rounds of both sides take turns, and the results are medians.
"""

import argparse
import asyncio
import sys
from dataclasses import replace
from statistics import median

import httpx
from benchmarks.collector_rounds import CONCURRENCY, SIDES, Measured, Side, bare_side, our_side
from benchmarks.report import Row, table
from benchmarks.whole_system import running_system

from local_stack.plan import Role

LATENCY_MS = 200
TARGET_RATIO = 0.8
UNLIMITED_COLLECTOR = Role(
    name="collector", argv=(sys.executable, str(SIDES), "collector"), port_offset=2, stop_phase=1
)


def main(*, quick: bool = False) -> list[Row]:
    """Takes about 90 seconds; with `quick` (fewer and shorter rounds) 30 seconds."""
    return asyncio.run(_compare(runs=150 if quick else 500, rounds=3 if quick else 7))


async def _compare(runs: int, rounds: int) -> list[Row]:
    async with running_system(roles=(UNLIMITED_COLLECTOR,)) as stack, our_side(stack) as ours, bare_side(stack) as bare:
        for _ in range(2):  # warm-up: connections, markets, the simulator's caches, Kafka's compiler
            await _take_turns(ours, bare, runs, 1)
        at_once = await _take_turns(ours, bare, runs, rounds)
        await _set_latency(str(stack.simulator_url))
        delayed = await _take_turns(ours, bare, runs, max(3, rounds // 2))
    speed, cpu = _rows("exchange answers at once", at_once)
    speed = replace(speed, ratio_at_least=TARGET_RATIO)
    return [speed, cpu, *_rows(f"exchange answers after {LATENCY_MS} ms", delayed)]


async def _take_turns(ours: Side, bare: Side, runs: int, rounds: int) -> list[tuple[Measured, Measured]]:
    return [(await ours.measure(runs), await bare.measure(runs)) for _ in range(rounds)]


async def _set_latency(simulator_url: str) -> None:
    """From now on the exchange answers after a typical delay."""
    async with httpx.AsyncClient(base_url=simulator_url, trust_env=False) as simulator:
        mood = {"kind": "latency", "latency_ms": LATENCY_MS}
        (await simulator.post("/control/moods", json=mood)).raise_for_status()


def _rows(conditions: str, rounds: list[tuple[Measured, Measured]]) -> tuple[Row, Row]:
    """Return the rows for speed and cost."""
    request_counts = {each.requests / each.runs for pair in rounds for each in pair}
    if len(request_counts) > 1:
        raise AssertionError(f"the sides sent different numbers of requests per run: {sorted(request_counts)}")
    ours, bare = zip(*rounds, strict=True)
    note = (
        f"{ours[0].runs} runs of {request_counts.pop():.0f} requests, {CONCURRENCY} at once, {len(rounds)} rounds each"
    )
    return (
        Row.compare(
            f"collector, {conditions}",
            median(each.runs_per_second for each in ours),
            median(each.runs_per_second for each in bare),
            "runs/s",
            f"bare ccxt loop; {note}",
        ),
        Row.compare(
            "- CPU per run",
            median(each.cpu_ms_per_run for each in ours),
            median(each.cpu_ms_per_run for each in bare),
            "ms",
            "less is better",
        ),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collector_bench")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, 30 seconds")
    print(table(main(quick=parser.parse_args().quick)))
