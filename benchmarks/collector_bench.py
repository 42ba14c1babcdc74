"""The collector's runs per second beside a bare asyncio loop of the same ccxt calls.

    python -m benchmarks.collector_bench [--quick]

Ours is the whole service as a process: ticks from Kafka, the requests, candles and the news of each run acknowledged
by Kafka. The baseline is a process that makes the same requests with the same ccxt and throws the rows away. Both ask
the same simulated Binance, a third process, for the steady state: three timeframes, a few candles each, equally many
runs at a time; neither is throttled. First the exchange answers at once, so that only the cost of either side counts,
then as late as exchanges do. Rounds of both take turns, medians count.
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
    """About a minute and a half; `quick`, with fewer and shorter rounds, half a minute."""
    return asyncio.run(_compare(runs=150 if quick else 500, rounds=3 if quick else 7))


async def _compare(runs: int, rounds: int) -> list[Row]:
    async with running_system(roles=(UNLIMITED_COLLECTOR,)) as stack, our_side(stack) as ours, bare_side(stack) as bare:
        for _ in range(2):  # connections, markets, the simulator's caches, Kafka's compiler
            await _take_turns(ours, bare, runs, 1)
        at_once = await _take_turns(ours, bare, runs, rounds)
        await _slow_down(str(stack.simulator_url))
        slowly = await _take_turns(ours, bare, runs, max(3, rounds // 2))
    speed, cpu = _rows("flat out", at_once)
    speed = replace(speed, ratio_at_least=TARGET_RATIO)
    return [speed, cpu, *_rows(f"answers take {LATENCY_MS} ms", slowly)]


async def _take_turns(ours: Side, bare: Side, runs: int, rounds: int) -> list[tuple[Measured, Measured]]:
    return [(await ours.measure(runs), await bare.measure(runs)) for _ in range(rounds)]


async def _slow_down(simulator_url: str) -> None:
    """From here on the exchange is as far away as exchanges are."""
    async with httpx.AsyncClient(base_url=simulator_url, trust_env=False) as simulator:
        mood = {"kind": "latency", "latency_ms": LATENCY_MS}
        (await simulator.post("/control/moods", json=mood)).raise_for_status()


def _rows(circumstances: str, rounds: list[tuple[Measured, Measured]]) -> tuple[Row, Row]:
    """Speed and cost."""
    asked = {each.requests / each.runs for pair in rounds for each in pair}
    if len(asked) > 1:
        raise AssertionError(f"the sides did not ask the same: {sorted(asked)} requests per run")
    ours, bare = zip(*rounds, strict=True)
    note = f"{ours[0].runs} runs of {asked.pop():.0f} requests, {CONCURRENCY} at a time, {len(rounds)} rounds each"
    return (
        Row.compare(
            f"collector, {circumstances}",
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
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, half a minute")
    print(table(main(quick=parser.parse_args().quick)))
